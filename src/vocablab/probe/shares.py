"""Shares of facts, and ranks, as measures."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from vocablab.probe.measures import Measure


def share(
    probe: str, place: str, target: str, metric: str, hits: Sequence[bool], control: float | None = None, note: str = ""
) -> Measure:
    """A share with Wilson's 95% interval (1927) in its note; `hits` is not empty."""
    count, number = sum(hits), len(hits)
    low, high = stats.binomtest(count, number).proportion_ci(0.95, method="wilson")
    said = f"{count} of {number}, 95% interval {low:.3f} to {high:.3f} (Wilson)."
    return Measure(probe, place, target, metric, count / number, control, None, number, f"{said} {note}".strip())


def ranks(scores_NC: np.ndarray, right_N: np.ndarray) -> np.ndarray:
    """Rank of the right one of C candidates, from 1, (N,); equal scores share the mean of their ranks."""
    own = np.take_along_axis(scores_NC, right_N[:, None], axis=1)
    above, equal = (scores_NC > own).sum(1), (scores_NC == own).sum(1)
    found: np.ndarray = above + (equal + 1) / 2
    return found


def chance_reciprocal_rank(candidates: int) -> float:
    """Mean reciprocal rank of a random order."""
    return float(np.mean(1 / np.arange(1, candidates + 1)))
