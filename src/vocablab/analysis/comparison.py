"""Any two sets of score files, compared with the statistics of a study: seeds and items are both random.

A set is a `scores.parquet`, a directory that holds several (one per seed), or what lm-eval leaves with
``--log_samples``. Every model of a set becomes numbers per measure and item; the sets are then lined up by seed and
item.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vocablab.analysis.claims import Benefit, Claim, NoHarm
from vocablab.analysis.scores import ItemKey, column, item_values, measures
from vocablab.analysis.statistics import Estimate, estimate
from vocablab.analysis.verdict import FEWEST_SEEDS, decide
from vocablab.base.data import iterate_rows
from vocablab.base.errors import RunError, UserError
from vocablab.base.files import PARTIAL_SUFFIX

SCORES_FILE = "scores.parquet"
SAMPLES_FILE = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.-]+\.jsonl")
"""Name of lm-eval's file of one task: the task, then the moment of the run."""
SEED = re.compile(r"seed[-_]?(\d+)")
"""A seed in the name of a directory or run: ``seed0``, ``facts-seed3``."""
BITS = "bits_per_byte"
LEVEL = 0.95

Measure = tuple[str, str]
"""Target (``task``, ``task.split``, ``task:way.split``) and metric."""
Values = dict[ItemKey, tuple[float, float, str]]
"""By item: numerator, denominator (1 for a score, bytes for bits per byte), and cluster."""


@dataclass(frozen=True)
class ScoreSet:
    """The models of one side, as numbers."""

    name: str
    """What the user called it."""
    seeds: dict[str, dict[Measure, Values]]
    """Per seed (or run, where no name holds a seed) what it scored."""
    notes: tuple[str, ...] = ()
    """What was left aside, in sentences."""


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


def read_scores(path: Path) -> ScoreSet:
    """Read a set of scores: a file, or every file of scores below a directory.

    Raises:
        UserError: if there is nothing to read, a file is damaged, or two files claim one seed.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file or directory.")
    files = [path] if path.is_file() else [p for p in sorted(path.rglob("*")) if _is_scores(p, path)]
    seeds: dict[str, dict[Measure, Values]] = {}
    notes: dict[str, None] = {}
    origin: dict[tuple[str, Measure], Path] = {}
    for file in files:
        found = _parquet(file, path) if file.suffix == ".parquet" else _samples(file, path, notes)
        for label, by_measure in found:
            for measure, values in by_measure.items():
                before = origin.setdefault((label, measure), file)
                if before != file:
                    raise UserError(
                        f"{path} has two files with {measure[0]} of {label}: {before.relative_to(path)} and "
                        f"{file.relative_to(path)}; give the directory of one arm, or one file."
                    )
                seeds.setdefault(label, {})[measure] = values
    if not seeds:
        raise UserError(f"{path} holds no scores: neither a {SCORES_FILE} nor lm-eval's samples_TASK_TIME.jsonl.")
    return ScoreSet(str(path), seeds, tuple(notes))


def _is_scores(file: Path, root: Path) -> bool:
    # What a killed run left is not a result.
    if any(part.endswith(PARTIAL_SUFFIX) for part in file.relative_to(root).parts):
        return False
    return file.name == SCORES_FILE or SAMPLES_FILE.fullmatch(file.name) is not None


def _label(names: Iterable[str], otherwise: str) -> str:
    """``seedN`` if one of `names` holds a seed, the last such name first."""
    for name in reversed(list(names)):
        found = SEED.search(name)
        if found:
            return f"seed{found[1]}"
    return otherwise


def _parquet(file: Path, root: Path) -> list[tuple[str, dict[Measure, Values]]]:
    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{file} is truncated or damaged: {str(error).splitlines()[0]}.") from None
    for name in ("task", "split", "item_id", "metric", "score"):
        if name not in table.column_names:
            raise UserError(f"{file} lacks the column '{name}'.")
    runs = list(dict.fromkeys(column(table, "run_id")))
    found = []
    for run in runs:
        part = table if len(runs) == 1 else table.filter(pc.equal(table.column("run_id"), run))
        inside = file.parent.relative_to(root).parts if file != root else file.parts
        label = _label([*inside, *str(run or "").split("/")], str(run or file.parent.name))
        by_measure = {}
        for task, split, metric in measures(part):
            target = f"{task}.{split}" if split else task
            by_measure[(target, metric)] = item_values(part, target, metric)
        found.append((label, by_measure))
    return found


def _samples(file: Path, root: Path, notes: dict[str, None]) -> list[tuple[str, dict[Measure, Values]]]:
    """One file of lm-eval: one row per item and filter, its metrics named in the row."""
    name = SAMPLES_FILE.fullmatch(file.name)
    task = name["task"] if name else file.stem
    found: dict[Measure, Values] = {}
    for number, row in enumerate(iterate_rows(file), 1):
        if "doc_id" not in row or not isinstance(row.get("metrics"), list):
            raise UserError(
                f"{file}, row {number}: lm-eval's samples have the fields doc_id and metrics, this has not "
                "(lm-eval 0.4.8 or newer writes them)."
            )
        way = row.get("filter", "none")
        target = task if way == "none" else f"{task}:{way}"
        # The hash says that the same number is the same question: documents are renumbered between versions.
        item = f"{row['doc_id']}/{str(row.get('doc_hash', ''))[:12]}".rstrip("/")
        for metric in row["metrics"]:
            pair = _sample_value(metric, row.get(metric))
            if pair is None:
                notes[f"{metric} of {target} is left aside: it is not a mean over items."] = None
                continue
            values = found.setdefault((target, metric), {})
            if (task, "", item) in values:
                raise UserError(f"{file}, row {number}: document {row['doc_id']} occurs twice under {metric} ({way}).")
            values[(task, "", item)] = (*pair, f"{task}/{item}")
    inside = file.parent.relative_to(root).parts if file != root else file.parts
    return [(_label(inside, file.parent.name), found)] if found else []


def _sample_value(metric: str, value: Any) -> tuple[float, float] | None:
    """Numerator and denominator; None for a metric that is not a mean (or a ratio of sums) over items."""
    if metric == BITS and isinstance(value, list) and len(value) == 2:
        # lm-eval keeps natural logarithms and bytes, and divides their sums.
        return -float(value[0]) / math.log(2), float(value[1])
    if "perplexity" in metric or not isinstance(value, bool | int | float):
        return None
    return float(value), 1.0


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
