"""Corrections for many questions against statsmodels, SciPy and hand-made cases."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from vocablab.analysis.estimates import Estimate, estimate
from vocablab.analysis.multiplicity import SharedControl, benjamini_hochberg, dunnett, holm
from vocablab.analysis.variance_components import Variance

P = [0.01, 0.04, 0.03, 0.005, 0.2]


def test_holm_by_hand_and_by_statsmodels() -> None:
    assert holm(P) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.2])
    assert holm(P) == pytest.approx(multipletests(P, method="holm")[1])


def test_benjamini_hochberg_agrees_with_scipy_and_statsmodels() -> None:
    assert benjamini_hochberg(P) == pytest.approx(stats.false_discovery_control(P))
    assert benjamini_hochberg(P) == pytest.approx(multipletests(P, method="fdr_bh")[1])


def test_a_question_without_an_answer_was_asked_all_the_same() -> None:
    found = holm([0.02, math.nan])
    assert found[0] == pytest.approx(0.04)
    assert math.isnan(found[1])
    assert holm([]) == benjamini_hochberg([]) == []


def test_dunnett_is_scipys_for_independent_arms_of_one_variance() -> None:
    rng = np.random.default_rng(0)
    arms, control = [rng.normal(0.4 * i, 1, 9) for i in range(3)], rng.normal(0, 1, 7)
    expected = stats.dunnett(*arms, control=control, rng=np.random.default_rng(1))
    law = SharedControl.of_sizes([9, 9, 9], 7, 9 * 3 + 7 - 4)
    assert law.p_values(expected.statistic) == pytest.approx(expected.pvalue, abs=5e-4)
    interval = expected.confidence_interval(0.95)
    pooled = sum(((x - x.mean()) ** 2).sum() for x in (*arms, control)) / 30
    half = (interval.high - interval.low) / 2 / math.sqrt(pooled * (1 / 9 + 1 / 7))
    assert law.critical_value(0.95) == pytest.approx(half[0], abs=0.01)


def test_dunnetts_published_critical_value() -> None:
    # Dunnett (1964), table of two-sided values: 3 arms, 20 degrees of freedom, 5 %.
    assert SharedControl.of_equal_arms(3, 20).critical_value(0.95) == pytest.approx(2.54, abs=0.006)


def _estimate(effect: float, degrees: float) -> Estimate:
    return Estimate(effect, 1.0, degrees, effect, 0.0, 5, 50, 50, (effect,), 1.0, Variance(1, 0, 0, 5, 50), 0.0)


def test_dunnett_takes_the_two_way_error_and_the_fewest_degrees_of_freedom() -> None:
    found = dunnett([_estimate(4.0, 4), _estimate(0.0, 100)])
    half = SharedControl.of_equal_arms(2, 4).critical_value(0.95)
    assert (found[0].low, found[0].high) == pytest.approx((4 - half, 4 + half))
    assert found[1].p_value == 1
    plain = _estimate(4.0, 4)
    assert plain.p_value < found[0].p_value < 2 * plain.p_value
    alone = dunnett([plain])[0]
    assert alone.p_value == pytest.approx(plain.p_value)
    assert (alone.low, alone.high) == pytest.approx(plain.interval())
    assert dunnett([]) == []


def test_a_correction_never_helps_and_names_do_not_matter() -> None:
    rng = np.random.default_rng(1)
    control = rng.normal(0, 1, (5, 30))
    arms = [estimate(rng.normal(0.2, 1, (5, 30)), control) for _ in range(3)]
    one, two = dunnett(arms), dunnett(arms[::-1])
    for first, second, plain in zip(one, reversed(two), arms, strict=True):
        assert dataclasses.astuple(first) == pytest.approx(dataclasses.astuple(second), abs=1e-3)
        assert first.p_value >= plain.p_value - 1e-4
