"""The treatment's effect where it can act: items whose reference has a place for one of its tokens, and the others."""

import dataclasses
from typing import Any

import numpy as np

from vocablab.analysis.effects import Pairs, brief_json, estimate_of
from vocablab.analysis.scores import (
    ItemKey,
    Paired,
    StudyFiles,
    column,
    item_values,
    measures,
    usual_ways,
    ways,
)

_METRICS = ("acc", "acc_norm", "gold_bits_per_byte")
"""Measures that are split into treated and untreated items."""


def treated_and_untreated(pairs: Pairs) -> dict[str, Any]:
    """Effects of treatment over control by task and metric, in treated and in untreated items.

    ``rows``: one per task and metric that has a treated item. ``without``: tasks where no item is treated, so that
    the treatment can act there only through what it does to the whole model.
    """
    study = pairs.study
    tables = [run.scores for run in study.runs.values() if run.scores is not None]
    known = dict.fromkeys((task, metric) for table in tables for task, _, metric in measures(table) if ":" not in task)
    fits = _fits(study)
    rows: list[dict[str, Any]] = []
    for task, metric in known:
        if metric not in _METRICS or not any(fits.get(task, {}).values()):
            continue
        paired = pairs.get(study.treatment, study.control, task, metric)
        if paired is None:
            continue
        mask = np.array([fits[task].get(key, False) for key in _keys(study, paired, task, metric)])
        groups = {"treated": mask, "untreated": ~mask}
        rows.append(
            {"task": task, "metric": metric}
            | {
                name: brief_json(estimate_of(_subset(paired, chosen))) if chosen.any() else None
                for name, chosen in groups.items()
            }
        )
    return {"rows": rows, "without": sorted(task for task, items in fits.items() if not any(items.values()))}


def _fits(study: StudyFiles) -> dict[str, dict[ItemKey, bool]]:
    """By answered task and item whether a token has a place in the reference, as the treatment's rows say."""
    found: dict[str, dict[ItemKey, bool]] = {}
    for seed in study.seeds:
        table = study.runs[(study.treatment, seed)].scores
        if table is None or "fact_fits" not in table.column_names:
            continue
        usual = usual_ways(table)
        names = ("task", "split", "item_id", "decoding", "fact_fits")
        columns = (column(table, name) for name in names)
        for way, task, split, item, decoding, fits in zip(ways(table), *columns, strict=True):
            # Only where something is answered do the rows look for places.
            if decoding and way == usual[task]:
                found.setdefault(task, {})[(task, split, str(item))] = bool(fits)
    return found


def _keys(study: StudyFiles, paired: Paired, task: str, metric: str) -> list[ItemKey]:
    """The items of a pair in its own order: that of the control's first seed, sorted."""
    table = study.runs[(study.control, paired.seeds[0])].scores
    assert table is not None
    return sorted(item_values(table, task, metric))


def _subset(paired: Paired, chosen: np.ndarray) -> Paired:
    def cut(values: Any) -> Any:
        return None if values is None else values[:, chosen]

    return dataclasses.replace(
        paired,
        treatment=cut(paired.treatment),
        control=cut(paired.control),
        treatment_weights=cut(paired.treatment_weights),
        control_weights=cut(paired.control_weights),
        clusters=[name for name, kept in zip(paired.clusters, chosen, strict=True) if kept],
    )
