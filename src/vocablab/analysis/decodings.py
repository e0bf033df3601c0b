"""The same questions answered in several ways, and the same documents read in several ways, arm by arm."""

import math
from typing import Any

import numpy as np

from vocablab.analysis.effects import Pairs, brief_json, estimate_of
from vocablab.analysis.estimates import estimate
from vocablab.analysis.scores import FREE, ItemKey, StudyFiles, column, item_values, usual_ways, ways

_COUNTERFACTUAL = "counterfactual"
_ORDER = (FREE, "sampled", "banned", "forced", _COUNTERFACTUAL)
_TEXT_MODES = ("native", "plain", "outside")
Values = dict[ItemKey, tuple[float, float, str]]


def decodings(study: StudyFiles) -> list[dict[str, Any]]:
    """Scores by task, split, way to answer and arm, for tasks that were answered in more than the free way.

    ``mean`` with ``low`` and ``high`` (95 %, seeds and items both random) of ``acc``, or of ``reliance`` (the answer
    follows a planted, wrong statement) and ``recomputed`` (it is right in spite of it); ``minus_free``: the
    difference to the arm's own free answers on the same items.
    """
    rows = []
    for task, split, way, decoding in _asked(study):
        for metric in ("reliance", "recomputed") if decoding == _COUNTERFACTUAL else ("acc",):
            for arm in study.arm_names:
                row = _answered(study, arm, task, split, way, metric)
                if row is not None:
                    rows.append({"task": task, "split": split, "decoding": decoding, "way": way} | row)
    return rows


def _asked(study: StudyFiles) -> list[tuple[str, str, str, str]]:
    """(task, split, way, decoding) of the tasks that were answered in more than one decoding."""
    found: dict[tuple[str, str, str, str], None] = {}
    several: dict[str, set[str]] = {}
    for run in study.runs.values():
        if run.scores is not None:
            columns = (column(run.scores, name) for name in ("task", "split", "decoding"))
            for way, task, split, decoding in zip(ways(run.scores), *columns, strict=True):
                if decoding:
                    found[(task, split or "", way, decoding)] = None
                    several.setdefault(task, set()).add(decoding)
    asked = [key for key in found if len(several[key[0]]) > 1]
    order = list(dict.fromkeys(key[0] for key in asked))
    # Task by task and split by split, so that the ways to answer the same questions stand together.
    return sorted(asked, key=lambda key: (order.index(key[0]), key[1], _place(key[3], _ORDER)))


def _target(task: str, way: str, split: str) -> str:
    named = f"{task}:{way}" if way else task
    return f"{named}.{split}" if split else named


def _answered(study: StudyFiles, arm: str, task: str, split: str, way: str, metric: str) -> dict[str, Any] | None:
    given = _by_seed(study, arm, _target(task, way, split), metric)
    if not given:
        return None
    mode = ":".join(part for part in way.split(":") if part not in _names(study, task))
    free = _by_seed(study, arm, _target(task, mode, split), "acc") if metric == "acc" and mode != way else {}
    return {
        "arm": arm,
        "metric": metric,
        "n_items": len(next(iter(given.values()))),
        "n_seeds": len(given),
        **_mean(given),
        "minus_free": _difference(given, free),
    }


def _names(study: StudyFiles, task: str) -> set[str]:
    """Names of decodings that a task was answered in."""
    found: set[str] = set()
    for run in study.runs.values():
        if run.scores is not None:
            pairs = zip(column(run.scores, "task"), column(run.scores, "decoding"), strict=True)
            found |= {decoding for name, decoding in pairs if name == task and decoding}
    return found - {FREE}


def _by_seed(study: StudyFiles, arm: str, target: str, metric: str) -> dict[int, Values]:
    found = {}
    for seed in study.seeds:
        table = study.runs[(arm, seed)].scores
        values = item_values(table, target, metric) if table is not None else {}
        known = {key: value for key, value in values.items() if np.isfinite(value[0])}
        if known:
            found[seed] = known
    return found


def _common(*many: dict[int, Values]) -> tuple[list[int], list[ItemKey]]:
    seeds = sorted(set.intersection(*(set(one) for one in many)))
    keys = [set(one[seed]) for one in many for seed in seeds]
    return seeds, sorted(set.intersection(*keys)) if keys else []


def _mean(given: dict[int, Values]) -> dict[str, Any]:
    """Mean and interval; a mean is an effect over nothing, so the same two-way variance holds."""
    seeds, keys = _common(given)
    if not keys:
        return {"mean": None, "low": None, "high": None}
    values = np.array([[given[seed][key][0] for key in keys] for seed in seeds])
    found = estimate(values, np.zeros_like(values), [given[seeds[0]][key][2] for key in keys])
    low, high = found.interval()
    # One seed and one item have no interval, and NaN must not be cut to 0.
    known = math.isfinite(low)
    return {"mean": found.effect, "low": max(0.0, low) if known else None, "high": min(1.0, high) if known else None}


def _difference(given: dict[int, Values], free: dict[int, Values]) -> dict[str, Any] | None:
    if not free:
        return None
    seeds, keys = _common(given, free)
    if not keys:
        return None
    stacked = [np.array([[one[seed][key][0] for key in keys] for seed in seeds]) for one in (given, free)]
    return brief_json(estimate(stacked[0], stacked[1], [free[seeds[0]][key][2] for key in keys]))


def text_modes(pairs: Pairs) -> list[dict[str, Any]]:
    """Bits per byte of held-out documents by mode and arm, with each arm's difference to control in that mode.

    ``native``: in the arm's own form; ``plain``: with the intervention off; ``outside``: with it on, but only what no
    replacement touches is counted. Modes have different denominators: compare arms within one, never modes.
    """
    study = pairs.study
    rows = []
    for task, mode, target in _texts(study):
        for arm in study.arm_names:
            given = _by_seed(study, arm, target, "bits_per_byte")
            if not given:
                continue
            paired = None
            if arm != study.control:
                paired = pairs.get(arm, study.control, target, "bits_per_byte")
            sums = [(sum(v[0] for v in one.values()), sum(v[1] for v in one.values())) for one in given.values()]
            means = [bits / size for bits, size in sums if size > 0]
            rows.append(
                {
                    "task": task,
                    "mode": mode,
                    "arm": arm,
                    "n_items": len(next(iter(given.values()))),
                    "n_seeds": len(given),
                    "mean": sum(means) / len(means) if means else None,
                    "minus_control": brief_json(estimate_of(paired)) if paired else None,
                }
            )
    return rows


def _texts(study: StudyFiles) -> list[tuple[str, str, str]]:
    """(task, mode, target) of the documents that were read, in the order of the modes."""
    found: dict[tuple[str, str, str], None] = {}
    for run in study.runs.values():
        if run.scores is not None:
            usual = usual_ways(run.scores)
            columns = (column(run.scores, name) for name in ("task", "mode", "metric"))
            for way, task, mode, metric in zip(ways(run.scores), *columns, strict=True):
                if metric == "bits_per_byte":
                    found[(task, mode or "native", task if way == usual[task] else f"{task}:{way}")] = None
    return sorted(found, key=lambda key: (key[0], _place(key[1], _TEXT_MODES)))


def _place(name: str, order: tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)
