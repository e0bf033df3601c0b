"""Intervals of single scores: how well a mean over items is known, for one model."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from vocablab.base.proportions import wilson

Interval = tuple[float, float]


def mean_interval(values: Sequence[float], clusters: Sequence[str], level: float = 0.95) -> Interval:
    """Interval of a mean: Wilson's for 0/1 scores, else Student's over clusters.

    Wilson's is taken at the effective number of items, the number of independent ones that would give the clustered
    variance (Korn and Graubard 1998, Survey Methodology 24); where the scores do not vary, at the number of clusters.

    Args:
        values: one per item.
        clusters: items that share one are not independent.
        level: of confidence.
    """
    if not set(values) <= {0.0, 1.0}:
        return ratio_interval(values, [1.0] * len(values), clusters, level)
    count, number = len(values), len(set(clusters))
    share = sum(values) / max(1, count)
    if number < count:
        error = _error(np.asarray(values, dtype=float), np.ones(count), clusters)[1]
        count_now = share * (1 - share) / error**2 if error > 0 else number
        return wilson(share, max(1.0, min(count, count_now)), level)
    return wilson(share, count, level)


def ratio_interval(
    numerators: Sequence[float], denominators: Sequence[float], clusters: Sequence[str], level: float = 0.95
) -> Interval:
    """Interval of a ratio of sums (bits per byte), linearised (Cochran 1977, section 6.4), over clusters of items.

    Args:
        numerators: one per item.
        denominators: one per item, together more than 0.
        clusters: items that share one are not independent.
        level: of confidence.

    Returns:
        Lower and upper end; nan for fewer than two clusters.
    """
    ratio, error = _error(np.asarray(numerators, dtype=float), np.asarray(denominators, dtype=float), clusters)
    count = len(set(clusters))
    if count < 2 or math.isnan(ratio):
        return math.nan, math.nan
    half = float(stats.t.ppf(0.5 + level / 2, count - 1)) * error
    return ratio - half, ratio + half


def _error(above: NDArray[np.float64], below: NDArray[np.float64], clusters: Sequence[str]) -> tuple[float, float]:
    """A ratio of sums and its standard error over clusters; the error is 0 for a single one."""
    names, number = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    tops, sizes = np.bincount(number, weights=above), np.bincount(number, weights=below)
    total = float(sizes.sum())
    if not total > 0:
        return math.nan, math.nan
    ratio = float(tops.sum()) / total
    residuals = tops - ratio * sizes
    count = len(names)
    return ratio, math.sqrt(count / max(1, count - 1) * float((residuals**2).sum())) / total
