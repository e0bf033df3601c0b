"""How often each fact token was learned from, and how much the items that rest on its fact gained.

The counts are the prepare stage's; of an arm whose tokens come with fine-tuning, those of that stage: each example as
often as it was read. An item rests on a token's fact if its cluster is that fact's key, as in
the arithmetic tasks (``MUL:6,9=54``).
"""

import re
import statistics
from typing import Any

import numpy as np
from scipy import stats

from vocablab.analysis.claims import LOWER_IS_BETTER
from vocablab.analysis.effects import Pairs
from vocablab.analysis.scores import Paired, StudyFiles, measures

METRICS = ("acc", "gold_bits_per_byte")
"""Measures whose gain is set against exposure."""
_TOKEN = re.compile(r"<([A-Z][A-Z0-9]*)_(-?\d+(?:_-?\d+)*)>")
_FEWEST = 3
"""Tokens below which a rank correlation says nothing."""


def exposure(pairs: Pairs) -> dict[str, Any]:
    """Dose by arm, and exposures against gains by token of the treatment.

    ``stage``: which stage counted the treatment's tokens; ``doses``: per arm with counted tokens; ``tokens``: per token
    its exposures (mean over seeds) and, under ``gains``, the improvement over control by task, split and metric;
    ``links``: rank correlations; ``lacking``: arms whose prepare records do not count exposures; ``unmatched``: tokens
    without an item.
    """
    study = pairs.study
    counted = {arm: _counted(study, arm) for arm in study.arm_names}
    mine = counted[study.treatment]
    gains = _gains(pairs) if mine else []
    tokens = [_token_row(name, count, gains) for name, count in mine.items()]
    return {
        "stage": _stage(study, study.treatment),
        "doses": [_dose(study, arm, counts) for arm, counts in counted.items() if counts],
        "tokens": tokens,
        "links": _links(tokens),
        "lacking": [arm for arm in study.arm_names if not _has_counts(study, arm)],
        "unmatched": [row["token"] for row in tokens if not row["gains"]],
    }


def fact_keys(token: str) -> list[str]:
    """The keys that the fact of a token may have as a cluster's name; none for a token without operands and answer.

    The analysis knows no families, so it cannot say whether operands may be swapped: both spellings are tried.
    """
    match = _TOKEN.fullmatch(token)
    numbers = match.group(2).split("_") if match else []
    if match is None or len(numbers) < 2:
        return []
    *operands, answer = numbers
    orders = [operands, sorted(operands, key=int)]
    return list(dict.fromkeys(f"{match.group(1)}:{','.join(order)}={answer}" for order in orders))


def _counts(study: StudyFiles, arm: str, stage: str) -> list[dict[str, Any]]:
    records = (study.runs[(arm, seed)].records.get(stage) for seed in study.seeds)
    return [record.counts for record in records if record is not None]


def _has_counts(study: StudyFiles, arm: str) -> bool:
    return all(isinstance(counts.get("exposures"), dict) for counts in _counts(study, arm, "prepare"))


def _stage(study: StudyFiles, arm: str) -> str:
    """The stage whose counts tell how often an arm met its tokens."""
    in_corpus = any(any((counts.get("exposures") or {}).values()) for counts in _counts(study, arm, "prepare"))
    in_examples = any(counts.get("exposures") for counts in _counts(study, arm, "sft"))
    return "sft" if in_examples and not in_corpus and _has_counts(study, arm) else "prepare"


def _counted(study: StudyFiles, arm: str) -> dict[str, float]:
    """Exposures by token, mean over seeds."""
    counted = _counts(study, arm, _stage(study, arm))
    found = [c["exposures"] for c in counted if isinstance(c.get("exposures"), dict)]
    names = dict.fromkeys(name for counts in found for name in counts)
    return {name: sum(float(counts.get(name, 0)) for counts in found) / len(found) for name in names}


def _dose(study: StudyFiles, arm: str, counts: dict[str, float]) -> dict[str, Any]:
    stage = _stage(study, arm)
    # Of the corpus: what fine-tuning counts has no dose, and its passes are in the counts.
    prepared = _counts(study, arm, "prepare") if stage == "prepare" else []
    pretrained = _counts(study, arm, "pretrain") if stage == "prepare" else []
    doses = [float(c["dose"]) for c in prepared if isinstance(c.get("dose"), int | float)]
    epochs = [float(c["epochs"]) for c in pretrained if "epochs" in c]
    return {
        "arm": arm,
        "stage": stage,
        "tokens": len(counts),
        "dose": statistics.fmean(doses) if doses else None,
        "exposures": sum(counts.values()),
        "least": min(counts.values()),
        "median": statistics.median(counts.values()),
        "most": max(counts.values()),
        "never": sum(count == 0 for count in counts.values()),
        "epochs": statistics.fmean(epochs) if epochs else None,
    }


def _gains(pairs: Pairs) -> list[dict[str, Any]]:
    """Improvement of treatment over control by task, split, metric and cluster, over all seeds."""
    study = pairs.study
    tables = (run.scores for run in study.runs.values() if run.scores is not None)
    known = dict.fromkeys((task, metric) for table in tables for task, _, metric in measures(table))
    rows = []
    for task, metric in known:
        paired = None
        if metric in METRICS and ":" not in task:
            paired = pairs.get(study.treatment, study.control, task, metric)
        if paired is not None:
            sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
            for cluster, columns in _columns(paired).items():
                _, split, key = cluster.split("/", 2)
                gain = sign * _difference(paired, columns)
                rows.append({"task": task, "split": split, "metric": metric, "key": key, "gain": gain})
                rows[-1]["items"] = len(columns)
    return rows


def _columns(paired: Paired) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for column, cluster in enumerate(paired.clusters):
        found.setdefault(cluster, []).append(column)
    return found


def _difference(paired: Paired, columns: list[int]) -> float:
    """Treatment minus control on some items: each a ratio of sums over seeds and items."""

    def ratio(values: np.ndarray, weights: np.ndarray | None) -> float:
        below = values[:, columns].size if weights is None else weights[:, columns].sum()
        return float(values[:, columns].sum() / below)

    treatment = ratio(paired.treatment, paired.treatment_weights)
    return treatment - ratio(paired.control, paired.control_weights)


def _token_row(token: str, exposures: float, gains: list[dict[str, Any]]) -> dict[str, Any]:
    keys = set(fact_keys(token))
    mine = [{k: v for k, v in gain.items() if k != "key"} for gain in gains if gain["key"] in keys]
    return {"token": token, "exposures": exposures, "gains": mine}


def _links(tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spearman's rank correlation of exposures and gain by task, split and metric: a description, not a test.

    By split, because a token's fact that fine-tuning asked for cannot be compared with one that it never asked for.
    """
    points: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for row in tokens:
        for gain in row["gains"]:
            key = (gain["task"], gain["split"], gain["metric"])
            points.setdefault(key, []).append((row["exposures"], gain["gain"]))
    rows = []
    for (task, split, metric), pairs in points.items():
        x, y = zip(*pairs, strict=True)
        enough = len(pairs) >= _FEWEST and len(set(x)) > 1 and len(set(y)) > 1
        rho = float(stats.spearmanr(x, y).statistic) if enough else None
        rows.append({"task": task, "split": split, "metric": metric, "tokens": len(pairs), "spearman": rho})
    return rows
