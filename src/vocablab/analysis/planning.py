"""Can a study find what it claims? Minimum detectable effects and seeds needed, before anything runs.

A claim is tested as the verdict tests it: 5 % shared by the primary claims, a benefit from both sides, a harm from one.
"Detects delta" means that the interval of a true effect of delta lies above zero with 80 % power: SUPPORTED IN
DIRECTION. SUPPORTED itself needs a true effect of delta and the minimum detectable effect together. For a harm it means
that NO HARM is found with 80 % power if there is none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vocablab.analysis.claims import LOWER_IS_BETTER, Benefit, Claim, NoHarm
from vocablab.analysis.variance_components import Variance
from vocablab.analysis.verdict import ALPHA, FEWEST_SEEDS

ASSUMED = {"acc": (0.03, 0.5), "acc_flexible": (0.03, 0.5), "acc_norm": (0.01, 0.4)}
"""Assumed standard deviations, between seeds and between items within a seed, of a paired difference of 0/1 scores;
replaced by a pilot's once there is one. Stated beside every number they lead to."""
ASSUMED_BITS = (0.01, 0.2)
"""The same for bits per byte."""
ASSUMED_SCORE = (0.03, 0.5)
"""The same for any other score."""


@dataclass(frozen=True)
class Power:
    """What a plan can find of one claim."""

    claim: Claim
    """The claim."""
    wanted: float
    """Its delta or margin."""
    seeds: int
    """Planned seeds per arm."""
    items: int
    """Planned items (clusters)."""
    mde: float | None
    """Minimum detectable effect at 80 % power; None for fewer than two seeds or items."""
    seeds_needed: int | None
    """Fewest seeds, at least those of a verdict, that detect `wanted`; None if items alone forbid it."""
    basis: str
    """Where the variances come from."""

    @property
    def detectable(self) -> bool:
        """Whether the plan finds what the claim asks, with enough seeds for a verdict."""
        return self.mde is not None and self.mde <= self.wanted and self.seeds >= FEWEST_SEEDS

    @property
    def sentence(self) -> str:
        """Why the plan does or does not do, and what would."""
        measure = f"{self.claim.metric} on {self.claim.target}"
        reached = "nothing" if self.mde is None else f"{self.mde:.3g} at the least"
        said = f"{self.seeds} seeds x {self.items} items detect {reached} for {measure} (80 % power; {self.basis})"
        if self.detectable:
            return f"{said}, enough for {self.wanted:g}."
        remedy = "more items are needed, whatever the seeds"
        if self.seeds_needed is not None:
            remedy = f"about {self.seeds_needed} seeds would do"
        return f"{said}, and the claim asks for {self.wanted:g}: {remedy}."


def assumed(metric: str, items: int, *, paired: bool = True) -> tuple[Variance, str]:
    """Variances assumed for want of a pilot, and a phrase that says so.

    The items' standard deviation is taken to be that of the effect itself, which no number of seeds averages out: the
    careful assumption. Unpaired arms each bring their own seeds; a paired difference is assumed to vary as much as one
    of them, so the variance between seeds doubles.
    """
    between, within = ASSUMED_BITS if metric in LOWER_IS_BETTER else ASSUMED.get(metric, ASSUMED_SCORE)
    degrees = 1.0 if paired else 2.0
    variance = Variance(between**2 * (1 if paired else 2), within**2, 0.0, 2, items, degrees)
    return variance, f"assumed SD {between:g} between seeds and {within:g} between items"


def of_pilot(pilot: Variance, items: int) -> tuple[Variance, str]:
    """A pilot's variances for `items` items (clusters) of the same kind, and a phrase that says so."""
    said = f"variance of a pilot with {pilot.n_seeds} seeds x {pilot.n_items} items"
    return replace(pilot, n_items=items), said


def power(
    claim: Claim, seeds: int, items: int, *, n_claims: int = 1, pilot: Variance | None = None, floor: float = 0.0
) -> Power:
    """What `seeds` seeds and `items` items can find of `claim`.

    Args:
        claim: a `Benefit` or a `NoHarm`; for another claim `wanted` is 0.
        seeds: planned seeds per arm.
        items: planned items, or clusters where items have them.
        n_claims: primary claims that share the error rate.
        pilot: variance components of a pilot on the same measure; None takes the assumed ones.
        floor: smallest standard error allowed (`Estimate.floor` of the pilot).
    """
    wanted = claim.delta if isinstance(claim, Benefit) else claim.margin if isinstance(claim, NoHarm) else 0.0
    alpha, sides = ALPHA / n_claims, 2 if isinstance(claim, Benefit) else 1
    variance, basis = assumed(claim.metric, items, paired=claim.paired) if pilot is None else of_pilot(pilot, items)
    mde = needed = None
    if seeds > 1 and items > 1:
        mde = variance.detectable(seeds, alpha, sides=sides, floor=floor)
        mde = mde if math.isfinite(mde) else None
        needed = variance.seeds_needed(wanted, alpha, sides=sides, floor=floor) if wanted > 0 else None
    needed = None if needed is None else max(needed, FEWEST_SEEDS)
    return Power(claim, wanted, seeds, items, mde, needed, basis)


def cannot_detect(powers: Sequence[Power]) -> list[str]:
    """One sentence per claim that its plan cannot find; a confirmatory study with any must not start."""
    return [found.sentence for found in powers if not found.detectable]
