"""Sets of score files from anywhere, read as numbers per measure and item.

A set is a `scores.parquet`, a directory that holds several (one per seed), or what lm-eval leaves with
``--log_samples``.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vocablab.analysis.scores import ItemKey, column, item_values, measures
from vocablab.base.data import iterate_rows
from vocablab.base.errors import UserError
from vocablab.base.files import PARTIAL_SUFFIX

SCORES_FILE = "scores.parquet"
SAMPLES_FILE = re.compile(r"samples_(?P<task>.+)_\d{4}-\d\d-\d\dT[\d.-]+\.jsonl")
"""Name of lm-eval's file of one task: the task, then the moment of the run."""
SEED = re.compile(r"seed[-_]?(\d+)")
"""A seed in the name of a directory or run: ``seed0``, ``facts-seed3``."""
BITS = "bits_per_byte"

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
