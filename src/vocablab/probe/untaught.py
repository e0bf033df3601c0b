"""Tokens that stood in no text (`FactTokens.untaught`): does their row work the first time it is used?

Such a row is what initialisation gave it: the mean of its pieces, or what a composition (`ComposedRows`) that was
trained on the other facts makes of its parts. It is read in a text without the operands, so that the answer can come
from the row only, and ranked among the fact tokens after its question. Unlike the rows of `vocablab.probe.composed`,
nothing in the network has ever met these tokens.

The control is the same rows with their places exchanged: a row that helps because it says its own fact does so in its
own place only. With M facts there are M! ways to place them, so p is at least 1/M!; four facts can hardly show
anything, five can. Beside it stand the mean of the taught rows, the mean of its pieces, a random row, and what taught
tokens reach with their own rows.

Shapes: N facts, the taught ones first, the last M of them untaught, D width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.probe.contexts import MOST_FACTS, facts_in_play, token_ids
from vocablab.probe.measures import Figure, Findings, Measure
from vocablab.probe.row_trial import MEAN, RowTrial, Used, fixed_rows
from vocablab.probe.shares import chance_reciprocal_rank, reciprocal_ranks
from vocablab.probe.subject import Subject, untaught_ids
from vocablab.tasks.task import evenly

PROBE = "untaught"
OWN, TAUGHT = "own row", "taught row"
MOST_ASKED = 16
"""Untaught facts that are asked about: every row is read in the place of every other."""
DRAWS = 5040
"""Ways to place the rows: all of them for up to seven facts, else as many drawn ones."""
LEVEL = 0.05
"""Above this no p-value counts (`vocablab.analysis.probe_rules`)."""


def untaught(subject: Subject) -> Findings:
    """Use of rows that were never trained; nothing for an arm all of whose tokens are taught."""
    found = Findings()
    hidden = untaught_ids(subject.codec)
    if not hidden:
        return found
    found.notes += _contradiction(subject, list(hidden.values()))
    if why := RowTrial.impossible(subject):
        found.notes.append(why)
        return found
    family, _ = facts_in_play(subject)
    known = [fact for _, fact in evenly(list(token_ids(subject)), MOST_FACTS)]
    asked = [fact for _, fact in evenly(list(hidden), MOST_ASKED)]
    facts = [*known, *asked]
    trial = RowTrial.of(subject, family, facts)
    if trial is None:
        found.notes.append(f"{subject.name}: a fact with a token cannot stand in a text; untaught rows were not used.")
        return found
    ids = token_ids(subject) | hidden
    tables = {which: subject.table(which) for which in ("input", "output")}
    learned = {which: table[[ids[fact] for fact in known]] for which, table in tables.items()}
    own = {which: table[[ids[fact] for fact in asked]] for which, table in tables.items()}
    place_M = np.arange(len(known), len(facts))
    used = {}
    for kind, rows in _others(subject, family, asked, tables, learned).items():
        used[kind] = Used(*trial.read(rows["input"], place_M), _ranked(trial, learned["output"], rows["output"]))
    exchanged = _Exchanged.of(trial, place_M, own, learned["output"])
    used = {OWN: exchanged.own} | used
    reference = Used(
        *trial.read(learned["input"], np.arange(len(known))),
        reciprocal_ranks(
            trial.asked_ND[: len(known)] @ np.concatenate([learned["output"], own["output"]]).T, np.arange(len(known))
        ),
    )
    found.measures += exchanged.measures(trial.answers, len(facts))
    for kind, one in (*used.items(), (TAUGHT, reference)):
        if kind != OWN:
            found.measures += _beside(kind, one)
    if exchanged.least_p * 2 >= LEVEL:
        found.notes.append(
            f"{subject.name}: {len(asked)} untaught facts are too few: no p-value could be below {LEVEL} after "
            "adjustment for two questions."
        )
    if len(hidden) > len(asked):
        found.notes.append(f"{subject.name}: {len(asked)} of {len(hidden)} untaught facts were asked about.")
    bars = used | {f"{TAUGHT}, of taught facts": reference}
    series = [
        {"name": name, "x": list(bars), "y": [float(getattr(one, part).mean()) for one in bars.values()]}
        for name, part in (("answer, read behind the token", "answer_N"), ("token, after the question", "token_N"))
    ]
    title = "Tokens that stood in no text, used for the first time"
    found.figures.append(
        Figure("untaught-rows", title, "bars", "row", "mean reciprocal rank of what is right", {"series": series})
    )
    return found


def _others(
    subject: Subject, family: Family, asked: list[Fact], tables: dict[str, np.ndarray], learned: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Rows in place of the untaught ones, each (M, D), by kind and table."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for which, table_VD in tables.items():
        means = np.repeat(learned[which].mean(0, keepdims=True), len(asked), axis=0)
        kinds = {MEAN: means} | fixed_rows(subject, family, asked, table_VD, learned[which])
        for kind, rows_MD in kinds.items():
            found.setdefault(kind, {})[which] = rows_MD
    return found


def _ranked(trial: RowTrial, learned_ND: np.ndarray, rows_MD: np.ndarray) -> np.ndarray:
    """Reciprocal rank of each untaught fact's row after its question, among the taught and untaught ones, (M,)."""
    count = len(rows_MD)
    scores = trial.asked_ND[-count:] @ np.concatenate([learned_ND, rows_MD]).T
    return reciprocal_ranks(scores, np.arange(len(learned_ND), len(learned_ND) + count))


@dataclass(frozen=True)
class _Exchanged:
    """What each untaught row does in the place of each untaught fact: fact by row, (M, M) each."""

    bits_MM: np.ndarray
    """Bits of the right answer."""
    answer_MM: np.ndarray
    """Reciprocal rank of the right answer."""
    token_MM: np.ndarray
    """Reciprocal rank of the row after the fact's question."""

    @classmethod
    def of(
        cls, trial: RowTrial, place_M: np.ndarray, own: dict[str, np.ndarray], learned_ND: np.ndarray
    ) -> "_Exchanged":
        count = len(place_M)
        facts, rows = np.repeat(np.arange(count), count), np.tile(np.arange(count), count)
        bits, answers = trial.read(own["input"][rows], place_M[facts])
        # All of them stand in the head whichever is the fact's own, so no exchange changes what it is ranked among.
        scores = trial.asked_ND[place_M] @ np.concatenate([learned_ND, own["output"]]).T
        tokens = reciprocal_ranks(scores[facts], len(learned_ND) + rows)
        shape = (count, count)
        return cls(bits.reshape(shape), answers.reshape(shape), tokens.reshape(shape))

    @property
    def own(self) -> Used:
        """Each row in its own place."""
        return Used(self.bits_MM.diagonal(), self.answer_MM.diagonal(), self.token_MM.diagonal())

    @property
    def least_p(self) -> float:
        """The smallest p-value that so many facts can have."""
        return 1 / min(math.factorial(len(self.bits_MM)), DRAWS)

    def measures(self, answers: int, tokens: int) -> list[Measure]:
        """Own rows against exchanged ones; `answers` and `tokens` are how many are ranked."""
        chance = [f"Chance: {chance_reciprocal_rank(count):.3f}." for count in (answers, tokens)]
        parts = [
            ("input rows", "answer bits", self.bits_MM, True, "Lower is better."),
            ("input rows", "answer reciprocal rank", self.answer_MM, False, chance[0]),
            ("output rows", "token reciprocal rank", self.token_MM, False, chance[1]),
        ]
        count = len(self.bits_MM)
        note = "Control: the rows of the other untaught facts in its place; p: over ways to place them, one-sided."
        apart = ~np.eye(count, dtype=bool)
        return [
            Measure(
                PROBE, where, f"{OWN} of untaught facts", metric, float(values_MM.diagonal().mean()),
                float(values_MM[apart].mean()) if count > 1 else None,
                placed_p(-values_MM if lower else values_MM) if count > 1 else None, count, f"{note} {more}",
            )
            for where, metric, values_MM, lower, more in parts
        ]  # fmt: skip


def placed_p(values_MM: np.ndarray) -> float:
    """Share of the ways to place M rows at M facts that do at least as well as each row at its own fact.

    A permutation test (Fisher 1935), one-sided: exact for up to seven facts, else over `DRAWS` drawn ways, the own one
    among them.

    Args:
        values_MM: what fact i gains by row j; higher is better.
    """
    count = len(values_MM)
    at = np.arange(count)
    sums = np.array([values_MM[at, list(way)].sum() for way in _ways(count)])
    own = values_MM.trace()
    # Sums of the same numbers in another order differ in the last bits.
    return float(np.mean(sums >= own - 1e-9 * np.abs(values_MM).sum()))


def _ways(count: int) -> Iterator[tuple[int, ...]]:
    if math.factorial(count) <= DRAWS:
        yield from permutations(range(count))
        return
    draw = numpy_stream(0, "probe placed rows", count)
    yield tuple(range(count))
    for _ in range(DRAWS - 1):
        yield tuple(int(i) for i in draw.permutation(count))


def _beside(kind: str, used: Used) -> list[Measure]:
    """Other rows, for comparison."""
    which = "taught facts" if kind == TAUGHT else "untaught facts"
    parts = [
        ("input rows", "answer bits", used.bits_N, "Lower is better."),
        ("input rows", "answer reciprocal rank", used.answer_N, ""),
        ("output rows", "token reciprocal rank", used.token_N, ""),
    ]
    return [
        Measure(
            PROBE, where, f"{kind} of {which}", metric, float(values.mean()), None, None, len(values),
            f"For comparison. {more}".strip(),
        )
        for where, metric, values, more in parts
    ]  # fmt: skip


def _contradiction(subject: Subject, ids: list[int]) -> list[str]:
    """A note if training showed tokens that were declared never to stand in a text."""
    if subject.exposures is None:
        return []
    counts = dict(zip(subject.ids, subject.exposures, strict=True))
    seen = sum(int(counts[i]) for i in ids)
    return [f"{subject.name}: tokens declared untaught were shown {seen} times."] if seen else []
