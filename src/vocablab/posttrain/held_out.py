"""How a model in training by reward does on problems that it is not trained on."""

from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from vocablab.posttrain.rewards import Judge, Judged, mean
from vocablab.posttrain.rollouts import Problem, Rollouts

HELD_OUT = (
    "held_out_pass_rate", "held_out_greedy", "held_out_reward", "held_out_emitted_tokens", "held_out_used_tokens",
)  # fmt: skip
"""Share of right sampled answers, and of right most-probable ones; mean reward and added tokens of sampled ones."""


class HeldOut:
    """Reads held-out problems; every reading draws from the same random numbers."""

    def __init__(
        self, problems: Sequence[Problem], rollouts: Rollouts, judge: Judge, samples: int, temperature: float
    ) -> None:
        """Read `problems`, `samples` sampled answers each and a most probable one."""
        self._problems, self._rollouts, self._judge = problems, rollouts, judge
        self._samples, self._temperature = samples, temperature

    def read(self) -> dict[str, float]:
        """One reading, by the names of `HELD_OUT`."""
        many = [one for one in self._problems for _ in range(self._samples)]
        sampled = self._judged(many, self._rollouts.draw(many, "held out", 0, temperature=self._temperature))
        greedy = self._judged(self._problems, self._rollouts.draw(self._problems, "held out", 0, temperature=0.0))
        return {
            "held_out_pass_rate": mean([one.correct for one in sampled]),
            "held_out_greedy": mean([one.correct for one in greedy]),
            "held_out_reward": mean([one.reward for one in sampled]),
            "held_out_emitted_tokens": mean([len(one.emitted) for one in sampled]),
            "held_out_used_tokens": mean([len(one.used) for one in sampled]),
        }

    def _judged(self, problems: Sequence[Problem], answers: Sequence[list[int]]) -> list[Judged]:
        return [self._judge(one.item, ids) for one, ids in zip(problems, answers, strict=True)]


def pass_rates(
    problems: Sequence[Problem], rollouts: Rollouts, judge: Judge, samples: int, temperature: float, step: int
) -> list[float]:
    """Share of right answers among `samples` sampled ones to each problem; `step` names the random numbers."""
    many = [one for one in problems for _ in range(samples)]
    answers = rollouts.draw(many, "pass rate", step, temperature=temperature)
    right = [judge(one.item, ids).correct for one, ids in zip(many, answers, strict=True)]
    return [mean(right[i : i + samples]) for i in range(0, len(right), samples)]


class Readings(TrainerCallback):  # type: ignore[misc]
    """Reads at the start, every few steps and at the end."""

    def __init__(self, held_out: HeldOut, every: int, told: Callable[[float, float, str], None]) -> None:
        self._held_out, self._every, self._told = held_out, every, told

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step == 0:
            self._read(state)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step % self._every == 0 and state.global_step < state.max_steps:
            self._read(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        # A training that is stopped may have been read at its last step.
        if state.global_step not in {line["step"] for line in state.log_history if HELD_OUT[0] in line}:
            self._read(state)

    def _read(self, state: Any) -> None:
        found = self._held_out.read()
        # Not by the trainer's own log, which would empty its running means.
        state.log_history.append({"step": state.global_step, **found})
        note = f"held-out pass rate {found['held_out_pass_rate']:.2f}"
        self._told(state.global_step, state.max_steps, note)
