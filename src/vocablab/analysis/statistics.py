"""Treatment minus control where seeds and items are both random samples.

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

0/1 scores need one thing more. A larger difference needs more answers that differ, and its error grows with them; so
the interval of a difference that came out small by chance is too short at its far end: 4.0 % of the 95 % intervals
end below the truth where 2.5 % are declared (rare right answers, seeds of very different skill). As in Wilson's
(1927) and Tango's (1998, Statistics in Medicine 17) score intervals the variance at a candidate x further from zero
is therefore V (1 + |x - effect| / q), where q is the observed share of answers that differ; the end is the root of a
quadratic. The end nearer to zero, and so the test of "no effect", stays Student's. It brings the 4.0 % to 2.7 %.

Shapes: S seeds, N items, K clusters (K = N where every item is its own); ``...`` are independent
studies, computed at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
        return float(_of_mean(self.seed, self.item, self.residual, n_seeds or self.n_seeds, self.n_items))

    def degrees_of_freedom(self, n_seeds: int | None = None) -> float:
        """Satterthwaite's degrees of freedom of `of_mean`, never below the smaller of S - 1 and K - 1.

        His formula assumes positive weights, where that is its least value; the residual's is negative and could push
        it lower.
        """
        seeds = n_seeds or self.n_seeds
        if seeds == 1 or self.n_items == 1:
            return float(max(seeds, self.n_items) - 1) if self.n_items > 1 else self._seed_degrees(seeds)
        arguments = self.seed, self.item, self.residual, seeds, self.n_items
        return float(_degrees(*arguments, self._seed_degrees(seeds)))

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


@dataclass(frozen=True)
class Contrasts:
    """Treatment minus control of many studies of one design; arrays of one shape, an entry per study."""

    effect: Floats
    """Treatment minus control: a difference of means, or of ratios of sums."""
    standard_error: Floats
    """NaN where it cannot be had (1 x 1)."""
    degrees_of_freedom: Floats
    treatment_mean: Floats
    control_mean: Floats
    seed: Floats
    """Component between seeds as estimated, also below 0; `Variance` says what the components are."""
    item: Floats
    residual: Floats
    seed_degrees: Floats
    floor: Floats
    """Smallest standard error allowed (see `contrasts`)."""
    n_seeds: int
    """Seeds per arm, the smaller number if they differ."""
    n_clusters: int
    growth: Floats
    """Of 0/1 scores: variance of the mean (before the floor) per share of answers that differ; 0 for others."""

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Two-sided intervals at `level`."""
        t = stats.t.ppf(0.5 + level / 2, self.degrees_of_freedom)
        return _interval(self.effect, self.standard_error, self.growth, t)


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
    """Seeds per arm; the smaller number where unpaired arms have different ones."""
    n_items: int
    n_clusters: int
    per_seed: tuple[float, ...]
    """The same difference within each seed; unpaired: each treatment seed minus the mean of the control's seeds."""
    sign_flip_p: float
    """Exact two-sided p-value over seeds alone: of flipped signs, or of exchanged arms where unpaired. Cannot be below
    2 / 2^S, unpaired 2 / (2S choose S)."""
    variance: Variance
    floor: float
    """Smallest standard error allowed (see `contrasts`)."""
    paired: bool = True
    """Whether seed s of one arm belongs to seed s of the other."""
    growth: float = 0.0
    """See `Contrasts`; it moves the far end of the interval of 0/1 scores."""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval at `level`; each end is a one-sided bound at (1 + level) / 2. Swapping the arms mirrors it
        exactly."""
        if not self.degrees_of_freedom > 0:
            return math.nan, math.nan
        t = _t(0.5 + level / 2, self.degrees_of_freedom)
        low, high = _interval(self.effect, self.standard_error, self.growth, t)
        return float(low), float(high)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of "no effect"; 1 where the effect is exactly 0."""
        if self.effect == 0:
            return 1.0
        if not self.standard_error > 0:
            return math.nan if math.isnan(self.standard_error) else 0.0
        return float(2 * stats.t.sf(abs(self.effect) / self.standard_error, self.degrees_of_freedom))

    def p_beyond(self, distance: float) -> float:
        """One-sided p-value of a null value that lies so far below (or by symmetry above) the effect."""
        if not self.standard_error > 0:
            return math.nan if math.isnan(self.standard_error) else float(distance <= 0)
        return float(stats.t.sf(distance / self.standard_error, self.degrees_of_freedom))

    def mde(self, alpha: float = 0.05, *, sides: int = 2) -> float:
        """Minimum detectable effect at 80 % power of the study as it was done (see `minimum_detectable`)."""
        return minimum_detectable(self.standard_error, self.degrees_of_freedom, alpha, sides)

    def seeds_needed(self, size: float, alpha: float = 0.05, *, sides: int = 2) -> int | None:
        """Fewest seeds, on the same items, whose MDE is at most `size`; None if items alone forbid it."""
        return self.variance.seeds_needed(size, alpha, sides=sides, floor=self.floor)


def _interval(effect: Any, error: Any, growth: Any, t: Any) -> tuple[Any, Any]:
    """Student's interval, its end away from zero moved to where the error has grown as the module says."""
    near, slope = t * error, t * t * growth
    far = (slope + np.sqrt(slope * slope + 4 * near * near)) / 2
    return effect - np.where(effect <= 0, far, near), effect + np.where(effect >= 0, far, near)


def _t(probability: float, degrees_of_freedom: float) -> float:
    return float(stats.t.ppf(probability, degrees_of_freedom))


def minimum_detectable(error: float, degrees_of_freedom: float, alpha: float, sides: int) -> float:
    """Effect found with 80 % power: (t_{1 - alpha / sides, df} + t_{0.8, df}) x standard error (Bloom 1995,
    "Minimum detectable effects", Evaluation Review 19); NaN without degrees of freedom."""
    if not degrees_of_freedom > 0:
        return math.nan
    return (_t(1 - alpha / sides, degrees_of_freedom) + _t(POWER, degrees_of_freedom)) * error


def _of_mean(seed: Any, item: Any, residual: Any, seeds: int, items: int) -> Any:
    """Variance of the grand mean from components that are numbers or arrays."""
    return seed / seeds + residual / (seeds * items) + item / items


def _degrees(
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


def _components(arms: list[Floats], columns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
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
    seed, item, residual, own = _components([differences], differences.mean(axis=-2))
    return _variance(seed, item, residual, own, *differences.shape)


def _variance(seed: Floats, item: Floats, residual: Floats, own: Floats, seeds: int, items: int) -> Variance:
    return Variance(max(0.0, float(seed)), float(item), float(residual), seeds, items, float(own))


def cluster_sums(values: Floats, clusters: Sequence[str]) -> Floats:
    """Sum `values` (..., N) within clusters, giving (..., K) in the order of the clusters' first appearance."""
    index = {name: position for position, name in enumerate(dict.fromkeys(clusters))}
    if len(index) == values.shape[-1]:
        return values
    columns = np.array([index[name] for name in clusters])
    order = np.argsort(columns, kind="stable")
    starts = np.searchsorted(columns[order], np.arange(len(index)))
    return np.asarray(np.add.reduceat(values[..., order], starts, axis=-1), dtype=np.float64)


def _linearised(scores: Floats, weights: Floats | None, clusters: Sequence[str]) -> tuple[Floats, Floats, Floats]:
    """Ratio of sums (...), what each cell adds to it (..., S, K), and the weights per cluster (..., 1 or S, K)."""
    top = cluster_sums(scores, clusters)
    low = cluster_sums(np.ones((1, scores.shape[-1])) if weights is None else weights, clusters)
    mean = low.mean(axis=(-2, -1), keepdims=True)
    ratio = top.mean(axis=(-2, -1), keepdims=True) / mean
    return ratio[..., 0, 0], (top - ratio * low) / mean, low


def contrasts(
    treatment: Floats,
    control: Floats,
    clusters: Sequence[str] | None = None,
    treatment_weights: Floats | None = None,
    control_weights: Floats | None = None,
    *,
    paired: bool = True,
) -> Contrasts:
    """Treatment minus control of many studies at once; the arguments are those of `estimate`, with shapes (..., S, N).

    Every measure is a ratio of sums: accuracy is right answers over answers (weights 1), bits per byte is
    bits over bytes. The ratio is linearised (Cochran 1977, "Sampling Techniques", section 6.3): cluster k
    contributes ``(numerator - ratio x weight) / mean weight``, which for weights of 1 is the score itself.

    0/1 scores have a smallest standard error. Where nothing varies it would be exactly 0 from, say, 20 items; but one
    discordant item, the same for all seeds, is always possible (the "rule of three", Hanley and Lippman-Hand 1983), and
    its share of all items is the error then. Where something varies the floor is that of one discordant item per seed,
    independent of each other: the same share over the square root of the seeds.
    """
    names = clusters if clusters is not None else [str(i) for i in range(treatment.shape[-1])]
    ratio_t, cells_t, low_t = _linearised(treatment, treatment_weights, names)
    ratio_c, cells_c, _ = _linearised(control, control_weights, names)
    effect = ratio_t - ratio_c
    arms = [cells_t - cells_c] if paired else [cells_t, cells_c]
    columns = arms[0].mean(axis=-2) if paired else cells_t.mean(axis=-2) - cells_c.mean(axis=-2)
    seed, item, residual, own = _components(arms, columns)
    seeds, items = min(cells_t.shape[-2], cells_c.shape[-2]), cells_t.shape[-1]
    variance = _of_mean(seed, item, residual, seeds, items)
    if seeds == 1 and items > 1:
        degrees = np.full(effect.shape, items - 1.0)
    else:
        degrees = own if items == 1 else _degrees(seed, item, residual, seeds, items, own)
    floor, growth = np.zeros(effect.shape), np.zeros(effect.shape)
    if treatment_weights is None and control_weights is None and _is_binary(treatment) and _is_binary(control):
        share = float((low_t / low_t.sum()).max())
        floor = np.where(variance > 1e-20, share / math.sqrt(seeds), share)
        differ = _differing(treatment, control, paired)
        growth = np.where(differ > 0, variance / np.where(differ > 0, differ, 1.0), 0.0)
    error = np.maximum(np.sqrt(np.maximum(variance, 0.0)), floor)
    return Contrasts(effect, error, degrees, ratio_t, ratio_c, seed, item, residual, own, floor, seeds, items, growth)


def _differing(treatment: Floats, control: Floats, paired: bool) -> Floats:
    """Share of 0/1 answers (..., S, N) that differ between the arms, of the same seed or of any two seeds."""
    if paired:
        return np.asarray(np.abs(treatment - control).mean(axis=(-2, -1)))
    right_t, right_c = treatment.mean(axis=-2), control.mean(axis=-2)
    return np.asarray((right_t * (1 - right_c) + right_c * (1 - right_t)).mean(axis=-1))


def _is_binary(scores: Floats) -> bool:
    return bool(((scores == 0) | (scores == 1)).all())


def estimate(
    treatment: Floats,
    control: Floats,
    clusters: Sequence[str] | None = None,
    treatment_weights: Floats | None = None,
    control_weights: Floats | None = None,
    *,
    paired: bool = True,
) -> Estimate:
    """Estimate treatment minus control from scores on the same items (see `contrasts`).

    Args:
        treatment: numerators, shape (S, N); row s and column i are the same seed and item in `control`.
        control: the same for the control arm; unpaired it may have another number of rows.
        clusters: cluster name per item, length N; None makes every item its own cluster.
        treatment_weights: denominators (S, N), positive; None is 1 each.
        control_weights: the same for the control arm.
        paired: whether the arms share their seeds. Unpaired the variances between seeds of both arms add; items are
            crossed with both arms all the same.

    Raises:
        RunError: for shapes that do not pair, an empty sample, or a number that is not finite.
    """
    treatment, control = np.asarray(treatment, dtype=np.float64), np.asarray(control, dtype=np.float64)
    same = treatment.shape == control.shape if paired else treatment.shape[-1:] == control.shape[-1:]
    if not same or treatment.ndim != 2 or control.ndim != 2 or 0 in (*treatment.shape, *control.shape):
        raise RunError(f"Scores do not pair: treatment has shape {treatment.shape}, control {control.shape}.")
    weights = [None if w is None else np.asarray(w, dtype=np.float64) for w in (treatment_weights, control_weights)]
    if not all(np.isfinite(x).all() for x in (treatment, control, *weights) if x is not None):
        raise RunError("A score that a claim rests on is not a finite number.")
    found = contrasts(treatment, control, clusters, *weights, paired=paired)
    means_t, means_c = _seed_means(treatment, weights[0]), _seed_means(control, weights[1])
    per_seed = means_t - (means_c if paired else means_c.mean())
    parts = found.seed, found.item, found.residual, found.seed_degrees
    return Estimate(
        effect=float(found.effect),
        standard_error=float(found.standard_error),
        degrees_of_freedom=float(found.degrees_of_freedom),
        treatment_mean=float(found.treatment_mean),
        control_mean=float(found.control_mean),
        n_seeds=found.n_seeds,
        n_items=treatment.shape[1],
        n_clusters=found.n_clusters,
        per_seed=tuple(float(x) for x in per_seed),
        sign_flip_p=sign_flip(per_seed) if paired else exchanged(means_t, means_c),
        variance=_variance(*parts, found.n_seeds, found.n_clusters),
        floor=float(found.floor),
        paired=paired,
        growth=float(found.growth),
    )


def _seed_means(scores: Floats, weights: Floats | None) -> Floats:
    below = scores.shape[1] if weights is None else weights.sum(axis=1)
    return np.asarray(scores.sum(axis=1) / below, dtype=np.float64)


def exchanged(treatment: Sequence[float] | Floats, control: Sequence[float] | Floats) -> float:
    """Two-sided permutation p-value of "the seeds of both arms are exchangeable", for unpaired arms.

    Exact up to 2^16 ways to divide the seeds (nine per arm), else over that many drawn ones; 1 for single seeds.
    """
    if min(len(treatment), len(control)) < 2:
        return 1.0

    def difference(x: Floats, y: Floats, axis: int) -> Floats:
        return np.asarray(np.mean(x, axis=axis) - np.mean(y, axis=axis))

    stream = numpy_stream(0, "exchanged", len(treatment) + len(control))
    found = stats.permutation_test(
        (treatment, control), difference, vectorized=True, n_resamples=2**_EXACT_SEEDS, rng=stream
    )
    return float(found.pvalue)


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
