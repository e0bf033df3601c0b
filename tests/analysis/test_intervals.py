"""Intervals of single scores cover what they claim, and ways to ask a task are told apart."""

import numpy as np
import pyarrow as pa
import pytest

from vocablab.analysis.intervals import mean_interval, ratio_interval
from vocablab.analysis.score_table import score_table
from vocablab.analysis.scores import item_values, measures, usual_ways
from vocablab.base.proportions import wilson


def test_single_items_of_0_and_1_get_wilsons_interval() -> None:
    values, clusters = [1.0] * 3 + [0.0] * 7, [str(i) for i in range(10)]
    assert mean_interval(values, clusters) == wilson(0.3, 10)
    # Five times the same item is one observation, not five.
    low, high = mean_interval([1.0] * 5 + [0.0] * 15, [str(i // 5) for i in range(20)])
    assert (low, high) == pytest.approx(wilson(0.25, 3))
    # Clusters that do not vary are known no better than they are many.
    assert mean_interval([0.0] * 20, [str(i // 5) for i in range(20)]) == wilson(0.0, 4)
    assert mean_interval([0.0, 1.0] * 10, [str(i // 2) for i in range(20)]) == wilson(0.5, 10)


def test_coverage_of_clustered_means_and_of_ratios() -> None:
    rng, hits = np.random.default_rng(0), [0, 0]
    for _ in range(600):
        effects = rng.normal(0, 1, 30)
        clusters = [str(i // 4) for i in range(120)]
        values = np.repeat(effects, 4) + rng.normal(0, 0.5, 120) + 3
        low, high = mean_interval(list(values), clusters)
        hits[0] += low <= 3 <= high
        sizes = rng.uniform(50, 150, 120)
        bits = sizes * 2 + rng.normal(0, 10, 120) * np.sqrt(sizes)
        low, high = ratio_interval(list(bits), list(sizes), [str(i) for i in range(120)])
        hits[1] += low <= 2 <= high
    assert hits[0] / 600 == pytest.approx(0.95, abs=0.03)
    assert hits[1] / 600 == pytest.approx(0.95, abs=0.03)


def table(*rows: tuple[str, str, str, str, float]) -> pa.Table:
    names = ("task", "mode", "decoding", "item_id", "score")
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    size = len(rows)
    columns |= {"split": ["test"] * size, "metric": ["acc"] * size, "cluster_id": columns["item_id"]}
    columns |= {"gold_bits": [10.0] * size, "raw_bytes": [5] * size, "acc": columns["score"]}
    return pa.table(columns)


WAYS = table(
    ("hellaswag", "harness", "", "a", 1.0), ("hellaswag", "harness", "", "b", 0.0),
    ("hellaswag", "karpathy", "", "a", 0.0), ("hellaswag", "karpathy", "", "b", 0.0),
    ("gsm8k", "", "banned", "a", 0.0), ("gsm8k", "", "free", "a", 1.0),
    ("gsm8k", "8-shot", "banned", "a", 0.5),
)  # fmt: skip


def test_ways_of_asking_are_told_apart() -> None:
    assert usual_ways(WAYS) == {"hellaswag": "harness", "gsm8k": ""}
    values = {target: [v for v, _, _ in item_values(WAYS, target, "acc").values()] for target in (
        "hellaswag", "hellaswag:karpathy.test", "gsm8k", "gsm8k.test", "gsm8k:banned", "gsm8k:8-shot:banned", "gsm",
    )}  # fmt: skip
    assert list(values.values()) == [[1.0, 0.0], [0.0, 0.0], [1.0], [1.0], [0.0], [0.5], []]
    assert [name for name, _, metric in measures(WAYS) if metric == "acc"] == [
        "hellaswag", "hellaswag:karpathy", "gsm8k:banned", "gsm8k", "gsm8k:8-shot:banned",
    ]  # fmt: skip
    assert ("hellaswag:karpathy", "test", "gold_bits_per_byte") not in measures(WAYS)


def test_the_table_has_a_line_per_way() -> None:
    lines = score_table(WAYS)
    assert [(line["task"], line["way"], line["n"], line["score"]) for line in lines] == [
        ("hellaswag", "harness", 2, 0.5), ("hellaswag", "karpathy", 2, 0.0), ("gsm8k", "banned", 1, 0.0),
        ("gsm8k", "", 1, 1.0), ("gsm8k", "8-shot:banned", 1, 0.5),
    ]  # fmt: skip
    assert lines[0]["bits_per_byte"]["value"] == 2
    assert (lines[0]["low"], lines[0]["high"]) == wilson(0.5, 2)
