"""What the stages `sft` and `rl` of the made-up study leave: counts of their records, and lines of their logs."""

from typing import Any

import numpy as np

LESSONS = {"drills": 10, "problems": 20}
"""Steps of each lesson."""
REWARD_STEPS = 100
STOPPED = ("sham", 1, 60)
"""The run that its watch stopped, and after which step."""


def sft_lines(arm: str, seed: int) -> list[dict[str, Any]]:
    """Losses at every step, and a reading of held-out examples at every fifth; the treatment is best at step 25."""
    rng = np.random.default_rng([seed, 5 * len(arm)])
    lines, step = [], 0
    for lesson, steps in LESSONS.items():
        for place in range(1, steps + 1):
            step += 1
            loss = 2 / (1 + 0.1 * step) + rng.normal(0, 0.02)
            lines.append({"lesson": lesson, "step": step, "loss": loss, "learning_rate": 1e-4})
            if place % 5 == 0:
                bits = 1 + 1 / place + seed / 8 + 0.5 * (arm == "mul_facts" and step == 30)
                lines.append({"lesson": lesson, "step": step, "held_out_bits_per_byte": bits})
    return lines


def sft_counts(arm: str, seed: int, tokens: list[str]) -> dict[str, Any]:
    """Counts of a fine-tuning that went by `sft_lines`."""
    first = LESSONS["drills"]
    found = {
        line["step"]: line["held_out_bits_per_byte"]
        for line in sft_lines(arm, seed)
        if "held_out_bits_per_byte" in line and line["step"] > first
    }
    lessons = [
        {"name": name, "steps": steps, "examples": 8 * steps, "held_out": 16, "drill_share": float(name == "drills")}
        for name, steps in LESSONS.items()
    ]
    return {
        "steps": sum(LESSONS.values()),
        "lessons": lessons,
        "readings": [{"step": step, "bits_per_byte": bits} for step, bits in found.items()],
        "best_step": min(found, key=lambda step: found[step]),
        "use": "last",
        "exposures": {name: 3 * place + seed for place, name in enumerate(tokens, start=1)},
    }


def _held_out(arm: str, seed: int, step: int) -> dict[str, float]:
    return {
        "held_out_pass_rate": 0.2 + 0.003 * step + 0.01 * seed,
        "held_out_greedy": 0.25 + 0.003 * step,
        "held_out_reward": 0.2 + 0.004 * step,
        "held_out_emitted_tokens": 1.5 if arm == "mul_facts" else 2.5,
        "held_out_used_tokens": 0.01 * step if arm == "mul_facts" else 0.0,
    }


def rl_lines(arm: str, seed: int) -> list[dict[str, Any]]:
    """A log of training by reward; the treatment's answers are in contrastive pairs, the others are free."""
    rng = np.random.default_rng([seed, 7 * len(arm)])
    stop = STOPPED[2] if STOPPED[:2] == (arm, seed) else REWARD_STEPS
    lines: list[dict[str, Any]] = [{"step": 0, **_held_out(arm, seed, 0)}]
    for step in range(5, stop + 1, 5):
        share = float(np.clip(0.3 + 0.004 * step + rng.normal(0, 0.03), 0, 1))
        line = {
            "step": step, "loss": float(rng.normal(0, 0.01)), "learning_rate": 1e-5, "reward": share, "reward_std": 0.4,
            "zero_variance": 0.3, "correct_mean": share, "correct_std": 0.4, "correct_zero_variance": 0.3,
            "entropy": 0.6 / (1 + 0.02 * step), "length": 30 - 0.05 * step, "truncated": 0.0, "clipped": 0.01,
            "emitted_tokens": 1.5, "used_tokens": 0.01 * step, "idle_tokens": 1.5 - 0.01 * step, "repetition": 0.1,
        }  # fmt: skip
        if arm == "mul_facts":
            only = {"only_with_right": 0.1 + 0.001 * step, "only_without_right": 0.1}
            line |= {"kl": 0.0004 * step, "with_right": 0.5, "without_right": 0.4, **only}
            line |= {"with_better": 0.3, "without_better": 0.2, "difference": 0.001 * step}
        lines.append(line)
        if step % 20 == 0:
            lines.append({"step": step, **_held_out(arm, seed, step)})
    return lines


def rl_counts(arm: str, seed: int) -> dict[str, Any]:
    """Counts of a training by reward that went by `rl_lines`."""
    lines = rl_lines(arm, seed)
    readings = [{k: v for k, v in line.items() if k != "step"} for line in lines if "held_out_reward" in line]
    stopped = None
    if STOPPED[:2] == (arm, seed):
        sentence = "idle_tokens 2.31 is above 2 for 3 readings in a row"
        stopped = {"step": STOPPED[2], "reason": "idle_tokens", "sentence": sentence}
    last = [line for line in lines if "reward" in line][-1]
    return {
        "problems": 500, "attempted": 320, "steps": last["step"], "answers": 64 * last["step"], "held_out": 64,
        "start": readings[0], "end": readings[-1], "last": last, "stopped": stopped,
    }  # fmt: skip
