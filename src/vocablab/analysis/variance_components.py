"""The variance of an effect where seeds and items are both random samples.

A study trains S seeds per arm and asks every model the same items. The score difference of one seed on one
item, ``d[s, k]``, varies because another seed would have trained another model and because another item
could have been asked; an interval that forgets either is too narrow. Items of one cluster (variants of one
question, documents of one source) are summed first, because they are not independent of each other (Miller
2024, "Adding error bars to evals", arXiv:2411.00640, section 2.2). What is called an item below is a cluster.

The estimator. The variance of the grand mean is (MS_seed + MS_item - MS_residual) / (S K) (Searle, Casella and
McCulloch 1992, "Variance Components", chapter 4), with Satterthwaite's (1946, Biometrics Bulletin 2) degrees of
freedom. Only the item component is set to zero where its estimate is negative, never the seed component. What is left
is then MS_seed / (S K) with S - 1 degrees of freedom: exactly Student's test on the means of the seeds. So the
variance is MS_seed + max(0, MS_item - MS_residual). Two other choices were measured and dropped. Clipping both
components (the usual habit) pools a handful of seeds with thousands of cells whenever the seeds happen to agree, and
then still pays Student's price for few seeds: 0.3 % false positives where 5 % are declared. Clipping neither lets a
chance negative item component make the error smaller than that of the seed means: up to 10.7 % with 25 items. One
component is treated differently from the other because few seeds are known badly and many items well: MS_item -
MS_residual is nearly exact, MS_seed is not.

Percentage of false positives of the 95 % interval, from the mean squares of 40,000 Gaussian studies per case
(standard error 0.1; `vocablab calibrate` simulates whole score tables), seed and item
components as multiples of MS_residual / K and / S:

| seeds x items, seed, item        | clip both | clip neither | clip item (used) |
|----------------------------------|-----------|--------------|------------------|
| 5 x 100, 0, 0                    |   0.3     |    7.3       |   4.4            |
| 5 x 100, 0, 5                    |   4.3     |    5.0       |   5.0            |
| 5 x 100, 3, 0                    |   4.0     |    5.5       |   5.0            |
| 5 x 100, 30, 5                   |   5.7     |    5.8       |   5.8            |
| 5 x 500, 30, 5 (the worst)       |   6.0     |    6.0       |   6.0            |
| 5 x 25, 0, 0                     |   0.4     |   10.6       |   3.8            |
| 5 x 100, 30, 0, seeds t with 3 df|   3.7     |    3.8       |   3.7            |
| 8 x 100, 30, 5                   |   5.3     |    5.3       |   5.3            |

The worst case is Welch's (1947) known one: a source of few and one of many degrees of freedom of similar size.

Shapes: S seeds, N items, K clusters (K = N where every item is its own); ``...`` are independent
studies, computed at once.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from vocablab.analysis.arrays import Floats

POWER = 0.8
"""Power at which a minimum detectable effect is stated."""
_MOST_SEEDS = 2000
"""Where a search for the number of seeds needed gives up."""


@dataclass(frozen=True)
class Variance:
    """Components of the two-way layout, in squared units of the metric, for planning another study.

    No component is below 0: a new study must not count on the seeds agreeing better than the residual allows, as they
    may have done by chance. The error of the study itself is `Estimate.standard_error`, which does not clip.
    """

    seed: float
    """Variance between seeds beyond the residual: of paired differences, or the sum over both arms where they are
    unpaired."""
    item: float
    """Variance of the effect between items (clusters) beyond the residual."""
    residual: float
    """Seed-by-item interaction and noise; summed over both arms where they are unpaired."""
    n_seeds: int
    """Seeds per arm; the smaller number where unpaired arms have different ones."""
    n_items: int
    """Items (clusters)."""
    seed_degrees: float | None = None
    """Degrees of freedom of the mean square between seeds; None is n_seeds - 1."""

    def of_mean(self, n_seeds: int | None = None) -> float:
        """Variance of the grand mean of a study with `n_seeds` seeds (default: the same number) and the same items."""
        return float(variance_of_mean(self.seed, self.item, self.residual, n_seeds or self.n_seeds, self.n_items))

    def degrees_of_freedom(self, n_seeds: int | None = None) -> float:
        """Satterthwaite's degrees of freedom of `of_mean`, never below the smaller of S - 1 and K - 1.

        His formula assumes positive weights, where that is its least value; the residual's is negative and could push
        it lower.
        """
        seeds = n_seeds or self.n_seeds
        if seeds == 1 or self.n_items == 1:
            return float(max(seeds, self.n_items) - 1) if self.n_items > 1 else self._seed_degrees(seeds)
        arguments = self.seed, self.item, self.residual, seeds, self.n_items
        return float(satterthwaite(*arguments, self._seed_degrees(seeds)))

    def _seed_degrees(self, seeds: int) -> float:
        if self.seed_degrees is None or self.n_seeds == 1:
            return seeds - 1.0
        return self.seed_degrees * (seeds - 1) / (self.n_seeds - 1)

    def detectable(self, n_seeds: int, alpha: float = 0.05, *, sides: int = 2, floor: float = 0.0) -> float:
        """Minimum detectable effect (see `minimum_detectable`) with `n_seeds` seeds and the same items.

        Args:
            n_seeds: planned seeds per arm.
            alpha: error rate of the test.
            sides: 1 or 2.
            floor: smallest standard error allowed.
        """
        error = max(math.sqrt(self.of_mean(n_seeds)), floor)
        return minimum_detectable(error, self.degrees_of_freedom(n_seeds), alpha, sides)

    def seeds_needed(self, size: float, alpha: float = 0.05, *, sides: int = 2, floor: float = 0.0) -> int | None:
        """Fewest seeds, on the same items, that detect `size` at 80 % power; None if items alone forbid it.

        The arguments are those of `detectable`, which decreases with the seeds: found by halving.
        """

        def enough(seeds: int) -> bool:
            return self.detectable(seeds, alpha, sides=sides, floor=floor) <= size

        if not enough(_MOST_SEEDS):
            return None
        low, high = 1, _MOST_SEEDS  # `low` is too few: one seed says nothing of the variance between seeds
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def t_quantile(probability: float, degrees_of_freedom: float) -> float:
    """Quantile of Student's t."""
    return float(stats.t.ppf(probability, degrees_of_freedom))


def minimum_detectable(error: float, degrees_of_freedom: float, alpha: float, sides: int) -> float:
    """Effect found with 80 % power: (t_{1 - alpha / sides, df} + t_{0.8, df}) x standard error (Bloom 1995,
    "Minimum detectable effects", Evaluation Review 19); NaN without degrees of freedom."""
    if not degrees_of_freedom > 0:
        return math.nan
    return (t_quantile(1 - alpha / sides, degrees_of_freedom) + t_quantile(POWER, degrees_of_freedom)) * error


def variance_of_mean(seed: Any, item: Any, residual: Any, seeds: int, items: int) -> Any:
    """Variance of the grand mean from components that are numbers or arrays."""
    return seed / seeds + residual / (seeds * items) + item / items


def satterthwaite(
    seed: Floats | float, item: Floats | float, residual: Floats | float, seeds: int, items: int, own: Floats | float
) -> Floats:
    """Satterthwaite's degrees of freedom; `own` are those of the mean square between seeds, which is all there is
    where the item component is 0."""
    cell = np.asarray(residual) / (seeds * items)
    of_seeds, beyond = seed / seeds + cell, np.asarray(item) / items
    spread = of_seeds**2 / own + (beyond + cell) ** 2 / (items - 1) + cell**2 / (own * (items - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(beyond > 0, (of_seeds + beyond) ** 2 / spread, own)
    # `spread` is 0 only where nothing varies at all.
    return np.asarray(np.maximum(np.nan_to_num(found), np.where(beyond > 0, np.minimum(own, items - 1), own)))


def _mean_squares(cells: Floats) -> tuple[Floats, Floats]:
    """Mean squares between seeds and of the residual, of `cells` (..., S, K) with S and K above 1."""
    seeds, items = cells.shape[-2:]
    rows, columns = cells.mean(axis=-1, keepdims=True), cells.mean(axis=-2, keepdims=True)
    grand = rows.mean(axis=-2, keepdims=True)
    left = cells - rows
    left -= columns - grand
    residual = np.einsum("...sk,...sk->...", left, left) / ((seeds - 1) * (items - 1))
    return items * np.square(rows - grand).sum(axis=(-2, -1)) / (seeds - 1), residual


def anova_components(arms: list[Floats], columns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Seed, item and residual component, and the degrees of freedom between seeds.

    Args:
        arms: independent samples of seeds, (..., S, K) each: the differences, or unpaired the two arms. Their variances
            add; the degrees of freedom of the sum are Welch's (1947).
        columns: the effect per item, (..., K).
    """
    seeds, items = min(cells.shape[-2] for cells in arms), columns.shape[-1]
    zero = np.zeros(columns.shape[:-1])
    if seeds == 1 or items == 1:
        # All spread goes to the one source that was sampled more than once; nothing is known of the other.
        between = [cells.mean(axis=-1).var(axis=-1, ddof=1) / cells.shape[-2] for cells in arms if seeds > 1]
        if items > 1:
            return zero, columns.var(axis=-1, ddof=1), zero, zero
        unknown = zero + math.nan
        return (sum(between, zero) * seeds if between else unknown), zero, zero, _welch(arms, between, zero)
    squares = [_mean_squares(cells) for cells in arms]
    # In units of the smaller arm's seeds, so that a component over `seeds` is the variance that it adds to the mean.
    shares = [seeds / cells.shape[-2] for cells in arms]
    residual = sum((share * square[1] for share, square in zip(shares, squares, strict=True)), zero)
    between = [share * square[0] for share, square in zip(shares, squares, strict=True)]
    seed = (sum(between, zero) - residual) / items
    item = np.maximum(0.0, columns.var(axis=-1, ddof=1) - residual / seeds)
    return seed, item, residual, _welch(arms, between, zero)


def _welch(arms: list[Floats], between: list[Floats], zero: Floats) -> Floats:
    own = [cells.shape[-2] - 1.0 for cells in arms]
    if len(between) < 2:
        return zero + own[0]
    spread = sum((b**2 / df for b, df in zip(between, own, strict=True)), zero)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(spread > 0, sum(between, zero) ** 2 / spread, sum(own))
    return np.asarray(found)


def two_way_variance(differences: Floats) -> Variance:
    """ANOVA components of `differences` (S, K), rows and columns both random, one value per cell (see the module).

    With one seed (or one item) that source cannot be told from the residual: the variance is then over the other
    source alone.
    """
    seed, item, residual, own = anova_components([differences], differences.mean(axis=-2))
    return variance_to_plan_with(seed, item, residual, own, *differences.shape)


def variance_to_plan_with(
    seed: Floats, item: Floats, residual: Floats, seed_degrees: Floats, n_seeds: int, n_items: int
) -> Variance:
    """The components of one study, each an array of shape (), without a negative one (see `Variance`)."""
    return Variance(max(0.0, float(seed)), float(item), float(residual), n_seeds, n_items, float(seed_degrees))
