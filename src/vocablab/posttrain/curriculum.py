"""Which problems a training by reward works on: by their pass rates, measured at the start and, if declared, again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from vocablab.base.errors import UserError
from vocablab.base.files import read_json, write_json_atomically
from vocablab.base.random_streams import numpy_stream
from vocablab.posttrain.rl import GRPO, Curriculum
from vocablab.posttrain.watch import Stop
from vocablab.tasks.task import Item

PASS_RATES = "pass_rates.json"
"""Pass rate of every problem at the start, and at each later step that measured them, if there is a curriculum."""


class Course(TrainerCallback):  # type: ignore[misc]
    """The problem of each place of the training, a step having `GRPO.prompts` places."""

    def __init__(
        self, config: GRPO, items: Sequence[Item], seed: int, measure: Callable[[int], list[float]], path: Path
    ) -> None:
        """Choose the problems of all steps.

        Args:
            config: how many places there are, and the curriculum if there is one.
            items: the problems.
            seed: of the order.
            measure: pass rates of the problems by the model as it is, given the step, which names the random numbers.
            path: where rates are written; those of an interrupted run are not measured twice.

        Raises:
            UserError: if fewer problems than a step needs are worth an attempt.
        """
        self._config, self._items, self._seed, self._measure, self._path = config, items, seed, measure, path
        self._rates: dict[int, list[float]] = _read(path, len(items))
        self.order: list[int] = []
        """Number of the problem of each place."""
        self.stop: Stop | None = None
        """Why training was stopped, if later rates left too few problems."""
        too_few = self._plan(0)
        if too_few:
            raise UserError(f"rl: {too_few}.")

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        # An interrupted run comes back to the order that it had.
        for step in range(1, self._done(state) + 1):
            self._renew(step, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if state.global_step % self._config.iterations == 0 and state.global_step < state.max_steps:
            self._renew(self._done(state), control)

    def _done(self, state: Any) -> int:
        """Batches of answers that were trained on."""
        return int(state.global_step) // self._config.iterations

    def _renew(self, step: int, control: Any) -> None:
        how = self._config.curriculum
        if how is None or not how.again_every or step % how.again_every:
            return
        too_few = self._plan(step)
        if too_few:
            self.stop = Stop("curriculum", step * self._config.iterations, too_few)
            control.should_training_stop = True

    def _plan(self, step: int) -> str:
        """Choose the problems from `step` on; says so, and leaves them as they are, if too few are worth it."""
        config = self._config
        if config.curriculum is not None and step not in self._rates:
            self._rates[step] = self._measure(step)
            told = [
                {"step": at, "item_id": item.item_id, "pass_rate": rate}
                for at, rates in sorted(self._rates.items())
                for item, rate in zip(self._items, rates, strict=True)
            ]
            write_json_atomically(self._path, told)
        rates = None if config.curriculum is None else self._rates[step]
        kept = worth_attempting(config.curriculum, len(self._items), rates)
        if len(kept) < config.prompts:
            how = config.curriculum or Curriculum()
            when = f"after {step} batches of answers" if step else "at the start"
            return (
                f"{len(kept)} of {len(self._items)} problems are worth an attempt (pass rate {how.least:g} to "
                f"{how.most:g} {when}), a step needs {config.prompts}"
            )
        start = step * config.prompts
        self.order[start:] = places(config, kept, rates, self._seed, start)
        return ""


def worth_attempting(how: Curriculum | None, count: int, rates: Sequence[float] | None) -> list[int]:
    """Numbers of the problems between a curriculum's bounds; all of them without one."""
    return [i for i in range(count) if how is None or rates is None or how.least <= rates[i] <= how.most]


def places(config: GRPO, kept: Sequence[int], rates: Sequence[float] | None, seed: int, start: int) -> list[int]:
    """The problem of each place from `start` on: pass after pass over those that are kept, each in an order of its
    own."""
    wanted = config.steps * config.prompts - start
    easy_first = rates is not None and config.curriculum is not None and config.curriculum.order == "easy_first"
    order: list[int] = []
    while len(order) < wanted:
        shuffled = [kept[int(i)] for i in numpy_stream(seed, "rl", start + len(order)).permutation(len(kept))]
        # Whole steps only, so that no step has a problem twice.
        taken = shuffled[: len(shuffled) // config.prompts * config.prompts]
        if easy_first and rates is not None:
            taken.sort(key=lambda i: -rates[i])
        order += taken
    return order[:wanted]


def _read(path: Path, count: int) -> dict[int, list[float]]:
    """What an interrupted run measured, by step."""
    found: dict[int, list[float]] = {}
    if path.exists():
        for entry in read_json(path, "what an interrupted run measured"):
            found.setdefault(entry["step"], []).append(entry["pass_rate"])
    return {step: rates for step, rates in found.items() if len(rates) == count}
