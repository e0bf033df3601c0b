"""Learning rate over a run, as a share of its peak."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule(ABC):
    """The shape of a learning rate."""

    warmup_steps: int
    """Steps of linear warm-up from 0."""

    def factor(self, step: int, steps: int) -> float:
        """Share of the peak at `step` (from 0) of `steps`."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return self.after_warmup(step, steps)

    @abstractmethod
    def after_warmup(self, step: int, steps: int) -> float:
        """`factor` once the warm-up is over."""


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from the peak to the floor (GPT-3, Brown et al. 2020, appendix B)."""

    floor: float = 0.1
    """Share of the peak at the end."""

    def after_warmup(self, step: int, steps: int) -> float:
        progress = min(1.0, (step - self.warmup_steps) / max(1, steps - self.warmup_steps))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmupStableDecay(Schedule):
    """The peak, then a line to the floor over the last steps (MiniCPM, Hu et al. 2024, arXiv:2404.06395).

    Its stable part does not depend on the length of the run, so a longer run shares its beginning.
    """

    decay_share: float = 0.2
    """Share of the steps that the decay takes."""
    floor: float = 0.0
    """Share of the peak at the end."""

    def after_warmup(self, step: int, steps: int) -> float:
        left = (steps - step) / max(1.0, self.decay_share * steps)
        return self.floor + (1 - self.floor) * min(1.0, left)
