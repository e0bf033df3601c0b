"""TRL's `GRPOTrainer` with our answers, our judge and our log-probabilities."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from vocablab.posttrain.rewards import Judge, Judged, mean
from vocablab.posttrain.rl import GRPO
from vocablab.posttrain.rollouts import Problem, Rollouts
from vocablab.posttrain.trees import log_probabilities

COMPLETIONS = "completions.jsonl"
"""Every answer of the steps that are logged, judged."""
TRAINER = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "reward": "reward",
    "reward_std": "reward_std",
    "correct_mean": "rewards/correct/mean",
    "correct_std": "rewards/correct/std",
    "bonus_mean": "rewards/bonus/mean",
    "bonus_std": "rewards/bonus/std",
    "kl": "kl",
    "entropy": "entropy",
    "length": "completions/mean_length",
    "truncated": "completions/clipped_ratio",
    "clipped": "clip_ratio/region_mean",
}
"""What a line of ``metrics.jsonl`` takes from the trainer's log, by our names."""
JUDGED = (
    "zero_variance", "correct_zero_variance", "bonus_zero_variance", "emitted_tokens", "used_tokens", "idle_tokens",
    "repetition",
)  # fmt: skip
PAIRED = (
    "with_right",
    "without_right",
    "only_with_right",
    "only_without_right",
    "with_better",
    "without_better",
    "difference",
)
"""Of contrastive pairs: shares of right answers with and without fact tokens, of pairs of which only one is right, of
pairs of which one has the higher reward; and the mean difference of rewards."""


class RewardTrainer(GRPOTrainer):  # type: ignore[misc]
    """Log-probabilities where answers were sampled, and only of the answers' tokens."""

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int,
        batch_size: int | None = None, **rest: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, None]:  # fmt: skip
        at_once = batch_size or len(input_ids)
        logs, entropies = [], []
        for start in range(0, len(input_ids), at_once):
            part = slice(start, start + at_once)
            with self.accelerator.autocast():
                found, entropy = log_probabilities(
                    model, input_ids[part], attention_mask[part], logits_to_keep, self.temperature
                )
            logs.append(found)
            entropies.append(entropy)
        return torch.cat(logs), torch.cat(entropies), None


class Book:
    """Answers problems and keeps account of what the answers were worth: TRL's rollout and reward functions.

    TRL hands only a prompt on to a rollout, so a prompt is its place in the training. Which problem stands there is
    looked up when it is answered: a curriculum may change the places that are still to come.
    """

    def __init__(
        self, config: GRPO, problems: Sequence[Problem], order: Sequence[int], rollouts: Rollouts, judge: Judge
    ) -> None:
        """Keep account of answers to `problems`; `order` has the number of the problem of each place."""
        self._config, self._problems, self._order, self._rollouts, self._judge = (
            config, problems, order, rollouts, judge,
        )  # fmt: skip
        self.last: list[dict[str, Any]] = []
        """The answers of the last step."""
        self._judged: list[Judged] = []

    def rollout(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """TRL's ``rollout_func``."""
        chosen = self._chosen(prompts)
        answers = self._rollouts.draw(
            chosen, "train", trainer.state.global_step, temperature=self._config.temperature,
            contrast=self._config.contrast is not None,
        )  # fmt: skip
        return {"prompt_ids": [one.ids for one in chosen], "completion_ids": answers, "logprobs": None}

    def functions(self) -> list[Callable[..., list[float]]]:
        """The components of the reward, whose sum it is."""
        return [self.correct] if self._config.bonus is None else [self.correct, self.bonus]

    def correct(
        self, prompts: list[str], completion_ids: list[list[int]], log_metric: Callable[[str, float], None], **rest: Any
    ) -> list[float]:
        """1 for a right answer; judges the batch for the other component, too."""
        chosen = self._chosen(prompts)
        self._judged = [self._judge(one.item, ids) for one, ids in zip(chosen, completion_ids, strict=True)]
        found = [judged.correct for judged in self._judged]
        for name, value in self._readings().items():
            log_metric(name, value)
        self.last = [
            _line(one, judged, ids) for one, judged, ids in zip(chosen, self._judged, completion_ids, strict=True)
        ]
        return found

    def bonus(self, prompts: list[str], **rest: Any) -> list[float]:
        """What added tokens add; called after `correct` on the same answers."""
        return [judged.bonus for judged in self._judged]

    def _chosen(self, prompts: Sequence[str]) -> list[Problem]:
        return [self._problems[self._order[int(prompt)]] for prompt in prompts]

    def _readings(self) -> dict[str, float]:
        judged, group = self._judged, self._config.group
        found = {
            # Of groups, whatever advantages are divided by.
            "zero_variance": zero_variance([one.reward for one in judged], group),
            "correct_zero_variance": zero_variance([one.correct for one in judged], group),
            "emitted_tokens": mean([len(one.emitted) for one in judged]),
            "used_tokens": mean([len(one.used) for one in judged]),
            "idle_tokens": mean([one.idle for one in judged]),
            "repetition": mean([one.repetition for one in judged]),
        }
        if self._config.bonus is not None:
            found["bonus_zero_variance"] = zero_variance([one.bonus for one in judged], group)
        return found | (paired(judged) if self._config.contrast is not None else {})


def paired(judged: Sequence[Judged]) -> dict[str, float]:
    """What contrastive pairs tell; members stand one after the other, the one with fact tokens first."""
    pairs = list(zip(judged[::2], judged[1::2], strict=True))
    return {
        "with_right": mean([a.correct for a, _ in pairs]),
        "without_right": mean([b.correct for _, b in pairs]),
        "only_with_right": mean([a.correct * (1 - b.correct) for a, b in pairs]),
        "only_without_right": mean([b.correct * (1 - a.correct) for a, b in pairs]),
        "with_better": mean([float(a.reward > b.reward) for a, b in pairs]),
        "without_better": mean([float(b.reward > a.reward) for a, b in pairs]),
        "difference": mean([a.reward - b.reward for a, b in pairs]),
    }


def zero_variance(values: Sequence[float], group: int) -> float:
    """Share of groups whose members all have the same value: they teach nothing."""
    groups = [values[i : i + group] for i in range(0, len(values), group)]
    return mean([float(len(set(one)) == 1) for one in groups])


def _line(one: Problem, judged: Judged, ids: list[int]) -> dict[str, Any]:
    return {
        "item_id": one.item.item_id,
        "prompt": one.item.prompt,
        "answer": one.item.answer,
        "output": judged.text,
        "ids": ids,
        "correct": judged.correct,
        "bonus": judged.bonus,
        "reward": judged.reward,
        "emitted": dict(Counter(judged.emitted)),
        "used": list(judged.used),
    }


def line_of(entry: dict[str, Any]) -> dict[str, Any] | None:
    """The line of a trainer's log entry of a step; None for other entries. What is not a number is left out: a step on
    answers of an earlier one has no reward."""
    if "loss" not in entry:
        return None
    found = {ours: entry[theirs] for ours, theirs in TRAINER.items() if entry.get(theirs) is not None}
    return {"step": entry["step"], **found, **{name: entry[name] for name in (*JUDGED, *PAIRED) if name in entry}}


class Completions(TrainerCallback):  # type: ignore[misc]
    """Writes the answers of the step that is logged."""

    def __init__(self, book: Book, path: Path) -> None:
        self._book, self._path = book, path

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        # What an interrupted run logged after its last checkpoint comes again.
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state.global_step]
            self._path.write_text("".join(whole), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
        if logs and "reward" in logs:
            with open(self._path, "a", encoding="utf-8") as handle:
                for line in self._book.last:
                    handle.write(json.dumps({"step": state.global_step, **line}, ensure_ascii=False) + "\n")
