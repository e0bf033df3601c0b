"""Rows of fact tokens put to use: read behind a fact without its operands, and compared with after a question.

Shapes: N facts, D width, K folds, V tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vocablab.base.random_streams import numpy_stream
from vocablab.base.sign_flips import sign_flip
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.probe.contexts import BARE, answer_ids, distinct_answers, mode_of, place
from vocablab.probe.measures import Measure
from vocablab.probe.passes import log_probabilities, states_at
from vocablab.probe.retrieval import phrasings, question_texts
from vocablab.probe.row_prediction import piece_rows
from vocablab.probe.shares import chance_reciprocal_rank, reciprocal_ranks
from vocablab.probe.subject import Subject
from vocablab.vocab.forms import canonical_text

MEAN, TRAINED, PIECES, RANDOM = "mean added row", "trained row", "mean of pieces", "random row"


@dataclass(frozen=True)
class Split:
    """A way to hold facts out: every fact is judged in one fold."""

    name: str
    held_out_KN: np.ndarray
    """Whose rows are exchanged in each fold."""
    fold_N: np.ndarray
    """The fold that each fact is judged in."""


@dataclass(frozen=True)
class Used:
    """What became of each fact with some rows."""

    bits_N: np.ndarray
    """Bits of the right answer after the token."""
    answer_N: np.ndarray
    """Reciprocal rank of the right answer among all answers."""
    token_N: np.ndarray
    """Reciprocal rank of the token among all fact tokens after its question."""


@dataclass(frozen=True)
class RowTrial:
    """The texts in which rows are used."""

    subject: Subject
    texts: list[list[int]]
    """A fact without its operands before it, and its answer."""
    starts: list[int]
    """Where each answer starts."""
    at: list[int]
    """Position of each fact's token."""
    shared: int
    """Tokens that all answers start with."""
    candidates: list[int]
    """The tokens after those that tell answers apart."""
    right: np.ndarray
    """Which of them is each fact's, (N,)."""
    asked_ND: np.ndarray
    """What the head reads after each fact's question."""

    @classmethod
    def of(cls, subject: Subject, family: Family, facts: Sequence[Fact]) -> "RowTrial | None":
        """None if a fact cannot stand in a text as one token."""
        placed = [p for f in facts if (p := place(subject, family, BARE, f, f, token=True)) is not None]
        if len(placed) < len(facts):
            return None
        answers = distinct_answers(subject, facts)
        candidates = sorted(set(answers.first.values()))
        texts = [one.ids + answer_ids(subject, one.stated) for one in placed]
        name = next(iter(phrasings(family, facts[0])))
        questions = question_texts(subject, [phrasings(family, fact)[name] for fact in facts])
        asked = torch.cat(states_at(subject, questions, [[len(q) - 1] for q in questions]))
        return cls(
            subject, texts, [len(one.ids) for one in placed], [one.statement[-1] for one in placed],
            len(answers.common), candidates, np.array([candidates.index(answers.first[f.answer]) for f in facts]),
            asked.float().cpu().numpy(),
        )  # fmt: skip

    @staticmethod
    def impossible(subject: Subject) -> str:
        """Why nothing can be told from rows alone, or nothing."""
        if mode_of(subject) != "annotate":
            return ""
        return f"{subject.name}: its tokens follow a spelled fact, so no answer comes from their row alone."

    @property
    def answers(self) -> int:
        """How many answers can be told apart."""
        return len(self.candidates)

    def read(self, rows_KD: np.ndarray, facts_K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits of the right answer and its reciprocal rank, (K,) each, with one of these input rows in each text.

        The head keeps its trained rows here, also if it is tied: answers are ordinary tokens.

        Args:
            rows_KD: what stands at the place of the token.
            facts_K: number of the fact whose text it is, of those of the trial, (K,).
        """
        rows = torch.from_numpy(np.ascontiguousarray(rows_KD)).to(self.subject.device)
        texts, starts = [self.texts[n] for n in facts_K], [self.starts[n] for n in facts_K]
        places = [range(start - 1, len(text) - 1) for start, text in zip(starts, texts, strict=True)]
        replaced = [{self.at[n]: rows[k]} for k, n in enumerate(facts_K)]
        states = states_at(self.subject, texts, places, replaced)
        # All positions at a time: the head of a large vocabulary takes as long for one as for many.
        log2 = log_probabilities(self.subject, torch.cat(states)).cpu().split([len(state) for state in states])
        bits = [
            -float(own[range(len(own)), text[start:]].sum())
            for own, text, start in zip(log2, texts, starts, strict=True)
        ]
        scores = [own[self.shared, self.candidates].numpy() for own in log2]
        return np.array(bits), reciprocal_ranks(np.stack(scores), self.right[facts_K])

    def ranked(self, rows_KND: np.ndarray, trained_ND: np.ndarray, split: Split) -> np.ndarray:
        """Reciprocal rank of each fact's token after its question, (N,), the rows of its fold exchanged in the head."""
        found = np.zeros(len(trained_ND))
        for fold, held_N in enumerate(split.held_out_KN):
            head_ND = np.where(held_N[:, None], rows_KND[fold], trained_ND)
            judged = np.flatnonzero(split.fold_N == fold)
            found[judged] = reciprocal_ranks(self.asked_ND[judged] @ head_ND.T, judged)
        return found


def fixed_rows(
    subject: Subject, family: Family, facts: Sequence[Fact], table_VD: np.ndarray, trained_ND: np.ndarray
) -> dict[str, np.ndarray]:
    """Rows of facts that depend on no other fact's, each (N, D): of their pieces, and random ones.

    Args:
        subject: whose codec spells the facts.
        family: of the facts.
        facts: whose rows they are.
        table_VD: the table that the rows are for.
        trained_ND: rows like which the random ones are spread.
    """
    noise = numpy_stream(0, "probe random rows").standard_normal((len(facts), trained_ND.shape[1]))
    random = (trained_ND.mean(0) + noise * trained_ND.std(0)).astype(np.float32)
    return {PIECES: piece_rows(subject, [canonical_text(family, fact) for fact in facts], table_VD), RANDOM: random}


def measures(
    probe: str, used: Mapping[str, Used], which: str, tested: str, candidates: tuple[int, int]
) -> list[Measure]:
    """Each kind of row against the mean row, and whether one of them is better than that by more than luck.

    Args:
        probe: whose measures they are.
        used: what became of the facts, by kind of row; the mean row among them.
        which: the facts, for the measures' targets: ``by operand``.
        tested: the kind that gets a p-value.
        candidates: answers that can be told apart, and tokens that are ranked.
    """
    found = []
    of_answers, of_tokens = (f"Chance: {chance_reciprocal_rank(count):.3f}." for count in candidates)
    for kind, one in used.items():
        base = used[MEAN]
        parts = [
            ("input rows", "answer bits", one.bits_N, base.bits_N, "Lower is better."),
            ("input rows", "answer reciprocal rank", one.answer_N, base.answer_N, of_answers),
            ("output rows", "token reciprocal rank", one.token_N, base.token_N, of_tokens),
        ]
        for where, metric, own_N, beside_N, note in parts:
            p = sign_flip(own_N - beside_N) if kind == tested else None
            found.append(
                Measure(
                    probe, where, f"{kind} {which}", metric, float(own_N.mean()), float(beside_N.mean()), p,
                    n=len(own_N), note=f"Control: the mean of the fitted rows. {note}",
                )
            )  # fmt: skip
    return found
