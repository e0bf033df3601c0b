"""What a study would do, before it does it: runs, FLOPs, time, disk, coverage ceiling, detectable effect."""

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from scipy import stats

from vocablab.analysis.claims import Benefit, Claim, NoHarm
from vocablab.base.errors import UserError
from vocablab.lab.stages import STAGES
from vocablab.lab.study import Study
from vocablab.model.network import ModelConfig
from vocablab.pretrain.next_token import NextToken
from vocablab.training.precision import autocast, resolved
from vocablab.vocab.vocabulary import padded

ASSUMED = {"acc": (0.03, 0.5), "acc_flexible": (0.03, 0.5), "acc_norm": (0.01, 0.4)}
"""Assumed standard deviations, between seeds and between items within a seed, of a paired difference of 0/1
scores; replaced by a pilot's once there is one. Stated beside every number they lead to."""
ASSUMED_BITS = (0.01, 0.2)
"""The same for bits per byte."""
TYPICAL_TOKENS_PER_BYTE = 0.28
"""For a rough plan only: about 3.6 bytes per token for GPT-2's vocabulary on English text."""
PROBE_SECONDS = 1.0


def plan(study: Study, data: Path | None, device: str, jobs: int) -> dict[str, Any]:
    """Everything `vocablab plan` prints, as JSON values."""
    recipe = study.arm(study.control).recipe
    size = padded(recipe.base_vocabulary.expected_size + max(len(arm.intervention.tokens()) for arm in study.arms))
    flops = recipe.model.flops_per_token(size)
    tokens = recipe.pretrain.budget.tokens(TYPICAL_TOKENS_PER_BYTE, sum(flops.values()))
    runs = len(study.arms) * len(study.seeds)
    total = sum(flops.values()) * tokens
    rate = measured_flops_per_second(recipe.model, size, device, recipe.pretrain.precision)
    parameters = recipe.model.parameters(size)
    items, coverage = _coverage(study, data)
    return {
        "study": study.name,
        "arms": [arm.name for arm in study.arms],
        "seeds": list(study.seeds),
        "stages": list(STAGES),
        "runs": runs,
        "parameters": parameters,
        "tokens_per_run": tokens,
        "flops_per_run": total,
        "head_share_of_flops": flops["head"] / sum(flops.values()),
        "flops_per_second_measured": rate,
        "pretraining_hours": total * runs / rate / max(1, jobs) / 3600,
        # Weights twice (raw and fine-tuned and exported: three float32 copies) plus tokens at two bytes.
        "disk_gigabytes": runs * (3 * 4 * parameters + 2 * tokens) / 1e9,
        "items": items,
        "coverage_ceiling": coverage,
        "claims": [_detectable(claim, len(study.seeds), items) for claim in study.primary],
    }


def measured_flops_per_second(config: ModelConfig, padded_vocabulary: int, device: str, precision: str) -> float:
    """Training FLOPs per second of this network on this device with one worker's threads, from a short probe of the
    real loss, forward and backward."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if device == "cpu" else threads)
    shallow, kind = replace(config, n_layer=1), resolved(precision, device)
    model = NextToken(shallow.build(padded_vocabulary, 0)).to(device)
    ids = torch.zeros((4, config.n_positions), dtype=torch.long, device=device)
    flops = sum(shallow.flops_per_token(padded_vocabulary).values())

    def step() -> None:
        with autocast(kind, device):
            loss = model(ids, ids)
        loss.backward()
        if device != "cpu":
            torch.cuda.synchronize()

    step()
    count, started = 0, time.monotonic()
    while time.monotonic() - started < PROBE_SECONDS:
        step()
        count += 1
    rate = count * flops * ids.numel() / (time.monotonic() - started)
    torch.set_num_threads(threads)
    return rate


def _coverage(study: Study, data: Path | None) -> tuple[dict[str, int], dict[str, float]]:
    """Items per task.split, and the share of them whose reference answer holds a site of the treatment."""
    arm = study.arm(study.treatment)
    items: dict[str, int] = {"text": arm.recipe.evaluate.text_documents}
    covered: dict[str, int] = {}
    for task in arm.recipe.evaluate.tasks:
        try:
            found = task.items(data)
        except UserError as error:
            items[f"{task.name} (not counted: {error})"] = 0
            continue
        for item in found:
            key = f"{task.name}.{item.split}"
            items[key] = items.get(key, 0) + 1
            covered[key] = covered.get(key, 0) + bool(arm.intervention.spans(item.gold, item.item_id))
    return items, {key: covered[key] / items[key] for key in covered}


def _detectable(claim: Claim, seeds: int, items: dict[str, int]) -> dict[str, Any]:
    """Minimum detectable effect at 80 % power, two-sided 5 %, under the stated assumptions."""
    number = sum(n for key, n in items.items() if key == claim.target or key.startswith(claim.target + "."))
    between, within = ASSUMED.get(claim.metric, ASSUMED_BITS)
    wanted = claim.delta if isinstance(claim, Benefit) else claim.margin if isinstance(claim, NoHarm) else 0.0
    mde = None
    if seeds > 1 and number:
        error = math.sqrt(between**2 / seeds + within**2 / number)
        mde = float((stats.t.ppf(0.975, seeds - 1) + stats.t.ppf(0.8, seeds - 1)) * error)
    return {
        "claim": type(claim).__name__,
        "target": claim.target,
        "metric": claim.metric,
        "wanted": wanted,
        "items": number,
        "minimum_detectable_effect": mde,
        "assumed_sd_between_seeds": between,
        "assumed_sd_between_items": within,
    }


def default_jobs(device: str) -> int:
    """One worker per core on a CPU, one on an accelerator."""
    return max(1, os.cpu_count() or 1) if device == "cpu" else 1
