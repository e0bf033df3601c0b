"""Treatment minus control of many studies of one design at once, in arrays.

The error is that of `vocablab.analysis.variance_components`.

0/1 scores need one thing more. A larger difference needs more answers that differ, and its error grows with them; so
the interval of a difference that came out small by chance is too short at its far end: 4.0 % of the 95 % intervals
end below the truth where 2.5 % are declared (rare right answers, seeds of very different skill). As in Wilson's
(1927) and Tango's (1998, Statistics in Medicine 17) score intervals the variance at a candidate x further from zero
is therefore V (1 + |x - effect| / q), where q is the observed share of answers that differ; the end is the root of a
quadratic. The end nearer to zero, and so the test of "no effect", stays Student's. It brings the 4.0 % to 2.7 %.

Shapes: S seeds, N items, K clusters (K = N where every item is its own); ``...`` are independent
studies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from vocablab.analysis.arrays import Floats
from vocablab.analysis.variance_components import anova_components, satterthwaite, variance_of_mean


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
        return student_interval(self.effect, self.standard_error, self.growth, t)


def student_interval(effect: Any, error: Any, growth: Any, t: Any) -> tuple[Any, Any]:
    """Student's interval, its end away from zero moved to where the error has grown as the module says."""
    near, slope = t * error, t * t * growth
    far = (slope + np.sqrt(slope * slope + 4 * near * near)) / 2
    return effect - np.where(effect <= 0, far, near), effect + np.where(effect >= 0, far, near)


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
    seed, item, residual, own = anova_components(arms, columns)
    seeds, items = min(cells_t.shape[-2], cells_c.shape[-2]), cells_t.shape[-1]
    variance = variance_of_mean(seed, item, residual, seeds, items)
    if seeds == 1 and items > 1:
        degrees = np.full(effect.shape, items - 1.0)
    else:
        degrees = own if items == 1 else satterthwaite(seed, item, residual, seeds, items, own)
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
