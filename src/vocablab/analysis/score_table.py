"""The scores of one model as a table: per task, way and split the number of items, the score and its interval."""

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vocablab.analysis.intervals import mean_interval, ratio_interval
from vocablab.analysis.scores import SCORES, column, ways

MEANS = (*SCORES, "repetition", "ended_share")
"""Columns whose means are given."""


def score_table(scores: pa.Table) -> list[dict[str, Any]]:
    """One line per task, way and split, in the order of the file.

    Each has ``n``, ``metric`` (the task's first), ``score`` with ``low`` and ``high`` (95 %), ``bits_per_byte`` of the
    references with its interval, and under ``means`` every other score that its items have.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row, key in enumerate(zip(column(scores, "task"), ways(scores), column(scores, "split"), strict=True)):
        groups.setdefault(key, []).append(row)
    return [_line(key, scores.take(rows)) for key, rows in groups.items()]


def _line(key: tuple[str, str, str], scores: pa.Table) -> dict[str, Any]:
    task, way, split = key
    clusters = [str(name) for name in column(scores, "cluster_id")]
    bits, sizes = column(scores, "gold_bits"), column(scores, "raw_bytes")
    per_byte = sum(bits) / sum(sizes) if sum(sizes) else None
    low, high = ratio_interval(bits, sizes, clusters)
    metric = scores["metric"][0].as_py()
    line: dict[str, Any] = {"task": task, "way": way, "split": split, "n": scores.num_rows, "metric": metric}
    line["bits_per_byte"] = {"value": per_byte, "low": _known(low), "high": _known(high)}
    values = column(scores, "score")
    if any(value is None for value in values):
        line |= {"score": per_byte, "low": _known(low), "high": _known(high)}
    else:
        low, high = mean_interval(values, clusters)
        line |= {"score": _mean(values), "low": _known(low), "high": _known(high)}
    means = {name: _mean(column(scores, name)) for name in MEANS}
    line["means"] = {name: value for name, value in means.items() if value is not None}
    return line


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
