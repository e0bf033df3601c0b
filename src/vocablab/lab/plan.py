"""What a study would do, before it does it: runs, FLOPs, time, disk, coverage ceiling, detectable effect."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vocablab.analysis.claims import Benefit, Claim
from vocablab.analysis.effects import estimate_of
from vocablab.analysis.estimates import Estimate
from vocablab.analysis.planning import power
from vocablab.analysis.scores import pair, read_study
from vocablab.base.errors import RunError, UserError
from vocablab.evaluate.forced_prefix import FORCED_PREFIX, items_by_split
from vocablab.lab.stages import STAGES, makers, stages_of
from vocablab.lab.study import Arm, Study
from vocablab.model.network import ModelConfig
from vocablab.pretrain.next_token import NextToken
from vocablab.training.precision import autocast, resolved
from vocablab.training.throughput import PEAK_BFLOAT16
from vocablab.vocab.vocabulary import padded

TYPICAL_TOKENS_PER_BYTE = 0.28
"""For a rough plan only: about 3.6 bytes per token for GPT-2's vocabulary on English text."""
PROBE_SECONDS = 1.0
ACCELERATOR = "H200"
UTILISATION = 0.4
"""Share of the accelerator's peak that training is assumed to reach; stated beside every hour it leads to."""


def plan(study: Study, data: Path | None, device: str, jobs: int, pilot: Path | None = None) -> dict[str, Any]:
    """Everything `vocablab plan` prints, as JSON values.

    Args:
        study: what would run.
        data: the data directory, or None.
        device: where it would run; a short probe measures its speed.
        jobs: workers at a time.
        pilot: a finished study with the same claims, whose variances replace the assumed ones.
    """
    found = designed(study, data, pilot)
    recipe = study.arm(study.control).recipe
    rate = measured_flops_per_second(recipe.model, found["padded_vocabulary"], device, recipe.pretrain.precision)
    return found | {
        "flops_per_second_measured": rate,
        "pretraining_hours": found["flops_of_all_runs"] / rate / max(1, jobs) / 3600,
    }


def designed(study: Study, data: Path | None, pilot: Path | None = None) -> dict[str, Any]:
    """The part of the plan that is the same on every machine: what `study.json` keeps.

    Raises:
        UserError: if the pilot cannot tell the variance of a claim.
    """
    size = padded_vocabulary(study)
    control = study.arm(study.control)
    flops = control.recipe.model.flops_per_token(size)
    tokens = {arm.name: _tokens(arm, size) for arm in study.arms}
    per_arm = {arm.name: tokens[arm.name] * _flops_per_token(arm, size) for arm in study.arms}
    # Arms that share a pretrained model train it once.
    total = sum(per_arm[name] for name in makers(study)) * len(study.seeds)
    parameters = control.recipe.model.parameters(size)
    items, coverage = _coverage(study, data)
    return {
        "study": study.name,
        "arms": [arm.name for arm in study.arms],
        "seeds": list(study.seeds),
        "stages": [stage for stage in STAGES if any(stage in stages_of(arm) for arm in study.arms)],
        "runs": len(study.arms) * len(study.seeds),
        "confirmatory": study.confirmatory,
        "padded_vocabulary": size,
        "parameters": parameters,
        "tokens_per_run": tokens[control.name],
        "flops_per_run": per_arm[control.name],
        "flops_of_all_runs": total,
        "head_share_of_flops": flops["head"] / sum(flops.values()),
        "h200_hours": accelerator_hours(total),
        "h200_assumes": assumed_speed(),
        # Weights three times (raw, exported and fine-tuned, all float32) plus tokens at two bytes.
        "disk_gigabytes": len(study.seeds) * sum(12 * parameters + 2 * n for n in tokens.values()) / 1e9,
        "items": items,
        "coverage_ceiling": coverage,
        "claims": [detectable(claim, study, items, pilot) for claim in study.primary],
    }


def accelerator_hours(flops: float) -> float:
    """Hours of one H200 for so many training FLOPs, at the stated utilisation."""
    return flops / (PEAK_BFLOAT16[ACCELERATOR] * UTILISATION) / 3600


def assumed_speed() -> str:
    """What `accelerator_hours` assumes, in words."""
    return f"{PEAK_BFLOAT16[ACCELERATOR] / 1e12:.0f} TFLOP/s dense bfloat16 (data sheet) x {UTILISATION:g} (assumed)"


def padded_vocabulary(study: Study) -> int:
    """Rows of every arm's vocabulary, before it is made."""
    base = study.arm(study.control).recipe.base_vocabulary.expected_size
    return padded(base + max(len(arm.intervention.tokens()) for arm in study.arms))


def _flops_per_token(arm: Arm, rows: int) -> float:
    return sum(arm.recipe.model.flops_per_token(rows).values())


def _tokens(arm: Arm, rows: int) -> int:
    return arm.recipe.pretrain.budget.tokens(TYPICAL_TOKENS_PER_BYTE, _flops_per_token(arm, rows))


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
    if arm.recipe.evaluate.forced_prefix:
        items |= {f"{FORCED_PREFIX}.{split}": count for split, count in items_by_split(arm.intervention).items()}
    return items, {key: covered[key] / items[key] for key in covered}


def detectable(claim: Claim, study: Study, items: dict[str, int], pilot: Path | None = None) -> dict[str, Any]:
    """What the plan can find of `claim` at 80 % power (`vocablab.analysis.planning`), as JSON values."""
    # A task that is asked in several ways has as many items in each.
    task, _, split = claim.target.partition(".")
    target = task.partition(":")[0] + (f".{split}" if split else "")
    number = sum(n for key, n in items.items() if key == target or key.startswith(target + "."))
    seeds, claims = len(study.seeds), len(study.primary)
    if pilot is None:
        found = power(claim, seeds, number, n_claims=claims)
    else:
        known = _pilot_estimate(pilot, claim)
        # Clusters grow with items: a larger evaluation has more sources of the same size.
        clusters = round(known.n_clusters * number / known.n_items)
        found = power(claim, seeds, clusters, n_claims=claims, pilot=known.variance, floor=known.floor)
    return {
        "claim": type(claim).__name__,
        "target": claim.target,
        "metric": claim.metric,
        "wanted": found.wanted,
        "items": number,
        "minimum_detectable_effect": found.mde,
        "seeds_needed": found.seeds_needed,
        "detectable": found.detectable,
        "basis": found.basis if pilot is None else f"{found.basis}: {pilot.name}",
        "sentence": found.sentence,
    }


def _pilot_estimate(pilot: Path, claim: Claim) -> Estimate:
    """Treatment minus control of a finished study on the claim's measure, whatever its treatment was."""
    study = read_study(pilot)
    try:
        paired = pair(study, study.treatment, study.control, claim.target, claim.metric)
    except RunError as error:
        raise UserError(f"--pilot {pilot}: {error}") from None
    if paired is None:
        raise UserError(f"--pilot {pilot}: it has no scores for {claim.metric} on {claim.target}.")
    found = estimate_of(paired, same_seeds=claim.paired)
    if found.n_seeds < 2:
        raise UserError(f"--pilot {pilot}: one seed cannot tell the variance between seeds; two are the least.")
    return found


def require_detectable(study: Study, planned: dict[str, Any]) -> None:
    """Refuse a confirmatory study whose plan cannot detect the delta of a benefit.

    Raises:
        UserError: naming the claim, its MDE, its delta and the seeds that would do.
    """
    for claim in planned["claims"]:
        if claim["claim"] == Benefit.__name__ and not claim["detectable"]:
            raise UserError(f"study {study.name} is confirmatory and is not started: {claim['sentence']}")


def default_jobs(device: str) -> int:
    """One worker per core on a CPU, one on an accelerator."""
    return max(1, os.cpu_count() or 1) if device == "cpu" else 1
