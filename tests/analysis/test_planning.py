"""What a plan can find, against simulated studies and by hand."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.analysis.contrasts import contrasts
from vocablab.analysis.planning import ASSUMED, assumed, cannot_detect, power
from vocablab.analysis.simulation import Continuous
from vocablab.analysis.variance_components import Variance

CLAIM = Benefit("arithmetic.heldout", "acc", delta=0.1)


def test_the_detectable_effect_by_hand_where_seeds_are_everything() -> None:
    pilot = Variance(0.04, 0.0, 0.0, 5, 100)
    found = power(CLAIM, 8, 400, pilot=pilot)
    assert found.mde == pytest.approx((stats.t.ppf(0.975, 7) + stats.t.ppf(0.8, 7)) * 0.2 / math.sqrt(8))
    assert not found.detectable
    assert f"about {found.seeds_needed} seeds would do" in found.sentence
    enough = power(CLAIM, found.seeds_needed or 0, 400, pilot=pilot)
    assert enough.detectable
    assert not power(CLAIM, enough.seeds - 1, 400, pilot=pilot).detectable
    assert cannot_detect([found, enough]) == [found.sentence]


def test_four_of_five_simulated_studies_find_the_detectable_effect() -> None:
    pilot = Variance(0.09, 0.25, 1.0, 5, 100)
    effect = power(CLAIM, 8, 100, pilot=pilot).mde
    assert effect is not None
    scores = Continuous(8, 100, 0.3, 0.5, effect).draw(np.random.default_rng(0), 3000)
    low, _ = contrasts(scores.treatment, scores.control).interval()
    assert float((low > 0).mean()) == pytest.approx(0.8, abs=0.04)


def test_items_set_a_limit_that_seeds_do_not_move() -> None:
    found = power(CLAIM, 8, 50)
    assert found.seeds_needed is None
    assert "more items are needed" in found.sentence
    assert "assumed SD" in found.basis


def test_more_claims_fewer_seeds_and_unrelated_seeds_find_less() -> None:
    plain = power(CLAIM, 8, 2000).mde
    assert plain is not None
    unpaired = dataclasses.replace(CLAIM, paired=False)
    for worse in (power(CLAIM, 8, 2000, n_claims=3), power(CLAIM, 5, 2000), power(unpaired, 8, 2000)):
        assert worse.mde is not None
        assert worse.mde > plain
    harm = power(NoHarm("a", "acc", margin=0.1), 8, 2000).mde
    assert harm is not None
    assert harm < plain  # one-sided


def test_a_pilot_is_not_a_plan_and_nothing_is_known_of_one_seed() -> None:
    tiny = Variance(1e-8, 0.0, 1e-8, 4, 100)
    assert power(CLAIM, 4, 100, pilot=tiny).mde == pytest.approx(0, abs=1e-3)
    assert not power(CLAIM, 4, 100, pilot=tiny).detectable
    assert power(CLAIM, 5, 100, pilot=tiny).detectable
    assert power(CLAIM, 1, 100).mde is None
    assert not power(Benefit("a", "acc"), 8, 100).detectable


def test_assumptions_are_stated() -> None:
    variance, said = assumed("acc", 100)
    between, within = ASSUMED["acc"]
    assert (variance.seed, variance.item) == (between**2, within**2)
    assert f"{between:g} between seeds" in said
    assert assumed("gold_bits_per_byte", 100)[0].item == pytest.approx(0.04)
