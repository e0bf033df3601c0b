"""Loss curves of a study's runs, thinned to what a screen shows."""

import math
from typing import Any

from vocablab.analysis.scores import StudyFiles

_POINTS = 1500
"""A curve with more points is thinned: no screen shows more, and the page must stay small."""


def pretrain_curves(study: StudyFiles) -> list[dict[str, Any]]:
    """Training and validation bits per byte against source bytes, per arm and seed."""
    curves = []
    for (arm, seed), run in study.runs.items():
        train = thin([row for row in run.pretrain_metrics if row.get("train_bits_per_byte") is not None])
        val = thin([row for row in run.pretrain_metrics if row.get("val_bits_per_byte") is not None])
        if train or val:
            curves.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "train_source_bytes": [row.get("source_bytes") for row in train],
                    "train_bits_per_byte": [row["train_bits_per_byte"] for row in train],
                    "val_source_bytes": [row.get("source_bytes") for row in val],
                    "val_bits_per_byte": [row["val_bits_per_byte"] for row in val],
                }
            )
    return curves


def sft_curves(study: StudyFiles) -> list[dict[str, Any]]:
    """Training loss of fine-tuning by step, per arm and seed."""
    curves = []
    for (arm, seed), run in study.runs.items():
        rows = thin([row for row in run.sft_metrics if row.get("loss") is not None])
        if rows:
            losses = [row["loss"] for row in rows]
            curves.append({"arm": arm, "seed": seed, "step": [row.get("step") for row in rows], "loss": losses})
    return curves


def thin(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows at even distances, the last among them."""
    step = max(1, math.ceil(len(rows) / _POINTS))
    return [row for i, row in enumerate(rows) if i % step == 0 or i == len(rows) - 1]
