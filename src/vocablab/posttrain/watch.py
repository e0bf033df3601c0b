"""Stops a training by reward that has gone astray, and says why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import TrainerCallback

from vocablab.posttrain.rl import Limits

READINGS = {
    "kl": ("kl", "above"),
    "entropy": ("entropy", "below"),
    "length": ("length", "above"),
    "repetition": ("repetition", "above"),
    "truncated": ("truncated", "above"),
    "idle_tokens": ("idle_tokens", "above"),
}
"""For each limit the reading it is about, and on which side it is beyond."""


@dataclass(frozen=True)
class Stop:
    """Why a training was stopped."""

    reason: str
    """Which limit; ``curriculum`` if too few problems were left."""
    step: int
    """After which step."""
    sentence: str
    """For people."""


def verdict(limits: Limits, lines: Sequence[dict[str, Any]]) -> Stop | None:
    """Whether the last readings are beyond a limit, as often in a row as the limits' patience says."""
    for name, (reading, side) in READINGS.items():
        limit = getattr(limits, name)
        # A step on answers of an earlier one has a line without what was read of them.
        last = [line for line in lines if reading in line][-limits.patience :]
        if limit is None or len(last) < limits.patience:
            continue
        beyond = [line[reading] > limit if side == "above" else line[reading] < limit for line in last]
        if all(beyond):
            value = last[-1][reading]
            sentence = f"{reading} {value:.3g} is {side} {limit:g} for {limits.patience} readings in a row"
            return Stop(name, int(last[-1]["step"]), sentence)
    return None


class Watch(TrainerCallback):  # type: ignore[misc]
    """Looks at every line of the log."""

    def __init__(self, limits: Limits, line: Any) -> None:
        """Watch readings; `line` makes one of a trainer's log entry, or None."""
        self._limits, self._line = limits, line
        self.stop: Stop | None = None

    def on_log(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        lines = [line for entry in state.log_history if (line := self._line(entry)) is not None]
        self.stop = self.stop or verdict(self._limits, lines)
        if self.stop is not None:
            control.should_training_stop = True
            # A killed run goes on from before this, and stops here again.
            control.should_save = False
