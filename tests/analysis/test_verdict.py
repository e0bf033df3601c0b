"""The table of verdicts, claim by claim."""

import dataclasses

import pytest
from scipy import stats

from vocablab.analysis.claims import Benefit, Claim, NoHarm
from vocablab.analysis.estimates import Estimate
from vocablab.analysis.variance_components import Variance
from vocablab.analysis.verdict import Verdict, adjusted, decide
from vocablab.base.config import from_json, to_json
from vocablab.base.errors import UserError


def _estimate(effect: float, error: float, seeds: int = 6) -> Estimate:
    variance = Variance(error**2 * seeds, 0.0, 0.0, seeds, 100)
    return Estimate(effect, error, 200.0, 0.5 + effect, 0.5, seeds, 100, 100, (effect,) * seeds, 0.03, variance, 0.0)


BENEFIT, HARMLESS = Benefit("a.b", "acc", delta=0.02), NoHarm("h", "acc_norm", margin=0.01)


@pytest.mark.parametrize(
    ("claim", "effect", "error", "word"),
    [
        (BENEFIT, 0.10, 0.01, "SUPPORTED"),
        (BENEFIT, 0.03, 0.01, "SUPPORTED IN DIRECTION"),
        (BENEFIT, 0.01, 0.02, "UNDERPOWERED"),
        (BENEFIT, 0.00, 0.005, "REFUTED"),
        (BENEFIT, 0.01, 0.002, "REFUTED"),
        (BENEFIT, -0.10, 0.01, "REFUTED"),
        (HARMLESS, 0.00, 0.002, "NO HARM"),
        (HARMLESS, 0.05, 0.02, "NO HARM"),
        (HARMLESS, -0.05, 0.01, "HARM"),
        (HARMLESS, 0.00, 0.02, "UNDERPOWERED"),
        (Benefit("t", "gold_bits_per_byte", delta=0.02), -0.10, 0.01, "SUPPORTED"),
        (Benefit("t", "gold_bits_per_byte", delta=0.02), 0.10, 0.01, "REFUTED"),
        (NoHarm("t", "bits_per_byte", margin=0.01), 0.05, 0.01, "HARM"),
        (NoHarm("t", "bits_per_byte", margin=0.01), -0.05, 0.01, "NO HARM"),
    ],
)
def test_the_word_follows_the_interval(claim: Claim, effect: float, error: float, word: str) -> None:
    verdict = decide(claim, _estimate(effect, error), 6, True)
    assert verdict.word == word
    assert "6 seeds x 100 items" in verdict.sentence
    assert decide(claim, _estimate(effect, error), 6, False).word == "INVALID"
    pilot = decide(claim, _estimate(effect, error, seeds=4), 4, True)
    assert pilot.word == "PILOT"
    assert None not in (pilot.low, pilot.high, pilot.mde)


def test_a_refuted_claim_says_when_the_effect_is_real_but_smaller() -> None:
    assert "real but smaller" in decide(BENEFIT, _estimate(0.01, 0.002), 6, True).sentence
    assert "real but smaller" not in decide(BENEFIT, _estimate(0.0, 0.002), 6, True).sentence


def test_underpowered_says_how_many_seeds_would_do() -> None:
    verdict = decide(BENEFIT, _estimate(0.01, 0.02), 6, True)
    assert verdict.seeds_needed is not None
    assert verdict.seeds_needed > 6
    assert f"about {verdict.seeds_needed} seeds" in verdict.sentence


def test_more_primary_claims_widen_the_interval() -> None:
    one, three = (decide(BENEFIT, _estimate(0.1, 0.01), 6, True, n_claims=m) for m in (1, 3))
    assert one.level == 0.95
    assert three.level == pytest.approx(1 - 0.05 / 3)
    assert one.low is not None
    assert three.low is not None
    assert three.low < one.low


def test_no_scores_say_nothing_and_a_red_gate_still_wins() -> None:
    assert decide(BENEFIT, None, 0, True).word == "NO DATA"
    assert decide(BENEFIT, None, 0, False).word == "INVALID"


def test_an_early_look_and_an_exploratory_study_are_said_to_be_one() -> None:
    verdict = decide(BENEFIT, _estimate(0.1, 0.01), 6, True, "steps were overridden", declared_seeds=8)
    assert "Only 6 of the 8 declared seeds" in verdict.sentence
    assert verdict.exploratory == "steps were overridden"


def test_a_claim_of_no_kind_is_refused() -> None:
    with pytest.raises(UserError, match="Benefit or a NoHarm"):
        decide(Claim("t", "acc"), _estimate(0, 1), 6, True)


def test_a_gain_of_zero_width_at_delta_zero_is_not_a_benefit() -> None:
    still = dataclasses.replace(_estimate(0.0, 0.0), floor=0.0)
    assert decide(Benefit("t", "bits_per_byte", delta=0.0), still, 6, True).word == "UNDERPOWERED"


STRICT = dataclasses.replace(BENEFIT, baselines=("equal_bytes", "equal_flops"))


def _with_baselines(bytes_effect: float, flops_effect: float | None) -> Verdict:
    found = {"equal_bytes": _estimate(bytes_effect, 0.01)}
    if flops_effect is not None:
        found["equal_flops"] = _estimate(flops_effect, 0.01)
    return decide(STRICT, _estimate(0.10, 0.01), 6, True, baselines=found)


@pytest.mark.parametrize(
    ("others", "word", "agreeing"),
    [
        ((0.10, 0.09), "SUPPORTED", ("equal_bytes", "equal_flops")),
        ((0.10, 0.03), "SUPPORTED IN DIRECTION", ("equal_bytes",)),
        ((0.10, 0.01), "UNDERPOWERED", ("equal_bytes",)),
        ((0.10, -0.05), "REFUTED", ("equal_bytes",)),
        ((0.10, None), "UNDERPOWERED", ("equal_bytes",)),
        ((-0.001, 0.10), "UNDERPOWERED", ("equal_flops",)),  # refuted at the plain level, not at that of three chances
    ],
)
def test_a_claim_is_as_strong_as_its_weakest_baseline(
    others: tuple[float, float | None], word: str, agreeing: tuple[str, ...]
) -> None:
    verdict = _with_baselines(*others)
    assert (verdict.word, verdict.agreeing) == (word, agreeing)
    assert set(verdict.agreeing) | set(verdict.disagreeing) == set(STRICT.baselines)
    assert "The baseline equal_bytes" in verdict.sentence
    assert "The baseline equal_flops" in verdict.sentence


def test_p_values_are_those_of_the_claims_own_question_and_holm_adjusts_them() -> None:
    benefit = decide(BENEFIT, _estimate(0.03, 0.01), 6, True, n_claims=2)
    assert benefit.p_value == pytest.approx(2 * stats.t.sf(3, 200))
    harmless = decide(HARMLESS, _estimate(0.0, 0.005), 6, True, n_claims=2)
    assert harmless.p_value == pytest.approx(stats.t.sf(2, 200))
    worse_bits = decide(NoHarm("t", "bits_per_byte", margin=0.01), _estimate(0.0, 0.005), 6, True)
    assert worse_bits.p_value == harmless.p_value
    first, second = adjusted([benefit, harmless])
    assert first.adjusted_p == pytest.approx(2 * (benefit.p_value or 0))
    assert second.adjusted_p == pytest.approx(harmless.p_value)
    assert adjusted([decide(BENEFIT, None, 0, True)])[0].adjusted_p is None


def test_unrelated_seeds_are_said_to_be() -> None:
    found = dataclasses.replace(_estimate(0.1, 0.01), paired=False)
    assert "6 seeds per arm, unpaired, x 100 items" in decide(BENEFIT, found, 6, True).sentence


def test_a_claim_written_before_the_new_fields_reads_the_same() -> None:
    old = {"type": "Benefit", "target": "a.b", "metric": "acc", "delta": 0.02}
    assert from_json(Claim, old, "claim") == BENEFIT
    assert from_json(Claim, to_json(STRICT), "claim") == STRICT
