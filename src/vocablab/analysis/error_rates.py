"""How often the statistics of this package are wrong about simulated studies.

A statistic that declares 5 % errors is believed here only after it made 5 % errors on studies whose truth is known.
The simulated studies go through `contrasts` and the decision rule of `verdict`, as real scores do. Real studies of this
laboratory lie between the small and the large seed effect that `vocablab.analysis.calibration` uses.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from vocablab.analysis.contrasts import Contrasts, contrasts
from vocablab.analysis.simulation import Design, Scores
from vocablab.analysis.verdict import ALPHA, HARM, IN_DIRECTION, NO_HARM, REFUTED, SUPPORTED, benefit_word, no_harm_word
from vocablab.base.random_streams import numpy_stream

_CELLS_AT_A_TIME = 2_000_000
"""Scores of one arm held at a time: 16 MB, which the caches of a small machine bear."""


@dataclass(frozen=True)
class Rates:
    """How often the statistics were wrong on one design, as shares of its studies."""

    design: str
    """Its name."""
    seeds: int
    items: int
    studies: int
    """Simulated studies; the Monte-Carlo error of a share p is sqrt(p (1 - p) / studies)."""
    truth: float
    """True effect."""
    missed: float
    """95 % intervals that do not hold the truth; under no effect these are the false positives."""
    wrong_supported: float
    """SUPPORTED where delta is a hair above the truth; at a truth of 0 or less also SUPPORTED IN DIRECTION."""
    wrong_refuted: float
    """REFUTED where delta is exactly the truth."""
    wrong_no_harm: float
    """NO HARM where the worsening is exactly the margin (5 % are declared)."""
    wrong_harm: float
    """HARM where the worsening is exactly the margin (5 % are declared)."""
    within_two_errors: float
    """Estimates within two standard errors of the truth."""
    items_only_missed: float
    """As `missed`, by an interval that forgets that seeds vary: the planted fault."""
    mirrored: bool
    """Whether exchanging the arms negated every effect and mirrored every interval, to the last bit."""


@dataclass
class _Tally:
    """Counts over the studies of one design."""

    studies: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    mirrored: bool = True

    def add(self, **hits: Sequence[bool] | np.ndarray) -> None:
        for name, hit in hits.items():
            self.counts[name] = self.counts.get(name, 0) + int(np.sum(hit))


def measure(design: Design, studies: int, seed: int = 0) -> Rates:
    """Simulate `studies` studies of `design` and count errors.

    The same arguments always give the same numbers.
    """
    tally = _Tally()
    for scores in _batches(design, studies, seed):
        found = _contrasts(scores, design)
        _count(tally, found, design.truth)
        tally.add(items_only_missed=_items_only_misses(scores, design))
        # The first batch is proof enough: the arithmetic of all batches is the same.
        if not tally.studies:
            tally.mirrored = _is_mirrored(
                found, _contrasts(Scores(scores.control, scores.treatment, scores.weights), design)
            )
        tally.studies += len(found.effect)
    shares = {name: count / tally.studies for name, count in tally.counts.items()}
    return Rates(
        design.name, design.seeds, design.items, tally.studies, design.truth, mirrored=tally.mirrored, **shares
    )  # fmt: skip


def _batches(design: Design, studies: int, seed: int) -> Iterator[Scores]:
    stream = numpy_stream(seed, "simulation", repr(design))
    size = max(1, _CELLS_AT_A_TIME // (design.seeds * design.items))
    for start in range(0, studies, size):
        yield design.draw(stream, min(size, studies - start))


def _contrasts(scores: Scores, design: Design) -> Contrasts:
    weights = scores.weights, scores.weights
    return contrasts(scores.treatment, scores.control, design.clusters, *weights, paired=design.paired)


def _count(tally: _Tally, found: Contrasts, truth: float) -> None:
    low, high = found.interval(1 - ALPHA)
    least, most = found.interval(1 - 2 * ALPHA)  # their ends are one-sided bounds at 1 - ALPHA
    above, intervals = math.nextafter(max(0.0, truth), math.inf), list(zip(low, high, strict=True))
    wrong = {SUPPORTED, IN_DIRECTION} if truth <= 0 else {SUPPORTED}
    harms = [no_harm_word(-a, -b, -truth) for a, b in zip(least, most, strict=True)]
    tally.add(
        missed=(low > truth) | (high < truth),
        wrong_supported=[benefit_word(a, b, above) in wrong for a, b in intervals],
        wrong_refuted=[benefit_word(a, b, truth) == REFUTED for a, b in intervals],
        wrong_no_harm=[word == NO_HARM for word in harms],
        wrong_harm=[word == HARM for word in harms],
        within_two_errors=np.abs(found.effect - truth) <= 2 * found.standard_error,
    )


def _is_mirrored(one: Contrasts, two: Contrasts) -> bool:
    (low, high), (low_swapped, high_swapped) = one.interval(), two.interval()
    same = (one.standard_error == two.standard_error) & (low == -high_swapped) & (high == -low_swapped)
    return bool(np.all((one.effect == -two.effect) & same))


def _items_only_misses(scores: Scores, design: Design) -> np.ndarray:
    """What a table of "mean plus or minus 1.96 standard errors over items" would miss, all seeds pooled."""
    weights = 1.0 if scores.weights is None else scores.weights
    columns = (scores.treatment - scores.control).mean(axis=1) / np.mean(weights)
    error = columns.std(axis=-1, ddof=1) / math.sqrt(design.items)
    return np.asarray(np.abs(columns.mean(axis=-1) - design.truth) > stats.norm.ppf(0.975) * error)


def family_errors(design: Design, studies: int, seed: int = 0) -> float:
    """Share of studies with at least one wrong word on three independent primary claims, each at its worst truth.

    The claims have their Bonferroni levels: a benefit that is not quite there, a benefit that is just there, a harm
    that is just there. `design` is that of each of them.
    """
    alpha, wrong = ALPHA / 3, np.zeros(studies, dtype=bool)
    for number in range(3):
        parts = [_contrasts(scores, design) for scores in _batches(design, studies, seed + 1 + number)]
        low, high = (np.concatenate(ends) for ends in zip(*(p.interval(1 - alpha) for p in parts), strict=True))
        bound = np.concatenate([part.interval(1 - 2 * alpha)[0] for part in parts])
        wrong |= (low > design.truth, high < design.truth, bound > design.truth)[number]
    return float(wrong.mean())
