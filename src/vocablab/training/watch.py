"""Stops a run whose loss is not a number or climbs away, while a good checkpoint is still there."""

import math
from dataclasses import dataclass
from typing import Any

SMOOTHING = 0.05
"""Weight of a new loss in the running mean: a memory of about 20 steps."""
SETTLING = 10
"""Steps before the running mean is believed."""


@dataclass
class Watch:
    """Running mean of the loss and the lowest it has been."""

    limit: float
    """How far above its lowest the running mean may rise, in nats per token."""
    mean: float = math.nan
    lowest: float = math.inf
    seen: int = 0

    def verdict(self, loss: float, gradient_norm: float) -> str | None:
        """What is wrong after one more step; None if nothing is."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient's norm is {gradient_norm}"
        self.seen += 1
        self.mean = loss if self.seen == 1 else self.mean + SMOOTHING * (loss - self.mean)
        if self.seen < SETTLING:
            return None
        self.lowest = min(self.lowest, self.mean)
        if self.mean > self.lowest + self.limit:
            return f"the loss has climbed from {self.lowest:.2f} to {self.mean:.2f} nats per token"
        return None

    @property
    def calm(self) -> bool:
        """Whether the weights of this moment are worth keeping: the loss is not on its way up."""
        return self.seen < SETTLING or self.mean <= self.lowest + self.limit / 4

    def state(self) -> dict[str, Any]:
        """JSON values from which `restore` goes on."""
        mean = None if math.isnan(self.mean) else self.mean
        return {"mean": mean, "lowest": None if math.isinf(self.lowest) else self.lowest, "seen": self.seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.mean = math.nan if state["mean"] is None else state["mean"]
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
        self.seen = state["seen"]
