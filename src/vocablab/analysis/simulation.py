"""Simulated studies, whose truth is known.

They are whole score tables, treatment and control of shape (B, S, N): B studies, S seeds, N items.

Sizes are in units of the standard deviation of one item's noise (`Continuous`) or in log odds (`Rare`).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import optimize, special

from vocablab.analysis.arrays import Floats

_NODES = np.polynomial.hermite_e.hermegauss(80)
"""Points and weights that integrate over a standard normal variable."""


@dataclass(frozen=True)
class Scores:
    """The scores of many simulated studies of one design."""

    treatment: Floats
    """Shape (B, S, N)."""
    control: Floats
    """Shape (B, S, N)."""
    weights: Floats | None = None
    """Denominators of both arms, shape (B, 1, N); None is 1 each."""


class Design(Protocol):
    """A kind of study that can be simulated."""

    @property
    def name(self) -> str: ...
    @property
    def seeds(self) -> int: ...
    @property
    def items(self) -> int: ...
    @property
    def clusters(self) -> list[str] | None: ...
    @property
    def paired(self) -> bool: ...
    @property
    def truth(self) -> float: ...
    def draw(self, stream: np.random.Generator, studies: int) -> Scores: ...


@dataclass(frozen=True)
class Continuous:
    """Scores that are sums of an item, a seed and noise: bits, margins, log probabilities."""

    seeds: int
    """Seeds per arm."""
    items: int
    """Items, each asked every model."""
    seed_sd: float
    """Between seeds, of treatment minus control."""
    item_sd: float = 0.0
    """Of the effect between items (clusters)."""
    effect: float = 0.0
    """Mean effect of the treatment."""
    covered: float = 1.0
    """Share of items that the treatment acts on, each by `effect` / `covered`: a fact token fits few questions."""
    heavy: bool = False
    """Whether seed effects follow Student's t with 3 degrees of freedom instead of a normal: a run may go wrong."""
    cluster_size: int = 1
    """Items of one cluster share their effect and half of the variance of their noise."""
    ratio: bool = False
    """Whether items have sizes (log-normal) and the measure is a ratio of sums, as bits per byte."""
    paired: bool = True
    """Whether the arms share seeds."""

    @property
    def truth(self) -> float:
        """The effect over all seeds and items there could be."""
        return self.effect

    @property
    def clusters(self) -> list[str] | None:
        """Cluster name per item, or None."""
        return None if self.cluster_size == 1 else [str(i // self.cluster_size) for i in range(self.items)]

    @property
    def name(self) -> str:
        """The design in a few words."""
        extra = [
            "unpaired" * (not self.paired),
            "ratio" * self.ratio,
            f"clusters of {self.cluster_size}" * (self.cluster_size > 1),
            f"covered {self.covered:g}" * (self.covered < 1),
        ]
        said = ", ".join(["t3 seeds" if self.heavy else "Gaussian", *(part for part in extra if part)])
        return f"{said}: seed SD {self.seed_sd:g}, item SD {self.item_sd:g}, effect {self.effect:g}"

    def draw(self, stream: np.random.Generator, studies: int) -> Scores:
        """Simulate `studies` studies."""
        groups = self.items // self.cluster_size
        gain = stream.normal(self.effect, self.item_sd, (studies, 1, groups))
        if self.covered < 1:
            gain += self.effect * (stream.random(gain.shape) < self.covered) / self.covered - self.effect
        difficulty = stream.normal(0, 1, (studies, 1, self.items))
        # What both arms of a seed share (the documents' order) cancels where they are paired.
        shared = stream.normal(0, self.seed_sd, (studies, self.seeds, 1)) if self.paired else 0.0
        arms = [self._arm(stream, studies, groups) + difficulty + shared for _ in range(2)]
        arms[0] += np.repeat(gain, self.cluster_size, axis=-1)
        if not self.ratio:
            return Scores(arms[0], arms[1])
        sizes = stream.lognormal(0, 0.7, (studies, 1, self.items))
        return Scores(sizes * (arms[0] + 5), sizes * (arms[1] + 5), np.broadcast_to(sizes, arms[0].shape))

    def _arm(self, stream: np.random.Generator, studies: int, groups: int) -> Floats:
        """One arm's own part: each arm carries half of the variance of the difference."""
        shape = studies, self.seeds, 1
        seed = stream.standard_t(3, shape) / math.sqrt(3) if self.heavy else stream.normal(0, 1, shape)
        noise = stream.standard_normal((studies, self.seeds, self.items))
        if self.cluster_size > 1:
            common = stream.standard_normal((studies, self.seeds, groups))
            noise = (noise + np.repeat(common, self.cluster_size, axis=-1)) * math.sqrt(0.5)
        noise += self.seed_sd * seed
        noise *= math.sqrt(0.5)
        return noise


@dataclass(frozen=True)
class Rare:
    """Right or wrong answers of models that are seldom right: log odds are sums of an item, a seed and the effect."""

    seeds: int
    """Seeds per arm."""
    items: int
    """Items, each asked every model."""
    rate: float
    """Share of right answers of the control."""
    seed_sd: float = 0.0
    """Between seeds of one arm, in log odds."""
    item_sd: float = 0.0
    """Of the effect between items, in log odds."""
    shift: float = 0.0
    """Mean effect of the treatment in log odds."""
    difficulty_sd: float = 1.5
    """Between items, in log odds, the same for both arms."""
    paired: bool = True
    """Whether the arms share seeds."""

    @property
    def clusters(self) -> None:
        """Every item is its own cluster."""

    @property
    def name(self) -> str:
        """The design in a few words."""
        said = f"binary {self.rate:.0%}{', unpaired' * (not self.paired)}"
        return f"{said}: seed SD {self.seed_sd:g}, item SD {self.item_sd:g}, shift {self.shift:g}"

    @cached_property
    def base(self) -> float:
        """Log odds of an ordinary item at which the control's mean is `rate`."""
        spread = math.hypot(self.seed_sd, self.difficulty_sd)
        return float(optimize.brentq(lambda base: _mean_of_odds(base, spread) - self.rate, -20, 20))

    @property
    def truth(self) -> float:
        """The difference of the shares of right answers over all seeds and items there could be."""
        spread = math.hypot(self.seed_sd, self.difficulty_sd, self.item_sd)
        control = math.hypot(self.seed_sd, self.difficulty_sd)
        return _mean_of_odds(self.base + self.shift, spread) - _mean_of_odds(self.base, control)

    def draw(self, stream: np.random.Generator, studies: int) -> Scores:
        """Simulate `studies` studies."""
        item = stream.normal(self.base, self.difficulty_sd, (studies, 1, self.items))
        gain = stream.normal(self.shift, self.item_sd, item.shape) if self.shift or self.item_sd else 0.0
        arms = []
        for added in (gain, 0.0):
            odds = item + added + stream.normal(0, self.seed_sd, (studies, self.seeds, 1))
            arms.append((stream.random(odds.shape) < special.expit(odds)).astype(np.float64))
        return Scores(arms[0], arms[1])


def _mean_of_odds(centre: float, spread: float) -> float:
    """Mean probability where log odds are normal."""
    points, weights = _NODES
    return float(special.expit(centre + spread * points) @ weights / weights.sum())
