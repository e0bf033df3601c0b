"""What a study left on disk: records, loss curves and one score row per item, read and paired."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vocablab.analysis.arrays import Floats
from vocablab.analysis.claims import Claim
from vocablab.base.config import from_json
from vocablab.base.data import iterate_rows
from vocablab.base.errors import RunError, UserError
from vocablab.base.files import read_json
from vocablab.base.records import Record, read_record

STAGES = ("prepare", "pretrain", "export", "sft", "rl", "probe", "evaluate")
"""Stages of one run, in order; not every arm has all."""
_NEEDED = ("task", "item_id", "cluster_id", "split", "metric", "score", "gold_bits", "raw_bytes")
_BITS = ("bits_per_byte", "gold_bits_per_byte")
SCORES = (
    "acc", "acc_flexible", "acc_norm", "acc_bytes", "acc_tokens", "p_correct", "margin_bits", "reliance", "recomputed",
)  # fmt: skip
"""Columns that are scores of an item."""
_WAY = "way"
FREE = "free"
"""The decoding that needs no name."""

ItemKey = tuple[str, str, str]
"""Task, split and item id: what is the same question in every arm and seed."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One arm and seed: what is there of it."""

    arm: str
    seed: int
    records: dict[str, Record]
    """Record per stage; a stage that has not run is absent."""
    scores: pa.Table | None
    """`scores.parquet`, one row per item; None if not evaluated."""
    pretrain_metrics: list[dict[str, Any]]
    sft_metrics: list[dict[str, Any]]
    rl_metrics: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class StudyFiles:
    """A study as read from its directory."""

    directory: Path
    name: str
    title: str
    docstring: str
    preset: str
    control: str
    treatment: str
    arms: list[dict[str, Any]]
    """`name`, `description` and `stages` of each arm, in declared order."""
    seeds: list[int]
    claims: list[Claim]
    exploratory: str | None
    runs: dict[tuple[str, int], Run]

    @property
    def arm_names(self) -> list[str]:
        """Names of the arms in declared order."""
        return [arm["name"] for arm in self.arms]


def read_study(directory: Path) -> StudyFiles:
    """Read everything a report needs from `directory`.

    Raises:
        UserError: if `study.json` is missing or damaged, a score file lacks a column, or nothing was scored.
    """
    data = read_json(directory / "study.json", "the study's description")
    try:
        arms: list[dict[str, Any]] = [
            {"name": str(a["name"]), "description": str(a.get("description", "")), "stages": list(a["stages"])}
            for a in data["arms"]
        ]
        seeds = [int(seed) for seed in data["seeds"]]
        claims = [from_json(Claim, claim, f"claims[{i}]") for i, claim in enumerate(data["claims"])]
        names = {key: str(data[key]) for key in ("name", "control", "treatment")}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{directory / 'study.json'} lacks or misspells {error}.") from None
    for role in ("control", "treatment"):
        if names[role] not in {arm["name"] for arm in arms}:
            raise UserError(f"{directory / 'study.json'}: {role} '{names[role]}' is not one of the arms.")
    runs = {(arm["name"], seed): read_run(directory, arm["name"], seed) for arm in arms for seed in seeds}
    if all(run.scores is None for run in runs.values()):
        raise UserError(f"{directory} has no scores yet: run the evaluate stage of at least one arm and seed first.")
    return StudyFiles(
        directory=directory,
        name=names["name"],
        title=str(data.get("title") or names["name"]),
        docstring=str(data.get("docstring") or ""),
        preset=str(data.get("preset") or ""),
        control=names["control"],
        treatment=names["treatment"],
        arms=arms,
        seeds=seeds,
        claims=claims,
        exploratory=data.get("exploratory"),
        runs=runs,
    )


def read_run(directory: Path, arm: str, seed: int) -> Run:
    """Read one arm and seed; what is missing stays empty.

    Raises:
        UserError: if a file is there but damaged or lacks a column.
    """
    place = directory / arm / f"seed{seed}"
    records = {stage: record for stage in STAGES if (record := read_record(place / stage)) is not None}
    path = place / "evaluate" / "scores.parquet"
    return Run(
        arm=arm,
        seed=seed,
        records=records,
        scores=_read_scores(path) if "evaluate" in records and path.exists() else None,
        pretrain_metrics=_read_metrics(place / "pretrain" / "metrics.jsonl"),
        sft_metrics=_read_metrics(place / "sft" / "metrics.jsonl"),
        rl_metrics=_read_metrics(place / "rl" / "metrics.jsonl"),
    )


def _read_metrics(path: Path) -> list[dict[str, Any]]:
    return list(iterate_rows(path)) if path.exists() else []


def _read_scores(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path} is truncated or damaged: {str(error).splitlines()[0]}.") from None
    absent = [name for name in _NEEDED if name not in table.column_names]
    if absent:
        raise UserError(f"{path} lacks the column '{absent[0]}'.")
    # Asked for again with every measure, of which a study has hundreds.
    return table.append_column(_WAY, pa.array(ways(table), pa.string()))


def column(table: pa.Table, name: str) -> list[Any]:
    """A column as Python values; all None where the table has no such column."""
    return table.column(name).to_pylist() if name in table.column_names else [None] * table.num_rows


def ways(table: pa.Table) -> list[str]:
    """How each row's task was asked: mode and decoding, ``karpathy``, ``8-shot:banned``; free answers go unnamed."""
    if _WAY in table.column_names:
        found: list[str] = table.column(_WAY).to_pylist()
        return found
    pairs = zip(column(table, "mode"), column(table, "decoding"), strict=True)
    return [":".join(part for part in (mode, decoding) if part and part != FREE) for mode, decoding in pairs]


def usual_ways(table: pa.Table) -> dict[str, str]:
    """For each task the way that is meant where none is named: the unnamed one, else the first in the file."""
    found: dict[str, str] = {}
    for task, way in zip(column(table, "task"), ways(table), strict=True):
        found[task] = "" if not way else found.get(task, way)
    return found


def measures(table: pa.Table) -> list[tuple[str, str, str]]:
    """Every (task, split, metric) that the table can give, in order of first appearance.

    Where a task was asked in several ways, all but the usual one are named ``task:way``.
    """
    found: dict[tuple[str, str, str], None] = {}
    usual = usual_ways(table)
    columns = (column(table, name) for name in ("task", "split", "metric", "gold_bits", *SCORES))
    for way, task, split, metric, bits, *scores in zip(ways(table), *columns, strict=True):
        label = task if way == usual[task] else f"{task}:{way}"
        found[(label, split, metric)] = None
        for name, score in zip(SCORES, scores, strict=True):
            if score is not None and not math.isnan(score):
                found[(label, split, name)] = None
        # The same reference however the answer was decoded.
        if metric not in _BITS and label == task and bits is not None and not math.isnan(bits):
            found[(label, split, "gold_bits_per_byte")] = None
    return list(found)


def item_values(table: pa.Table, target: str, metric: str) -> dict[ItemKey, tuple[float, float, str]]:
    """Numerator, denominator and cluster by item of `target` under `metric`.

    The target is ``task`` or ``task.split``, of a task that was asked in several ways ``task:way`` or
    ``task:way.split``; without a way the usual one is meant (`usual_ways`). The denominator is 1 for scores and the
    item's raw bytes for bits per byte.

    Raises:
        RunError: if an item occurs twice, because no rule says which of its scores counts.
    """
    head, _, part = target.partition(".")
    wanted, _, way = head.partition(":")
    # Narrowed in Arrow first: a study has many measures, and Python rows are slow to make.
    table = table.filter(pc.equal(table.column("task"), wanted))
    way = way or usual_ways(table).get(wanted, "")
    own = metric if metric in SCORES else "score"
    names = ("task", "split", "item_id", "cluster_id", "metric", "score", own, "gold_bits", "raw_bytes")
    found: dict[ItemKey, tuple[float, float, str]] = {}
    columns = (column(table, name) for name in names)
    for asked, task, split, item, cluster, first, score, named, bits, size in zip(ways(table), *columns, strict=True):
        if asked != way or (part and part != split):
            continue
        if metric in _BITS:
            if metric == "bits_per_byte" and first != metric:
                continue
            value, weight = bits, float(size or 0)
        elif metric == first or (metric in SCORES and named is not None):
            value, weight = (score if metric == first else named), 1.0
        else:
            continue
        key = (task, split, str(item))
        if key in found:
            raise RunError(f"Item {item} of {task}.{split} was scored twice under {metric}.")
        # Clusters are named per task and split, so that equal names of two tasks never merge.
        group = f"{task}/{split}/{cluster if cluster not in (None, '') else item}"
        found[key] = (math.nan if value is None else float(value), weight, group)
    return found


@dataclasses.dataclass(frozen=True)
class Paired:
    """Scores of two arms on the same seeds and items; arrays of shape (S, N)."""

    seeds: list[int]
    treatment: Floats
    control: Floats
    treatment_weights: Floats | None
    """Denominators, or None where each is 1."""
    control_weights: Floats | None
    clusters: list[str]


def pair(study: StudyFiles, treatment: str, control: str, target: str, metric: str) -> Paired | None:
    """Line up two arms on the seeds that both have scores for; None if there is no such seed.

    Raises:
        RunError: naming the item that one arm or seed has and another lacks, or that has no number.
    """
    per_seed = {}
    for seed in study.seeds:
        tables = [study.runs[(arm, seed)].scores for arm in (treatment, control)]
        if tables[0] is None or tables[1] is None:
            continue
        both = [item_values(table, target, metric) for table in tables]
        if both[0] or both[1]:
            per_seed[seed] = both
    if not per_seed:
        return None
    reference = next(iter(per_seed.values()))[1]
    keys = sorted(reference)
    for seed, both in per_seed.items():
        for arm, values in zip((treatment, control), both, strict=True):
            _same_items(set(reference), values, arm, seed, metric)
    stacked = np.array([[[values[key][:2] for key in keys] for values in both] for both in per_seed.values()])
    weighted = metric in _BITS
    return Paired(
        seeds=list(per_seed),
        treatment=stacked[:, 0, :, 0],
        control=stacked[:, 1, :, 0],
        treatment_weights=stacked[:, 0, :, 1] if weighted else None,
        control_weights=stacked[:, 1, :, 1] if weighted else None,
        clusters=[reference[key][2] for key in keys],
    )


def _same_items(
    expected: set[ItemKey], values: dict[ItemKey, tuple[float, float, str]], arm: str, seed: int, metric: str
) -> None:
    different = sorted(expected ^ set(values))
    if different:
        task, split, item = different[0]
        has = "lacks" if different[0] in expected else "has the extra"
        raise RunError(f"Arm {arm}, seed {seed} {has} item {item} of {task}.{split} ({metric}); arms must pair.")
    for key, (value, weight, _) in values.items():
        if not math.isfinite(value) or not weight > 0:
            raise RunError(f"Arm {arm}, seed {seed}: item {key[2]} of {key[0]}.{key[1]} has no {metric}.")
