"""Any two sets of score files, compared with the statistics of a study: seeds and items are both random.

The sets are lined up by seed and item.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vocablab.analysis.claims import Benefit, Claim, NoHarm
from vocablab.analysis.estimates import Estimate, estimate
from vocablab.analysis.score_sets import Measure, ScoreSet, Values
from vocablab.analysis.verdict import FEWEST_SEEDS, decide
from vocablab.base.errors import RunError, UserError

LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """B minus A on one measure."""

    target: str
    """``task`` or ``task.split``."""
    metric: str
    """What was measured."""
    seeds: tuple[str, ...]
    """Seeds that both sides have."""
    left_out: int
    """Items that only one side has, left out at the user's wish."""
    estimate: Estimate
    """The difference with its error."""
    word: str
    """The verdict."""
    sentence: str
    """The verdict in words."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; None for what is not a number."""
        found = self.estimate
        low, high = found.interval(LEVEL)
        numbers = {
            "a_mean": found.control_mean,
            "b_mean": found.treatment_mean,
            "difference": found.effect,
            "low": low,
            "high": high,
            "p_value": found.p_value,
        }
        return {
            "target": self.target,
            "metric": self.metric,
            "n_items": found.n_items,
            "n_clusters": found.n_clusters,
            "seeds": list(self.seeds),
            "left_out": self.left_out,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "word": self.word,
            "sentence": self.sentence,
        }


def compare(
    a: ScoreSet,
    b: ScoreSet,
    *,
    metric: str | None = None,
    task: str | None = None,
    delta: float | None = None,
    margin: float | None = None,
    common: bool = False,
) -> tuple[list[Comparison], list[str]]:
    """Compare B with A on every measure that both have, items paired by id.

    Args:
        a: what B is compared with, the control.
        b: the treatment.
        metric: only this metric.
        task: only this task, also with a split or a way: ``arithmetic``, ``arithmetic.transfer``.
        delta: smallest improvement worth claiming: the verdict is that of a `Benefit`.
        margin: largest tolerated worsening: the verdict is that of a `NoHarm`.
        common: leave out what only one side has, instead of refusing.

    Returns:
        The comparisons, and notes on what was not compared.

    Raises:
        UserError: if seeds or items do not pair, or no measure is left.
    """
    pairs = _paired_seeds(a, b, common)
    wanted = [m for m in _all_measures(a) if _is_wanted(m, metric, task)]
    both = [m for m in wanted if m in _all_measures(b)]
    if not both:
        asked = " ".join(["", *(x for x in (task, metric) if x)])
        raise UserError(
            f"A and B have no measure{asked} in common; A has {_listed(_all_measures(a))}; B has "
            f"{_listed(_all_measures(b))}."
        )
    notes = [
        f"{m[0]} {m[1]} is in {side} only."
        for side, here, there in (("A", a, b), ("B", b, a))
        for m in _all_measures(here)
        if m not in _all_measures(there) and _is_wanted(m, metric, task)
    ]
    found = []
    for measure in both:
        try:
            found.append(_compared(measure, a, b, pairs, delta, margin, common))
        except RunError as error:
            if metric is not None:
                raise UserError(f"{measure[0]} {measure[1]}: {error}") from None
            notes.append(f"{measure[0]} {measure[1]} is left aside: {error}")
    return found, [*a.notes, *b.notes, *notes]


def _all_measures(scores: ScoreSet) -> list[Measure]:
    return list(dict.fromkeys(measure for seed in scores.seeds.values() for measure in seed))


def _is_wanted(measure: Measure, metric: str | None, task: str | None) -> bool:
    target = measure[0]
    named = task is None or task in (target, target.split(".")[0], target.split(".")[0].split(":")[0])
    return named and metric in (None, measure[1])


def _listed(found: Sequence[Measure], most: int = 12) -> str:
    said = ", ".join(f"{target} {metric}" for target, metric in found[:most])
    return said + (f" and {len(found) - most} more" if len(found) > most else "")


def _paired_seeds(a: ScoreSet, b: ScoreSet, common: bool) -> list[tuple[str, str]]:
    if len(a.seeds) == len(b.seeds) == 1:
        return [(next(iter(a.seeds)), next(iter(b.seeds)))]  # one model each: whatever they are called
    both = [seed for seed in a.seeds if seed in b.seeds]
    different = sorted(set(a.seeds) ^ set(b.seeds))
    if not both or (different and not common):
        raise UserError(
            f"the seeds do not pair: A has {', '.join(a.seeds)}; B has {', '.join(b.seeds)}"
            + ("; --common takes those that both have." if both else ".")
        )
    return [(seed, seed) for seed in both]


def _compared(
    measure: Measure,
    a: ScoreSet,
    b: ScoreSet,
    pairs: list[tuple[str, str]],
    delta: float | None,
    margin: float | None,
    common: bool,
) -> Comparison:
    sides = [[scores.seeds[pair[i]].get(measure, {}) for pair in pairs] for i, scores in enumerate((a, b))]
    shared = set.intersection(*(set(values) for side in sides for values in side))
    every = set().union(*(set(values) for side in sides for values in side))
    if len(shared) < len(every) and not common:
        raise UserError(_unmatched(measure, sides))
    if not shared:
        raise UserError(f"{measure[0]} {measure[1]}: A and B have no item in common.")
    keys = sorted(shared)
    stacked = np.array([[[values[key][:2] for key in keys] for values in side] for side in sides])
    clusters = [sides[0][0][key][2] for key in keys]
    weights = stacked[..., 1] if bool((stacked[..., 1] != 1).any()) else None
    found = estimate(
        stacked[1, ..., 0],
        stacked[0, ..., 0],
        clusters,
        None if weights is None else weights[1],
        None if weights is None else weights[0],
    )
    word, sentence = _said(measure, found, delta, margin)
    return Comparison(*measure, tuple(pair[0] for pair in pairs), len(every) - len(shared), found, word, sentence)


def _unmatched(measure: Measure, sides: list[list[Values]]) -> str:
    in_a, in_b = (set().union(*(set(values) for values in side)) for side in sides)
    if in_a != in_b:
        first = min(in_a ^ in_b)
        side = "A" if first in in_a else "B"
        counts = f"{len(in_a - in_b)} items are in A only and {len(in_b - in_a)} in B only"
        return (
            f"{measure[0]} {measure[1]}: {counts}, the first is '{first[2]}' (in {side}); --common compares the "
            f"{len(in_a & in_b)} that both have."
        )
    return f"{measure[0]} {measure[1]}: not every seed has every item; --common compares those that all have."


def _said(measure: Measure, found: Estimate, delta: float | None, margin: float | None) -> tuple[str, str]:
    """The verdict's word and sentence."""
    if delta is not None or margin is not None:
        claim = Benefit(*measure, delta=delta) if delta is not None else NoHarm(*measure, margin=margin or 0.0)
        verdict = decide(claim, found, found.n_seeds, True, treatment="B")
        word, sentence = verdict.word, verdict.sentence
    else:
        word, sentence = _plainly(measure, found)
    if found.n_seeds == 1:
        sentence += " One model each: how much another seed would change is unknown, the interval covers items alone."
    return word, sentence


def _plainly(measure: Measure, found: Estimate) -> tuple[str, str]:
    low, high = found.interval(LEVEL)
    what = f"{measure[1]} on {measure[0]}"
    if found.n_seeds < FEWEST_SEEDS:
        word, seeds = "PILOT", f"{found.n_seeds} seed{'s' * (found.n_seeds != 1)}"
        start = f"a pilot with {seeds} (a verdict needs {FEWEST_SEEDS}), {what}"
    elif low > 0 or high < 0:
        # Whether more is better is known of bits only: who leans on a planted answer more is no better for it.
        hint = "" if Claim(*measure).higher_is_better else " (fewer bits are better)"
        word, start = "DIFFERENT", f"B is {'higher' if found.effect > 0 else 'lower'} than A, {what}{hint}"
    else:
        word, start = "NOT DECIDED", f"the data do not tell B from A, {what}"
    interval = f"95 % interval {low:+.4f} to {high:+.4f}" if math.isfinite(low) else "no interval can be had"
    sentence = f"{start}: B minus A is {found.effect:+.4f} ({interval}, p = {found.p_value:.2g})."
    return word, sentence[0].upper() + sentence[1:]
