"""What the probes of rows look for: operands, answer, last digit and frequency of the tokens that state a fact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import COMMUTATIVE, Fact
from vocablab.probe.subject import Subject

MOST = 128
"""Tokens that are probed at most: all pairs of them are compared a thousand times for each number."""
FEWEST = 8
"""Tokens below which there is nothing to cross-validate."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")
_PER_BIN = 5
"""Different answers in one bin of magnitude. Narrow, because answers still order the tokens within a bin: with
terciles, rows that code nothing but the logarithm of the product looked grouped by operand (`tests/probe`)."""


@dataclass(frozen=True)
class FactLabels:
    """Labels of N tokens (or texts) that state a fact of K operands."""

    index: np.ndarray
    """Where each stands in `Subject.ids`, (N,)."""
    facts: tuple[Fact, ...]
    """What each states."""
    operands: np.ndarray
    """(N, K) integers; where the relation commutes, the smaller first."""
    exposures: np.ndarray | None
    """How often training showed each, (N,); None if unknown."""

    @property
    def answer(self) -> np.ndarray:
        """(N,) integers."""
        return np.array([fact.answer for fact in self.facts], dtype=np.int64)

    @property
    def answer_name(self) -> str:
        """What a reader calls the answer: ``product`` for the times table."""
        return "product" if {fact.relation for fact in self.facts} == {"MUL"} else "answer"

    @property
    def operand_names(self) -> tuple[str, ...]:
        """``first operand``, ``second operand``, one for each column of `operands`."""
        return tuple(f"{_ORDINALS[k]} operand" for k in range(self.operands.shape[1]))

    @property
    def log_answer(self) -> np.ndarray:
        """Magnitude, (N,): log(1 + answer), since an answer may be 0."""
        return np.log1p(self.answer.astype(np.float64))

    @property
    def last_digit(self) -> np.ndarray:
        """(N,) digits 0 to 9."""
        return self.answer % 10

    @property
    def log_exposures(self) -> np.ndarray | None:
        """log(1 + exposures), (N,)."""
        return None if self.exposures is None else np.log1p(self.exposures.astype(np.float64))

    @property
    def decile(self) -> np.ndarray | None:
        """Frequency decile, (N,) from 0; fewer where fewer than ten numbers of exposures differ."""
        return None if self.exposures is None else quantile_bins(self.exposures, 10)

    @property
    def magnitude_bins(self) -> np.ndarray:
        """(N,) bins of neighbouring answers, within which labels are permuted."""
        return quantile_bins(self.answer, max(1, len(np.unique(self.answer)) // _PER_BIN))

    @property
    def operand_set(self) -> np.ndarray:
        """(N,) the same number for the same operands in any order."""
        return np.unique(np.sort(self.operands, axis=1), axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def operand_counts(self) -> np.ndarray:
        """How often each value is an operand of each token, in any place: (N, values) float64."""
        values = np.unique(self.operands)
        return (self.operands[:, :, None] == values).sum(1).astype(np.float64)

    @property
    def shares_operand(self) -> np.ndarray:
        """(N, N) booleans: do two tokens have an operand in common, in any place?"""
        counts = self.operand_counts
        return (counts @ counts.T) > 0


def quantile_bins(values: np.ndarray, number: int) -> np.ndarray:
    """Bins 0 to ``number - 1`` of about as many *different* values each, (N,): equal values are never parted."""
    distinct, inverse = np.unique(values, return_inverse=True)
    return inverse * number // len(distinct)


def labels_of(facts: Sequence[Fact], index: np.ndarray, exposures: np.ndarray | None = None) -> FactLabels:
    """Labels of the given facts, which are of one family.

    Args:
        facts: N of them.
        index: where each stands in `Subject.ids`, (N,).
        exposures: of each, (N,).
    """
    ordered = [sorted(f.operands) if f.relation in COMMUTATIVE else f.operands for f in facts]
    return FactLabels(index, tuple(facts), np.array(ordered, dtype=np.int64), exposures)


def sampled(number: int) -> np.ndarray:
    """Which of so many tokens are probed: all, or `MOST` of them, always the same ones, in order."""
    if number <= MOST:
        return np.arange(number)
    return np.sort(numpy_stream(0, "probe sample", number).choice(number, MOST, replace=False))


def fact_labels(subject: Subject) -> tuple[FactLabels | None, list[str]]:
    """Labels of the added tokens that state a fact, and notes.

    Returns:
        None if there are too few to probe; a sample of `MOST`, always the same, if there are too many. The notes say
        so.
    """
    index = np.array([i for i, fact in enumerate(subject.facts) if fact is not None], dtype=np.int64)
    if len(index) < FEWEST:
        return None, [f"{subject.name}: {len(index)} added tokens state a fact; {FEWEST} are the fewest to probe."]
    notes = []
    if len(index) > MOST:
        notes.append(f"{subject.name}: {MOST} of {len(index)} tokens were drawn for the probes of rows.")
        index = index[sampled(len(index))]
    if subject.exposures is None:
        notes.append(f"{subject.name}: exposures are unknown, so nothing is said about frequency.")
    exposures = None if subject.exposures is None else subject.exposures[index]
    facts = [fact for i in index if (fact := subject.facts[i]) is not None]
    return labels_of(facts, index, exposures), notes
