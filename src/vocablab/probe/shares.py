"""Shares of facts, and ranks, as measures."""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from vocablab.probe.measures import Measure


def share(
    probe: str, place: str, target: str, metric: str, hits: Sequence[bool], control: float, facts: int, note: str
) -> Measure:
    """A share with Wilson's (1927) 95% interval in its note; `hits` is not empty.

    Several texts about one fact are no independent ones, so the interval is that of as many trials as there are facts,
    which is too wide rather than too narrow.
    """
    count, number = sum(hits), len(hits)
    low, high = wilson(count / number, facts)
    said = f"{count} of {number} texts about {facts} facts, 95% interval {low:.3f} to {high:.3f} (Wilson)."
    return Measure(probe, place, target, metric, count / number, control, None, number, f"{said} {note}")


def wilson(proportion: float, n: int) -> tuple[float, float]:
    """Wilson's 95% score interval of a proportion that was observed in `n` independent trials."""
    z = float(stats.norm.ppf(0.975))
    centre = (proportion + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(proportion * (1 - proportion) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def ranks(scores_NC: np.ndarray, right_N: np.ndarray) -> np.ndarray:
    """Rank of the right one of C candidates, from 1, (N,); equal scores share the mean of their ranks."""
    own = np.take_along_axis(scores_NC, right_N[:, None], axis=1)
    above, equal = (scores_NC > own).sum(1), (scores_NC == own).sum(1)
    found: np.ndarray = above + (equal + 1) / 2
    return found


def chance_reciprocal_rank(candidates: int) -> float:
    """Mean reciprocal rank of a random order."""
    return float(np.mean(1 / np.arange(1, candidates + 1)))
