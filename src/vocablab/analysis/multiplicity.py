"""Many questions at once: p-values and intervals that account for how many were asked.

Primary claims: Holm, which controls the chance of any false one (see `verdict` for their intervals). Everything else in
a report is exploratory: Benjamini-Hochberg, which controls the expected share of false ones among those called. Several
arms against one control on one measure: Dunnett, who uses that the comparisons share the control.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats
from statsmodels.stats.multitest import multipletests

from vocablab.analysis.arrays import Floats
from vocablab.analysis.estimates import Estimate

_POINTS = 20_000
"""Points of the quasi-random integration: an error of about 1e-5 in a probability of a few dimensions."""


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjusted p-values, in the given order; see `_adjusted` for what is not a number."""
    return _adjusted(p_values, "holm")


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's (1995) adjusted p-values (false discovery rates), in the given order."""
    return _adjusted(p_values, "fdr_bh")


def _adjusted(p_values: Sequence[float], method: str) -> list[float]:
    """A p-value that could not be had (NaN) stays NaN, but its question was asked: it counts as 1."""
    values = np.asarray(p_values, dtype=np.float64)
    if not len(values):
        return []
    found = multipletests(np.nan_to_num(values, nan=1.0), method=method)[1]
    return [math.nan if math.isnan(p) else float(q) for p, q in zip(values, found, strict=True)]


@dataclass(frozen=True)
class Comparison:
    """One arm minus the control, among several arms."""

    effect: float
    """Arm minus control."""
    low: float
    """Lower end of the simultaneous interval."""
    high: float
    """Upper end."""
    p_value: float
    """Adjusted two-sided p-value of "no effect"."""


def dunnett(estimates: Sequence[Estimate], level: float = 0.95) -> list[Comparison]:
    """Simultaneous comparisons of several arms with one control (Dunnett 1955, JASA 50).

    Takes each arm's two-way standard error. Degrees of freedom are the fewest of any comparison, because the
    multivariate t has one number of them: too few makes intervals wider, never narrower. The control's part of the
    variance is shared, so two comparisons with S_i and S_j seeds against S_0 seeds of the control correlate by
    sqrt(S_i / (S_i + S_0) x S_j / (S_j + S_0)): 1/2 for arms with as many seeds as the control.

    Args:
        estimates: each arm minus the same control, each with as many seeds as the control.
        level: that all intervals hold their truths together.
    """
    if not estimates:
        return []
    degrees = min(found.degrees_of_freedom for found in estimates)
    errors = np.array([found.standard_error for found in estimates])
    effects = np.array([found.effect for found in estimates])
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = np.where(effects == 0, 0.0, effects / errors)
    law = SharedControl.of_equal_arms(len(estimates), degrees)
    half = law.critical_value(level) * errors
    p_values = law.p_values(statistics)
    return [
        Comparison(float(e), float(e - h), float(e + h), float(p))
        for e, h, p in zip(effects, half, p_values, strict=True)
    ]


@dataclass(frozen=True)
class SharedControl:
    """Distribution of the largest |t| of several arms against one control."""

    correlation: tuple[tuple[float, ...], ...]
    """Between the comparisons, an (A, A) matrix for A arms."""
    degrees_of_freedom: float

    @classmethod
    def of_equal_arms(cls, arms: int, degrees_of_freedom: float) -> "SharedControl":
        """Of `arms` arms with as many seeds as the control."""
        return cls.of_sizes([1] * arms, 1, degrees_of_freedom)

    @classmethod
    def of_sizes(cls, arms: Sequence[float], control: float, degrees_of_freedom: float) -> "SharedControl":
        """Of arms with so many independent observations each against `control` of them."""
        share = np.sqrt([size / (size + control) for size in arms])
        matrix = np.outer(share, share)
        np.fill_diagonal(matrix, 1.0)
        return cls(tuple(tuple(float(x) for x in row) for row in matrix), degrees_of_freedom)

    def below(self, size: float) -> float:
        """Probability that no |t| exceeds `size`."""
        if not self.degrees_of_freedom > 0 or math.isnan(size):
            return math.nan
        arms = len(self.correlation)
        if arms == 1:
            return float(1 - 2 * stats.t.sf(size, self.degrees_of_freedom))
        ends = np.full(arms, size)
        shape, degrees = np.array(self.correlation), self.degrees_of_freedom
        # SciPy's stubs ask for whole degrees of freedom; SciPy does not.
        law = stats.multivariate_t(shape=shape, df=degrees)  # type: ignore[arg-type]
        # The integration draws its points: a fixed stream makes a report the same each time.
        return float(law.cdf(ends, lower_limit=-ends, maxpts=_POINTS, random_state=np.random.default_rng(0)))

    def p_values(self, statistics: Sequence[float] | Floats) -> list[float]:
        """Adjusted two-sided p-value of each t."""
        return [min(1.0, max(0.0, 1 - self.below(abs(float(t))))) for t in statistics]

    def critical_value(self, level: float) -> float:
        """The size that no |t| exceeds with probability `level`."""
        if not self.degrees_of_freedom > 0:
            return math.nan
        arms = len(self.correlation)
        low = float(stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom))
        if arms == 1:
            return low
        high = float(stats.t.ppf(1 - (1 - level) / 2 / arms, self.degrees_of_freedom))  # Bonferroni's is the largest
        return float(optimize.brentq(lambda size: self.below(size) - level, low * 0.99, high * 1.01, xtol=1e-4))
