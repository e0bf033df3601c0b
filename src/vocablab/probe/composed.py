"""Rows for facts that no text ever stated: predicted from their parts, put into the tables, and used at once.

A network that trains its rows by a learned composition (`vocablab.model.composition`) has ordinary rows after export,
so whether rows follow from parts is asked anew here, of any model: a ridge regression, fitted to the rows of some
facts, predicts those of the others. It is linear in the parts: what it misses, a learned composition might still find.
The rest of the network was trained with the held-out facts' tokens; only their rows are new to it.

Held out by operand (no fact with that number in any place is fitted), by result, and by row of the table (no fact with
that first operand). In each fold the rows of all held-out facts are exchanged at a time.

Shapes: N facts, D width, K folds, V tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.probe.contexts import (
    BARE,
    MOST_FACTS,
    answer_ids,
    distinct_answers,
    facts_in_play,
    place,
    token_ids,
)  # fmt: skip
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.passes import log_probabilities, states_at
from vocablab.probe.retrieval import phrasings, question_texts
from vocablab.probe.row_prediction import part_features, piece_rows, predict
from vocablab.probe.shares import chance_reciprocal_rank, ranks
from vocablab.probe.subject import Subject
from vocablab.tasks.task import evenly
from vocablab.vocab.forms import canonical_text

PROBE = "composed"
LEAST_FITTED = 6
"""Facts that every fold must leave to fit."""
DRAWS = 4000
"""Sign flips of the permutation test."""
COMPOSED, MEAN, TRAINED, PIECES, RANDOM = (
    "composed row",
    "mean added row",
    "trained row",
    "mean of pieces",
    "random row",
)


@dataclass(frozen=True)
class _Split:
    """A way to hold facts out: every fact is judged in one fold."""

    name: str
    held_out_KN: np.ndarray
    """Whose rows are exchanged in each fold."""
    fold_N: np.ndarray
    """The fold that each fact is judged in."""


@dataclass(frozen=True)
class _Used:
    """What became of each fact with some rows."""

    bits_N: np.ndarray
    """Bits of the right answer after the token."""
    answer_N: np.ndarray
    """Reciprocal rank of the right answer among all answers."""
    token_N: np.ndarray
    """Reciprocal rank of the token among all fact tokens after its question."""


def composed(subject: Subject) -> Findings:
    """Use of predicted rows in context and as outputs, beside trained rows, means, and random ones."""
    found = Findings()
    family, _ = facts_in_play(subject)
    ids = token_ids(subject)
    facts = [fact for _, fact in evenly(list(ids), MOST_FACTS)]
    if not facts:
        found.notes.append(f"{subject.name} has no tokens that state a fact: no row could be composed.")
        return found
    trial = _Trial.of(subject, family, facts)
    splits = _splits(facts)
    if trial is None or not splits:
        found.notes.append(f"{subject.name}: {len(facts)} facts with tokens are too few, or none fits into a text.")
        return found
    tables = {which: subject.table(which) for which in ("input", "output")}
    trained = {w: table[[ids[f] for f in facts]] for w, table in tables.items()}
    features = {w: part_features(subject, family, facts, table) for w, table in tables.items()}
    fixed = {w: _fixed_rows(subject, family, facts, table, trained[w]) for w, table in tables.items()}
    # Only the own row stands in a context, so rows that are the same in every fold are read once.
    read = {kind: trial.read(rows) for kind, rows in fixed["input"].items()}
    bars: dict[str, list[float]] = {}
    for split in splits:
        everyone = np.arange(len(facts))
        kinds = {
            COMPOSED: {w: predict(features[w], trained[w], split.held_out_KN) for w in tables},
            MEAN: {w: _fold_means(trained[w], split.held_out_KN) for w in tables},
        }
        used = {}
        for kind, rows_KND in kinds.items():
            own_ND = rows_KND["input"][split.fold_N, everyone]
            used[kind] = _Used(*trial.read(own_ND), trial.ranked(rows_KND["output"], trained["output"], split))
        for kind, rows_ND in fixed["output"].items():
            same_KND = np.broadcast_to(rows_ND, (len(split.held_out_KN), *rows_ND.shape))
            used[kind] = _Used(*read[kind], trial.ranked(same_KND, trained["output"], split))
        predicted = kinds[COMPOSED]["input"][split.fold_N, everyone]
        means = kinds[MEAN]["input"][split.fold_N, everyone]
        found.measures.append(_explained(split, predicted, means, trained["input"]))
        found.measures += _measures(split, used, len(facts), trial.answers)
        for kind, one in used.items():
            bars.setdefault(kind, []).append(float(one.answer_N.mean()))
    names = [split.name for split in splits]
    series = [{"name": kind, "x": names, "y": values} for kind, values in bars.items()]
    title = "Answers after a token whose row was predicted from its parts"
    label = "mean reciprocal rank of the right answer"
    found.figures.append(Figure("composed-answers", title, "bars", "held out by", label, {"series": series}))
    return found


@dataclass(frozen=True)
class _Trial:
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
    def of(cls, subject: Subject, family: Family, facts: Sequence[Fact]) -> "_Trial | None":
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

    @property
    def answers(self) -> int:
        """How many answers can be told apart."""
        return len(self.candidates)

    def read(self, rows_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bits of the right answer and its reciprocal rank, (N,) each, with these input rows at the tokens' places.

        The head keeps its trained rows here, also if it is tied: answers are ordinary tokens.
        """
        rows = torch.from_numpy(np.ascontiguousarray(rows_ND)).to(self.subject.device)
        places = [range(start - 1, len(text) - 1) for start, text in zip(self.starts, self.texts, strict=True)]
        replaced = [{at: rows[n]} for n, at in enumerate(self.at)]
        states = states_at(self.subject, self.texts, places, replaced)
        # All positions at a time: the head of a large vocabulary takes as long for one as for many.
        log2 = log_probabilities(self.subject, torch.cat(states)).cpu().split([len(state) for state in states])
        bits = [
            -float(own[range(len(own)), text[start:]].sum())
            for own, text, start in zip(log2, self.texts, self.starts, strict=True)
        ]
        scores = [own[self.shared, self.candidates].numpy() for own in log2]
        return np.array(bits), 1 / ranks(np.stack(scores), self.right)

    def ranked(self, rows_KND: np.ndarray, trained_ND: np.ndarray, split: _Split) -> np.ndarray:
        """Reciprocal rank of each fact's token after its question, (N,), the rows of its fold exchanged in the head."""
        found = np.zeros(len(trained_ND))
        for fold, held_N in enumerate(split.held_out_KN):
            head_ND = np.where(held_N[:, None], rows_KND[fold], trained_ND)
            judged = np.flatnonzero(split.fold_N == fold)
            found[judged] = 1 / ranks(self.asked_ND[judged] @ head_ND.T, judged)
        return found


def _splits(facts: Sequence[Fact]) -> list[_Split]:
    """Those of the three that leave enough facts to fit in every fold."""
    first = [fact.operands[0] for fact in facts]
    results = [fact.answer for fact in facts]
    within: dict[str, tuple[list[int], Callable[[Fact, int], bool]]] = {
        "operand": (first, lambda fact, value: value in fact.operands),
        "result": (results, lambda fact, value: fact.answer == value),
    }
    if len(facts[0].operands) > 1:
        within["table row"] = (first, lambda fact, value: fact.operands[0] == value)
    found = []
    for name, (keys, belongs) in within.items():
        values = sorted(set(keys))
        held = np.array([[belongs(fact, value) for fact in facts] for value in values])
        if (~held).sum(1).min() >= LEAST_FITTED:
            found.append(_Split(name, held, np.array([values.index(key) for key in keys])))
    return found


def _fixed_rows(
    subject: Subject, family: Family, facts: Sequence[Fact], table_VD: np.ndarray, trained_ND: np.ndarray
) -> dict[str, np.ndarray]:
    """Rows that do not depend on what is held out, each (N, D); the random ones are spread like the trained ones."""
    noise = numpy_stream(0, "probe random rows").standard_normal(trained_ND.shape)
    random = (trained_ND.mean(0) + noise * trained_ND.std(0)).astype(np.float32)
    pieces = piece_rows(subject, [canonical_text(family, fact) for fact in facts], table_VD)
    return {TRAINED: trained_ND, PIECES: pieces, RANDOM: random}


def _fold_means(trained_ND: np.ndarray, held_out_KN: np.ndarray) -> np.ndarray:
    """The mean of the fitted rows in place of every row, (K, N, D)."""
    means_KD = np.stack([trained_ND[~held].mean(0) for held in held_out_KN])
    return np.repeat(means_KD[:, None], len(trained_ND), axis=1)


def _explained(split: _Split, predicted: np.ndarray, means: np.ndarray, trained: np.ndarray) -> Measure:
    """Share of the trained rows' variance around the fitted mean that the prediction explains; below 0 if it harms."""
    value = 1 - float(((predicted - trained) ** 2).sum()) / max(float(((means - trained) ** 2).sum()), 1e-12)
    note = "Of held-out rows, against the mean of the fitted ones (control)."
    return Measure(PROBE, "input rows", f"by {split.name}", "explained variance", value, 0.0, None, len(trained), note)


def _measures(split: _Split, used: dict[str, _Used], facts: int, answers: int) -> list[Measure]:
    """Each kind of row against the mean row, and whether the composed one is better than that by more than luck."""
    found = []
    by_chance = (chance_reciprocal_rank(answers), chance_reciprocal_rank(facts))
    for kind, one in used.items():
        base = used[MEAN]
        parts = [
            ("input rows", "answer bits", one.bits_N, base.bits_N, "Lower is better."),
            ("input rows", "answer reciprocal rank", one.answer_N, base.answer_N, f"Chance: {by_chance[0]:.3f}."),
            ("output rows", "token reciprocal rank", one.token_N, base.token_N, f"Chance: {by_chance[1]:.3f}."),
        ]
        for where, metric, own, beside, note in parts:
            p = _sign_flip(own - beside) if kind == COMPOSED else None
            found.append(
                Measure(
                    PROBE, where, f"{kind} by {split.name}", metric, float(own.mean()), float(beside.mean()), p,
                    len(own), f"Control: the mean of the fitted rows. {note}",
                )
            )  # fmt: skip
    return found


def _sign_flip(differences: np.ndarray) -> float:
    """Two-sided p-value of a mean difference if every sign were a coin's (Fisher 1935), by drawing."""
    signs = numpy_stream(0, "probe sign flips").choice([-1.0, 1.0], size=(DRAWS, len(differences)))
    drawn = np.abs(signs @ differences)
    return float((1 + (drawn >= abs(differences.sum()) - 1e-12).sum()) / (DRAWS + 1))
