"""Intervals of single scores: how well a mean over items is known, for one model."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from vocablab.analysis.statistics import wilson

Interval = tuple[float, float]


def mean_interval(values: Sequence[float], clusters: Sequence[str], level: float = 0.95) -> Interval:
    """Interval of a mean: Wilson's for 0/1 scores of independent items, else Student's over clusters.

    Args:
        values: one per item.
        clusters: items that share one are not independent.
        level: of confidence.
    """
    if set(values) <= {0.0, 1.0} and len(set(clusters)) == len(clusters):
        return wilson(sum(values) / max(1, len(values)), len(values), level)
    return ratio_interval(values, [1.0] * len(values), clusters, level)


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
    names, number = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    above = np.bincount(number, weights=np.asarray(numerators, dtype=float))
    below = np.bincount(number, weights=np.asarray(denominators, dtype=float))
    count, total = len(names), below.sum()
    if count < 2 or not total > 0:
        return math.nan, math.nan
    ratio = above.sum() / total
    residuals = above - ratio * below
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / total
    half = float(stats.t.ppf(0.5 + level / 2, count - 1)) * error
    return float(ratio - half), float(ratio + half)
