"""One word and one sentence per claim, by rules fixed before the numbers are known.

Several primary claims share the error rate of 5 %. Their intervals, and so their words, have Bonferroni's level
1 - 0.05 / m; their p-values are adjusted by Holm's (1979) step-down. Holm's last steps test at 0.05, but an interval at
that level would not hold its truth together with the others: intervals that go with Holm exist only one-sided, and say
nothing beyond the margin for a claim that is rejected (Strassburger and Bretz 2008, Statistics in Medicine 27). A claim
can be wrong at one end of its interval only, because delta is either reached or not; so the family-wise error of wrong
SUPPORTED and REFUTED is at most 2.5 %, and of NO HARM and HARM, which use one-sided bounds, 5 %.

Baselines that a `Benefit` names must agree. SUPPORTED asks each comparison at the claim's own level: all must succeed,
which needs no correction (Berger 1982, Technometrics 24). REFUTED by a baseline is one of several chances to refute, so
its level is divided by the number of comparisons.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vocablab.analysis.claims import Benefit, Claim, NoHarm
from vocablab.analysis.estimates import Estimate
from vocablab.base.errors import UserError

FEWEST_SEEDS = 5
"""Below this a study is a pilot: the variance between seeds is hardly known at all."""
ALPHA = 0.05
"""Error rate shared by all primary claims of a study."""

INVALID, PILOT, NO_DATA, UNDERPOWERED = "INVALID", "PILOT", "NO DATA", "UNDERPOWERED"
SUPPORTED, IN_DIRECTION, REFUTED = "SUPPORTED", "SUPPORTED IN DIRECTION", "REFUTED"
NO_HARM, HARM = "NO HARM", "HARM"


@dataclass(frozen=True)
class Verdict:
    """What a study says on one claim."""

    word: str
    """One of the words above."""
    sentence: str
    """One plain sentence: what was found, effect, interval, seeds x items."""
    improvement: float | None
    """Treatment minus control, signed so that positive is better; None without data."""
    low: float | None
    """Lower end of the improvement's two-sided interval at `level`."""
    high: float | None
    """Upper end of the same interval."""
    level: float
    """1 - 0.05 / m: Bonferroni over the m primary claims of the study."""
    one_sided: float | None
    """For `NoHarm`: the one-sided upper bound on the worsening at `level`; None otherwise."""
    mde: float | None
    """Smallest true effect that this design would find with 80 % power."""
    seeds_needed: int | None
    """Seeds at which the MDE would reach the claim's delta or margin; None if no number of seeds does."""
    exploratory: str | None
    """Why the claim is not confirmatory, if it is not."""
    p_value: float | None = None
    """Of "no effect", two-sided (`Benefit`), or of "the worsening is the margin", one-sided (`NoHarm`)."""
    adjusted_p: float | None = None
    """`p_value` after Holm over the primary claims; set by `adjusted`."""
    agreeing: tuple[str, ...] = ()
    """Baselines that the treatment beats by delta as well."""
    disagreeing: tuple[str, ...] = ()
    """Baselines of which that is not shown, or which have no scores."""


def decide(
    claim: Claim,
    estimate: Estimate | None,
    n_seeds: int,
    gates_ok: bool,
    exploratory: str | None = None,
    *,
    n_claims: int = 1,
    declared_seeds: int | None = None,
    treatment: str = "the treatment",
    baselines: Mapping[str, Estimate] | None = None,
) -> Verdict:
    """Judge one primary claim.

    Args:
        claim: a `Benefit` or a `NoHarm`.
        estimate: treatment minus control on the claim's measure; None if there are no paired scores.
        n_seeds: seeds with paired scores.
        gates_ok: whether every gate of every run is green.
        exploratory: why the study is not confirmatory (overrides, edits), or None.
        n_claims: how many primary claims share the 5 % error rate (Bonferroni).
        declared_seeds: how many seeds the study declares, so that a look before the end is said to be one.
        treatment: name of the treatment arm, for the sentence.
        baselines: treatment minus each arm of `Benefit.baselines`, by name; one that is missing does not agree.

    Raises:
        UserError: for a claim that is neither kind.
    """
    if not isinstance(claim, Benefit | NoHarm):
        raise UserError(f"A primary claim must be a Benefit or a NoHarm, not a {type(claim).__name__}.")
    alpha = ALPHA / n_claims
    if estimate is None:
        word = NO_DATA if gates_ok else INVALID
        said = "No seed has scores for both arms yet" if gates_ok else "A validity gate is red"
        sentence = f"{said}, so nothing can be said on {describe(claim)}."
        return Verdict(word, sentence, None, None, None, 1 - alpha, None, None, None, exploratory)
    sides = 2 if isinstance(claim, Benefit) else 1
    size = claim.delta if isinstance(claim, Benefit) else claim.margin
    sign = 1.0 if claim.higher_is_better else -1.0
    low, high = _improvement(claim, estimate, alpha)
    gain = sign * estimate.effect
    # One-sided bounds on the worsening (minus the gain), each at 1 - alpha.
    bounds = estimate.interval(1 - 2 * alpha)
    least_worse, worst = (-bounds[1], -bounds[0]) if sign > 0 else bounds
    against: dict[str, str] = {}
    needed = estimate.seeds_needed(size, alpha, sides=sides) if size > 0 else None
    if not gates_ok:
        word = INVALID
    elif n_seeds < FEWEST_SEEDS:
        word = PILOT
    elif isinstance(claim, Benefit):
        against = _against(claim, baselines or {}, alpha)
        word = min([benefit_word(low, high, claim.delta), *against.values()], key=_STRENGTH.index)
    else:
        word = no_harm_word(worst, least_worse, claim.margin)
    numbers = _numbers(claim, estimate, (low, high), 1 - alpha)
    if isinstance(claim, NoHarm):
        numbers += f"; with {100 * (1 - alpha):.4g} % confidence the worsening is at most {_amount(claim, worst)}"
    mde = estimate.mde(alpha, sides=sides)
    sentence = _opening(word, claim, treatment, n_seeds, low) + numbers + _ending(word, claim, mde, needed, n_seeds)
    if declared_seeds is not None and n_seeds < declared_seeds:
        sentence += f" Only {n_seeds} of the {declared_seeds} declared seeds are in."
    sentence += "".join(
        _on_baseline(claim, name, (baselines or {}).get(name), against[name], alpha) for name in against
    )
    p_value = estimate.p_value if isinstance(claim, Benefit) else estimate.p_beyond(gain + claim.margin)
    return Verdict(
        word=word,
        sentence=sentence,
        improvement=gain,
        low=_finite(low),
        high=_finite(high),
        level=1 - alpha,
        one_sided=_finite(worst) if isinstance(claim, NoHarm) else None,
        mde=_finite(mde),
        seeds_needed=needed,
        exploratory=exploratory,
        p_value=_finite(p_value),
        agreeing=tuple(name for name, found in against.items() if found == SUPPORTED),
        disagreeing=tuple(name for name, found in against.items() if found != SUPPORTED),
    )


_STRENGTH = (REFUTED, UNDERPOWERED, IN_DIRECTION, SUPPORTED)
"""A claim is as strong as its weakest comparison."""


def adjusted(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of a study's primary claims, their p-values adjusted by Holm; a claim without one counts as 1."""
    # Imported here: statsmodels takes a second, and a verdict does without.
    from vocablab.analysis.multiplicity import holm

    values = holm([math.nan if verdict.p_value is None else verdict.p_value for verdict in verdicts])
    return [replace(verdict, adjusted_p=_finite(p)) for verdict, p in zip(verdicts, values, strict=True)]


def _against(claim: Benefit, baselines: Mapping[str, Estimate], alpha: float) -> dict[str, str]:
    """The word on each registered baseline."""
    words = {}
    for name in claim.baselines:
        found = baselines.get(name)
        if found is None or found.n_seeds < FEWEST_SEEDS:
            words[name] = UNDERPOWERED
            continue
        words[name] = benefit_word(*_improvement(claim, found, alpha), claim.delta)
        _, high = _improvement(claim, found, alpha / (1 + len(claim.baselines)))
        if words[name] == REFUTED and not high < claim.delta:
            words[name] = UNDERPOWERED
    return words


def _improvement(claim: Claim, estimate: Estimate, alpha: float) -> tuple[float, float]:
    """Interval of the improvement, positive is better."""
    low, high = estimate.interval(1 - alpha)
    return (low, high) if claim.higher_is_better else (-high, -low)


def _on_baseline(claim: Claim, name: str, found: Estimate | None, word: str, alpha: float) -> str:
    if found is None:
        return f" The baseline {name} has no scores."
    said = {SUPPORTED: "agrees", IN_DIRECTION: "agrees in direction only", REFUTED: "disagrees"}.get(word, "is open")
    return f" The baseline {name} {said}: {_numbers(claim, found, _improvement(claim, found, alpha), 1 - alpha)}."


def benefit_word(low: float, high: float, delta: float) -> str:
    """The word on a `Benefit` whose improvement has the interval `low` to `high`."""
    if low >= delta and low > 0:
        return SUPPORTED
    if high < delta:
        return REFUTED
    return IN_DIRECTION if low > 0 else UNDERPOWERED


def no_harm_word(worst: float, least_worse: float, margin: float) -> str:
    """The word on a `NoHarm` whose worsening has the one-sided upper bound `worst` and lower bound `least_worse`."""
    if worst < margin:
        return NO_HARM
    return HARM if least_worse > margin else UNDERPOWERED


def _opening(word: str, claim: Claim, treatment: str, n_seeds: int, low: float) -> str:
    size = _amount(claim, claim.delta if isinstance(claim, Benefit) else getattr(claim, "margin", 0.0))
    what = f"{claim.metric} on {claim.target}"
    return {
        INVALID: f"A validity gate is red, so the numbers for {what} must not be used: ",
        PILOT: f"A pilot with {_seeds(n_seeds)} (a verdict needs {FEWEST_SEEDS}), {what}: ",
        SUPPORTED: f"{treatment} improves {what} by at least {size}: ",
        REFUTED: f"{treatment} does not improve {what} by {size}"
        + (" (the improvement is real but smaller): " if low > 0 else ": "),
        IN_DIRECTION: f"{treatment} improves {what}, but whether by {size} is open: ",
        NO_HARM: f"{treatment} does not worsen {what} by as much as {size}: ",
        HARM: f"{treatment} worsens {what} by more than {size}: ",
        UNDERPOWERED: f"The data do not decide whether {treatment} "
        + (f"improves {what} by {size}: " if isinstance(claim, Benefit) else f"worsens {what} by {size}: "),
    }[word]


def _numbers(claim: Claim, estimate: Estimate, interval: tuple[float, float], level: float) -> str:
    low, high = interval
    gain = estimate.effect if claim.higher_is_better else -estimate.effect
    clusters = f" in {estimate.n_clusters} clusters" if estimate.n_clusters != estimate.n_items else ""
    kind = "an improvement" if gain > 0 else "a worsening" if gain < 0 else "a change"
    # Quoted as a signed improvement, because an interval that spans zero has no single direction.
    quoted = (
        f"{100 * level:.4g} % interval of the improvement {_signed(claim, low)} to {_signed(claim, high)}"
        if math.isfinite(low)
        else "no interval can be had"
    )
    unpaired = "" if estimate.paired else " per arm, unpaired,"
    sample = f"{_seeds(estimate.n_seeds)}{unpaired} x {estimate.n_items} items{clusters}"
    return f"{kind} of {_amount(claim, abs(gain))} ({quoted}; {sample})"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _ending(word: str, claim: Claim, mde: float, needed: int | None, n_seeds: int) -> str:
    if word not in (PILOT, UNDERPOWERED) or not math.isfinite(mde):
        return "."
    text = f"; the smallest effect this design finds with 80 % power is {_amount(claim, mde)}"
    size = claim.delta if isinstance(claim, Benefit) else getattr(claim, "margin", 0.0)
    if size <= 0 or (needed is not None and needed <= n_seeds):
        return text + "."
    if needed is None:
        return text + f", and no number of seeds finds {_amount(claim, size)}: more items are needed."
    # The variance of a pilot is itself a guess, so the number of seeds is one, too.
    return text + f"; about {max(needed, FEWEST_SEEDS)} seeds would find {_amount(claim, size)}."


def _amount(claim: Claim, value: float) -> str:
    """`value` in the metric's units: percentage points for shares, bits per byte for the rest."""
    if not claim.higher_is_better:
        return f"{value:.4f} bits per byte"
    return f"{100 * value:.2f} points"


def _signed(claim: Claim, value: float) -> str:
    return f"{value:+.4f}" if not claim.higher_is_better else f"{100 * value:+.2f}"


def describe(claim: Claim) -> str:
    """The claim in words."""
    if isinstance(claim, Benefit):
        return f"{claim.metric} on {claim.target} improves by at least {_amount(claim, claim.delta)}"
    if isinstance(claim, NoHarm):
        return f"{claim.metric} on {claim.target} worsens by less than {_amount(claim, claim.margin)}"
    return f"{claim.metric} on {claim.target}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
