"""What a study claims before it runs."""

from dataclasses import dataclass, field

LOWER_IS_BETTER = frozenset({"bits_per_byte", "gold_bits_per_byte"})
"""Metrics where an improvement is a decrease."""


@dataclass(frozen=True)
class Claim:
    """A statement about treatment minus control on one measure."""

    target: str
    """``task`` or ``task.split``."""
    metric: str
    """``acc`` (strict), ``acc_flexible``, ``acc_norm``, ``bits_per_byte`` or ``gold_bits_per_byte``."""
    paired: bool = field(default=True, kw_only=True)
    """Whether seed s of the treatment is compared with seed s of the control. False where the arms are trained with
    unrelated seeds: the variances between seeds of both then add."""

    @property
    def higher_is_better(self) -> bool:
        """Whether an increase of the metric is an improvement."""
        return self.metric not in LOWER_IS_BETTER


@dataclass(frozen=True)
class Benefit(Claim):
    """The treatment improves the metric by at least `delta`."""

    delta: float = 0.0
    """Smallest improvement worth claiming, in the metric's units, positive."""
    baselines: tuple[str, ...] = ()
    """Arms that the treatment must beat as well, each by `delta`: the control trained on as many bytes or FLOPs."""


@dataclass(frozen=True)
class NoHarm(Claim):
    """The treatment worsens the metric by no more than `margin`."""

    margin: float = 0.0
    """Largest tolerated worsening, in the metric's units, positive."""
