"""How two models differ in one measure, with an interval where both have one."""

import math
from dataclasses import dataclass

from vocablab.analysis.probe_rules import Row

EXPLAINED = (
    "Difference: the first model minus the second. Its 95 % interval combines the intervals of both as those of "
    "independent shares (Newcombe 1998, method 10), which is conservative where both, asked the same questions, fail "
    "at the same ones. Bold: the interval, not adjusted for how many are shown, excludes 0."
)
"""What a reader must know of the column of differences."""


@dataclass(frozen=True)
class Difference:
    """The first model's number minus the second's."""

    value: float
    low: float | None
    """Lower bound of the 95% interval; None, as `high` is, if a number has no interval of its own."""
    high: float | None
    """Its upper bound."""

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and 0 lies outside."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def difference(first: Row, second: Row) -> Difference:
    """How far the same measure (a row as in `findings.json`) of two models lies apart.

    The interval recovers the variances from the distances between numbers and bounds and adds them: method 10 of
    Newcombe 1998 (Statistics in Medicine 17:873-890) where the bounds are Wilson's, MOVER of Zou and Donner 2008
    (Statistics in Medicine 27:1693-1702) for any others. Both take the two numbers as independent.
    """
    value = first["value"] - second["value"]
    if first["low"] is None or second["low"] is None:
        return Difference(value, None, None)
    below = math.hypot(first["value"] - first["low"], second["high"] - second["value"])
    above = math.hypot(first["high"] - first["value"], second["value"] - second["low"])
    return Difference(value, value - below, value + above)
