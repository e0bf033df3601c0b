"""Shares of right answers: intervals, and the test of two shares of the same items."""

import math

from scipy import stats


def wilson(proportion: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) score interval of a proportion observed in `n` independent trials; nan without any."""
    if not n > 0:
        return math.nan, math.nan
    z = float(stats.norm.ppf(0.5 + level / 2))
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    # Rounding must not put a share of 0 or 1 outside.
    return max(0.0, min(proportion, centre - half)), min(1.0, max(proportion, centre + half))


def exact_mcnemar(gained: int, lost: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947, Psychometrika 12:153-157), given the discordant pairs.

    If neither way is better, a discordant pair falls on either side with probability a half: a binomial test. 1 where
    no pair is discordant.
    """
    return float(stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def newcombe_paired(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """95% interval of a difference of proportions from paired data, ``(first - second) / n``.

    Method 10 of Newcombe 1998 (Statistics in Medicine 17:2635-2650): Wilson's intervals of the two proportions, joined
    as the sides of a triangle whose angle is given by their correlation phi. A positive phi is corrected for
    continuity, so that the interval is never too narrow by a correlation that is chance.

    Args:
        both: pairs with both right.
        first: pairs with only the first right.
        second: pairs with only the second right.
        neither: pairs with both wrong.
    """
    n = both + first + second + neither
    p1, p2 = (both + first) / n, (both + second) / n
    (low1, high1), (low2, high2) = wilson(p1, n), wilson(p2, n)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    covariance: float = both * neither - first * second
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    phi = covariance / math.sqrt(margins) if margins else 0.0

    def joined(one: float, other: float) -> float:
        return math.sqrt(one**2 - 2 * phi * one * other + other**2)

    below, above = joined(p1 - low1, high2 - p2), joined(high1 - p1, p2 - low2)
    return max(-1.0, p1 - p2 - below), min(1.0, p1 - p2 + above)
