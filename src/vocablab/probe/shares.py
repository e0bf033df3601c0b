"""Shares of facts, their differences, and ranks, as measures."""

from collections.abc import Sequence

import numpy as np

from vocablab.base.proportions import exact_mcnemar, newcombe_paired, wilson
from vocablab.probe.measures import Measure


def share(
    probe: str, place: str, target: str, metric: str, hits: Sequence[bool], control: float, facts: int, note: str
) -> Measure:
    """A share with Wilson's (1927) 95% interval; `hits` is not empty.

    Several texts about one fact are no independent ones, so the interval is that of as many trials as there are facts,
    which is too wide rather than too narrow.
    """
    count, number = sum(hits), len(hits)
    low, high = wilson(count / number, facts)
    said = f"{count} of {number} texts; the interval (Wilson) counts {facts} facts. {note}"
    return Measure(probe, place, target, metric, count / number, control, None, number, said, low, high)


def paired_difference(
    probe: str,
    place: str,
    target: str,
    metric: str,
    first: Sequence[bool],
    second: Sequence[bool],
    facts: Sequence[str],
) -> Measure:
    """Share of `first` minus share of `second`, with an exact McNemar p and Newcombe's 95% interval for pairs.

    Args:
        probe: of the measure, as `place`, `target` and `metric` are.
        place: see `probe`.
        target: says which of the two is subtracted.
        metric: see `probe`.
        first: what was right in one way, (N,), N > 0.
        second: what was right in the other way, of the same questions in the same order, (N,).
        facts: which fact each question is about, (N,).

    Raises:
        ValueError: if two questions are about one fact. Test and interval take pairs as independent, and these would
            not be; `share` can count facts instead, a test of single questions cannot.
    """
    if len(set(facts)) != len(facts):
        raise ValueError("Pairs of answers must be about different facts: else they are not independent.")
    pairs = list(zip(first, second, strict=True))
    both, gained, lost, neither = (pairs.count(p) for p in ((True, True), (True, False), (False, True), (False, False)))
    low, high = newcombe_paired(both, gained, lost, neither)
    note = f"Of {len(pairs)} questions, each about another fact, {gained} are right only in the first way and {lost} "
    note += "only in the second; exact McNemar test, interval for pairs (Newcombe)."
    value, p = (gained - lost) / len(pairs), exact_mcnemar(gained, lost)
    return Measure(probe, place, target, metric, value, None, p, len(pairs), note, low, high)


def ranks(scores_NC: np.ndarray, right_N: np.ndarray) -> np.ndarray:
    """Rank of the right one of C candidates, from 1, (N,); equal scores share the mean of their ranks."""
    own = np.take_along_axis(scores_NC, right_N[:, None], axis=1)
    above, equal = (scores_NC > own).sum(1), (scores_NC == own).sum(1)
    found: np.ndarray = above + (equal + 1) / 2
    return found


def reciprocal_ranks(scores_NC: np.ndarray, right_N: np.ndarray) -> np.ndarray:
    """Reciprocal rank of the right one of C candidates, (N,): its mean over all orders of those with the same score.

    One over the mean rank would be less: ties would look worse than a random order.
    """
    own = np.take_along_axis(scores_NC, right_N[:, None], axis=1)
    above, equal = (scores_NC > own).sum(1), (scores_NC == own).sum(1)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, scores_NC.shape[1] + 1))])
    found: np.ndarray = (harmonic[above + equal] - harmonic[above]) / equal
    return found


def chance_reciprocal_rank(candidates: int) -> float:
    """Mean reciprocal rank of a random order."""
    return float(np.mean(1 / np.arange(1, candidates + 1)))
