"""Simulated studies, and how often the statistics of this package are wrong about them.

A statistic that declares 5 % errors is believed here only after it made 5 % errors on studies whose truth is known.
The simulated studies are whole score tables, treatment and control of shape (B, S, N): B studies, S seeds, N items.
They go through `contrasts` and the decision rule of `verdict`, as real scores do.

Sizes are in units of the standard deviation of one item's noise (`Continuous`) or in log odds (`Rare`). Real studies of
this laboratory lie between the small and the large seed effect used here.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import optimize, special, stats

from vocablab.analysis.statistics import Contrasts, Floats, contrasts
from vocablab.analysis.verdict import ALPHA, HARM, IN_DIRECTION, NO_HARM, REFUTED, SUPPORTED, benefit_word, no_harm_word
from vocablab.base.random_streams import numpy_stream

_CELLS_AT_A_TIME = 2_000_000
"""Scores of one arm held at a time: 16 MB, which the caches of a small machine bear."""
_NODES = np.polynomial.hermite_e.hermegauss(80)
"""Points and weights that integrate over a standard normal variable."""


@dataclass(frozen=True)
class Scores:
    """The scores of many simulated studies of one design."""

    treatment: Floats
    """Shape (B, S, N)."""
    control: Floats
    """Shape (B, S, N)."""
    weights: Floats | None = None
    """Denominators of both arms, shape (B, 1, N); None is 1 each."""


class Design(Protocol):
    """A kind of study that can be simulated."""

    @property
    def name(self) -> str: ...
    @property
    def seeds(self) -> int: ...
    @property
    def items(self) -> int: ...
    @property
    def clusters(self) -> list[str] | None: ...
    @property
    def paired(self) -> bool: ...
    @property
    def truth(self) -> float: ...
    def draw(self, stream: np.random.Generator, studies: int) -> Scores: ...


@dataclass(frozen=True)
class Continuous:
    """Scores that are sums of an item, a seed and noise: bits, margins, log probabilities."""

    seeds: int
    """Seeds per arm."""
    items: int
    """Items, each asked every model."""
    seed_sd: float
    """Between seeds, of treatment minus control."""
    item_sd: float = 0.0
    """Of the effect between items (clusters)."""
    effect: float = 0.0
    """Mean effect of the treatment."""
    covered: float = 1.0
    """Share of items that the treatment acts on, each by `effect` / `covered`: a fact token fits few questions."""
    heavy: bool = False
    """Whether seed effects follow Student's t with 3 degrees of freedom instead of a normal: a run may go wrong."""
    cluster_size: int = 1
    """Items of one cluster share their effect and half of the variance of their noise."""
    ratio: bool = False
    """Whether items have sizes (log-normal) and the measure is a ratio of sums, as bits per byte."""
    paired: bool = True
    """Whether the arms share seeds."""

    @property
    def truth(self) -> float:
        """The effect over all seeds and items there could be."""
        return self.effect

    @property
    def clusters(self) -> list[str] | None:
        """Cluster name per item, or None."""
        return None if self.cluster_size == 1 else [str(i // self.cluster_size) for i in range(self.items)]

    @property
    def name(self) -> str:
        """The design in a few words."""
        extra = [
            "unpaired" * (not self.paired),
            "ratio" * self.ratio,
            f"clusters of {self.cluster_size}" * (self.cluster_size > 1),
            f"covered {self.covered:g}" * (self.covered < 1),
        ]
        said = ", ".join(["t3 seeds" if self.heavy else "Gaussian", *(part for part in extra if part)])
        return f"{said}: seed SD {self.seed_sd:g}, item SD {self.item_sd:g}, effect {self.effect:g}"

    def draw(self, stream: np.random.Generator, studies: int) -> Scores:
        """Simulate `studies` studies."""
        groups = self.items // self.cluster_size
        gain = stream.normal(self.effect, self.item_sd, (studies, 1, groups))
        if self.covered < 1:
            gain += self.effect * (stream.random(gain.shape) < self.covered) / self.covered - self.effect
        difficulty = stream.normal(0, 1, (studies, 1, self.items))
        # What both arms of a seed share (the documents' order) cancels where they are paired.
        shared = stream.normal(0, self.seed_sd, (studies, self.seeds, 1)) if self.paired else 0.0
        arms = [self._arm(stream, studies, groups) + difficulty + shared for _ in range(2)]
        arms[0] += np.repeat(gain, self.cluster_size, axis=-1)
        if not self.ratio:
            return Scores(arms[0], arms[1])
        sizes = stream.lognormal(0, 0.7, (studies, 1, self.items))
        return Scores(sizes * (arms[0] + 5), sizes * (arms[1] + 5), np.broadcast_to(sizes, arms[0].shape))

    def _arm(self, stream: np.random.Generator, studies: int, groups: int) -> Floats:
        """One arm's own part: each arm carries half of the variance of the difference."""
        shape = studies, self.seeds, 1
        seed = stream.standard_t(3, shape) / math.sqrt(3) if self.heavy else stream.normal(0, 1, shape)
        noise = stream.standard_normal((studies, self.seeds, self.items))
        if self.cluster_size > 1:
            common = stream.standard_normal((studies, self.seeds, groups))
            noise = (noise + np.repeat(common, self.cluster_size, axis=-1)) * math.sqrt(0.5)
        noise += self.seed_sd * seed
        noise *= math.sqrt(0.5)
        return noise


@dataclass(frozen=True)
class Rare:
    """Right or wrong answers of models that are seldom right: log odds are sums of an item, a seed and the effect."""

    seeds: int
    """Seeds per arm."""
    items: int
    """Items, each asked every model."""
    rate: float
    """Share of right answers of the control."""
    seed_sd: float = 0.0
    """Between seeds of one arm, in log odds."""
    item_sd: float = 0.0
    """Of the effect between items, in log odds."""
    shift: float = 0.0
    """Mean effect of the treatment in log odds."""
    difficulty_sd: float = 1.5
    """Between items, in log odds, the same for both arms."""
    paired: bool = True
    """Whether the arms share seeds."""

    @property
    def clusters(self) -> None:
        """Every item is its own cluster."""

    @property
    def name(self) -> str:
        """The design in a few words."""
        said = f"binary {self.rate:.0%}{', unpaired' * (not self.paired)}"
        return f"{said}: seed SD {self.seed_sd:g}, item SD {self.item_sd:g}, shift {self.shift:g}"

    @cached_property
    def base(self) -> float:
        """Log odds of an ordinary item at which the control's mean is `rate`."""
        spread = math.hypot(self.seed_sd, self.difficulty_sd)
        return float(optimize.brentq(lambda base: _mean_of_odds(base, spread) - self.rate, -20, 20))

    @property
    def truth(self) -> float:
        """The difference of the shares of right answers over all seeds and items there could be."""
        spread = math.hypot(self.seed_sd, self.difficulty_sd, self.item_sd)
        control = math.hypot(self.seed_sd, self.difficulty_sd)
        return _mean_of_odds(self.base + self.shift, spread) - _mean_of_odds(self.base, control)

    def draw(self, stream: np.random.Generator, studies: int) -> Scores:
        """Simulate `studies` studies."""
        item = stream.normal(self.base, self.difficulty_sd, (studies, 1, self.items))
        gain = stream.normal(self.shift, self.item_sd, item.shape) if self.shift or self.item_sd else 0.0
        arms = []
        for added in (gain, 0.0):
            odds = item + added + stream.normal(0, self.seed_sd, (studies, self.seeds, 1))
            arms.append((stream.random(odds.shape) < special.expit(odds)).astype(np.float64))
        return Scores(arms[0], arms[1])


def _mean_of_odds(centre: float, spread: float) -> float:
    """Mean probability where log odds are normal."""
    points, weights = _NODES
    return float(special.expit(centre + spread * points) @ weights / weights.sum())


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
