"""Treatment minus control where seeds and items are both random samples.

A study trains S seeds per arm and asks every model the same items. The score difference of one seed on one
item, ``d[s, k]``, varies because another seed would have trained another model and because another item
could have been asked; an interval that forgets either is too narrow. Items of one cluster (variants of one
question, documents of one source) are summed first, because they are not independent of each other (Miller
2024, "Adding error bars to evals", arXiv:2411.00640, section 2.2). What is called an item below is a cluster.

Shapes: S seeds, N items, K clusters (K = N where every item is its own).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vocablab.base.errors import RunError
from vocablab.base.random_streams import numpy_stream

Floats = NDArray[np.float64]

POWER = 0.8
"""Power at which a minimum detectable effect is stated."""
_EXACT_SEEDS = 16
"""Up to this many seeds all 2^S sign patterns are enumerated."""
_MOST_SEEDS = 2000
"""Where a search for the number of seeds needed gives up."""


@dataclass(frozen=True)
class Variance:
    """Mean squares of the two-way layout and the components they imply, in squared units of the metric."""

    seed: float
    """Variance between seeds beyond the residual, at least 0."""
    item: float
    """Variance between items (clusters) beyond the residual, at least 0."""
    residual: float
    """Seed-by-item interaction and noise."""
    n_seeds: int
    n_items: int

    def of_mean(self, n_seeds: int | None = None) -> float:
        """Variance of the grand mean with `n_seeds` seeds (default: as observed) and the same items."""
        seeds = n_seeds or self.n_seeds
        return self.seed / seeds + self.item / self.n_items + self.residual / (seeds * self.n_items)

    def degrees_of_freedom(self, n_seeds: int | None = None) -> float:
        """Satterthwaite's (1946) degrees of freedom of `of_mean`, from the expected mean squares.

        Never below the smaller of S - 1 and K - 1: Satterthwaite's formula assumes positive weights, where
        that is its least value; the residual's weight here is negative and could push it lower.
        """
        seeds, items = n_seeds or self.n_seeds, self.n_items
        if seeds == 1 or items == 1:
            return float(max(seeds, items) - 1)
        ms_seed, ms_item = self.residual + items * self.seed, self.residual + seeds * self.item
        total = ms_seed + ms_item - self.residual
        spread = ms_seed**2 / (seeds - 1) + ms_item**2 / (items - 1) + self.residual**2 / ((seeds - 1) * (items - 1))
        least = float(min(seeds, items) - 1)
        return max(total**2 / spread, least) if spread > 0 else least


@dataclass(frozen=True)
class Estimate:
    """Treatment minus control on one measure, in the metric's own units."""

    effect: float
    """Treatment minus control: a difference of means, or of ratios of sums."""
    standard_error: float
    """Standard error of `effect` over new seeds and new items; NaN where it cannot be had (1 x 1)."""
    degrees_of_freedom: float
    treatment_mean: float
    control_mean: float
    n_seeds: int
    n_items: int
    n_clusters: int
    per_seed: tuple[float, ...]
    """The same difference within each seed."""
    sign_flip_p: float
    """Exact two-sided p-value over seeds alone; cannot be below 2 / 2^S."""
    variance: Variance
    floor: float
    """Smallest standard error allowed (see `estimate`)."""

    def reach(self, probability: float) -> float:
        """The `probability` quantile of t at these degrees of freedom, times the standard error."""
        if not self.degrees_of_freedom > 0:
            return math.nan
        return _t(probability, self.degrees_of_freedom) * self.standard_error

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval at `level`; symmetric, so that swapping the arms mirrors it exactly."""
        half = self.reach(0.5 + level / 2)
        return self.effect - half, self.effect + half

    @property
    def p_value(self) -> float:
        """Two-sided p-value of "no effect"; 1 where the effect is exactly 0."""
        if self.effect == 0:
            return 1.0
        if not self.standard_error > 0:
            return math.nan if math.isnan(self.standard_error) else 0.0
        return float(2 * stats.t.sf(abs(self.effect) / self.standard_error, self.degrees_of_freedom))

    def mde(self, alpha: float = 0.05, *, sides: int = 2) -> float:
        """Minimum detectable effect at 80 % power: (t_{1-alpha/sides, df} + t_{0.8, df}) x SE."""
        return _mde(self.standard_error, self.degrees_of_freedom, alpha, sides)

    def seeds_needed(self, size: float, alpha: float = 0.05, *, sides: int = 2) -> int | None:
        """Fewest seeds, on the same items, whose MDE is at most `size`; None if items alone forbid it."""
        for seeds in range(2, _MOST_SEEDS + 1):
            error = max(math.sqrt(self.variance.of_mean(seeds)), self.floor)
            if _mde(error, self.variance.degrees_of_freedom(seeds), alpha, sides) <= size:
                return seeds
        return None


def _t(probability: float, degrees_of_freedom: float) -> float:
    return float(stats.t.ppf(probability, degrees_of_freedom))


def _mde(error: float, degrees_of_freedom: float, alpha: float, sides: int) -> float:
    if not degrees_of_freedom > 0:
        return math.nan
    return (_t(1 - alpha / sides, degrees_of_freedom) + _t(POWER, degrees_of_freedom)) * error


def two_way_variance(differences: Floats) -> Variance:
    """ANOVA components of `differences` (S, K), rows and columns both random, one value per cell.

    The variance of the grand mean is (MS_seed + MS_item - MS_residual) / (S K) (Searle, Casella and
    McCulloch 1992, "Variance Components", chapter 4). A component estimated below zero is set to zero: no
    variance is negative, and letting it cancel another source would make intervals too narrow; so the
    variance of the mean is never below MS_residual / (S K). With one seed (or one item) that source
    cannot be told from the residual: the variance is then over the other source alone.
    """
    seeds, items = differences.shape
    grand = differences.mean()
    if seeds == 1 or items == 1:
        # All spread goes to the one source that was sampled more than once; nothing is known of the other.
        spread = float(differences.var(ddof=1)) if seeds * items > 1 else math.nan
        return Variance(spread if items == 1 else 0.0, spread if seeds == 1 else 0.0, 0.0, seeds, items)
    rows, columns = differences.mean(axis=1) - grand, differences.mean(axis=0) - grand
    left = differences - grand - rows[:, None] - columns[None, :]
    residual = float((left**2).sum() / ((seeds - 1) * (items - 1)))
    ms_seed, ms_item = (
        items * float((rows**2).sum()) / (seeds - 1),
        seeds * float((columns**2).sum()) / (items - 1),
    )
    return Variance(
        max(0.0, (ms_seed - residual) / items), max(0.0, (ms_item - residual) / seeds), residual, seeds, items
    )


def cluster_sums(values: Floats, clusters: Sequence[str]) -> Floats:
    """Sum `values` (S, N) within clusters, giving (S, K) in the order of the clusters' first appearance."""
    index = {name: position for position, name in enumerate(dict.fromkeys(clusters))}
    columns = np.array([index[name] for name in clusters])
    sums = np.zeros((values.shape[0], len(index)))
    np.add.at(sums.T, columns, values.T)
    return sums


def estimate(
    treatment: Floats,
    control: Floats,
    clusters: Sequence[str] | None = None,
    treatment_weights: Floats | None = None,
    control_weights: Floats | None = None,
) -> Estimate:
    """Estimate treatment minus control from paired scores.

    Every measure is a ratio of sums: accuracy is right answers over answers (weights 1), bits per byte is
    bits over bytes. The ratio is linearised (Cochran 1977, "Sampling Techniques", section 6.3): cluster k
    contributes ``(numerator - ratio x weight) / mean weight``, which for weights of 1 is the score itself.

    Args:
        treatment: numerators, shape (S, N); row s and column i are the same seed and item in `control`.
        control: the same for the control arm.
        clusters: cluster name per item, length N; None makes every item its own cluster.
        treatment_weights: denominators (S, N), positive; None is 1 each.
        control_weights: the same for the control arm.

    Raises:
        RunError: for shapes that do not pair, an empty sample, or a number that is not finite.
    """
    treatment, control = np.asarray(treatment, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if treatment.shape != control.shape or treatment.ndim != 2 or 0 in treatment.shape:
        raise RunError(f"Scores do not pair: treatment has shape {treatment.shape}, control {control.shape}.")
    weights_t = np.ones_like(treatment) if treatment_weights is None else np.asarray(treatment_weights, float)
    weights_c = np.ones_like(control) if control_weights is None else np.asarray(control_weights, float)
    if not all(np.isfinite(x).all() for x in (treatment, control, weights_t, weights_c)):
        raise RunError("A score that a claim rests on is not a finite number.")
    names = clusters if clusters is not None else [str(i) for i in range(treatment.shape[1])]
    top_t, top_c = cluster_sums(treatment, names), cluster_sums(control, names)
    low_t, low_c = cluster_sums(weights_t, names), cluster_sums(weights_c, names)
    ratio_t, ratio_c = float(top_t.sum() / low_t.sum()), float(top_c.sum() / low_c.sum())
    effect = ratio_t - ratio_c
    differences = effect + ((top_t - ratio_t * low_t) / low_t.mean() - (top_c - ratio_c * low_c) / low_c.mean())
    variance = two_way_variance(differences)
    # 0/1 scores that never differ would give an error of exactly 0 from, say, 20 items. One discordant
    # item out of n is always possible (the "rule of three"), so the error is never below that of one.
    binary = treatment_weights is None and bool(np.isin(treatment, (0, 1)).all() and np.isin(control, (0, 1)).all())
    floor = float((low_t.mean(axis=0) / low_t.mean(axis=0).sum()).max()) if binary else 0.0
    per_seed = top_t.sum(axis=1) / low_t.sum(axis=1) - top_c.sum(axis=1) / low_c.sum(axis=1)
    return Estimate(
        effect=effect,
        standard_error=max(math.sqrt(variance.of_mean()), floor),
        degrees_of_freedom=variance.degrees_of_freedom(),
        treatment_mean=ratio_t,
        control_mean=ratio_c,
        n_seeds=treatment.shape[0],
        n_items=treatment.shape[1],
        n_clusters=top_t.shape[1],
        per_seed=tuple(float(x) for x in per_seed),
        sign_flip_p=sign_flip(per_seed),
        variance=variance,
        floor=floor,
    )


def sign_flip(per_seed: Sequence[float] | Floats) -> float:
    """Two-sided randomisation p-value of "the sign of each seed's difference is a coin toss" (Fisher 1935).

    Exact up to 16 seeds; above that over 2^16 patterns drawn from a named stream, the observed one included.
    """
    values = np.asarray(per_seed, dtype=np.float64)
    count = len(values)
    if count <= _EXACT_SEEDS:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)[None, :]) & 1
    else:
        bits = numpy_stream(0, "sign_flip", count).integers(0, 2, size=(2**_EXACT_SEEDS, count))
        bits[0] = 0
    sums = np.abs((1 - 2 * bits) @ values)
    # Sums of the same numbers in another order differ in the last bits; a tie must count as a tie.
    return float(np.mean(sums >= abs(values.sum()) - 1e-12 * np.abs(values).sum()))


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of two 0/1 scores on the same items (McNemar 1947)."""

    gained: int
    """Items right with the treatment and wrong without."""
    lost: int
    """Items wrong with the treatment and right without."""
    p_value: float
    """Two-sided exact binomial p-value of gained against lost; 1 where nothing differs."""


def mcnemar(treatment: Floats, control: Floats) -> McNemar:
    """Compare two 0/1 vectors of shape (N,) item by item, within one seed; items are taken as independent."""
    gained = int(((treatment > 0.5) & (control <= 0.5)).sum())
    lost = int(((treatment <= 0.5) & (control > 0.5)).sum())
    if gained + lost == 0:
        return McNemar(0, 0, 1.0)
    return McNemar(gained, lost, float(stats.binomtest(gained, gained + lost, 0.5).pvalue))


def wilson(proportion: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) score interval of a proportion observed on `n` independent items."""
    if not n > 0:
        return math.nan, math.nan
    z = float(stats.norm.ppf(0.5 + level / 2))
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
