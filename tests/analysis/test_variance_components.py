"""Components and their degrees of freedom against brute force."""

import itertools

import numpy as np
import pytest

from vocablab.analysis.variance_components import two_way_variance


def test_mean_squares_agree_with_a_brute_force_anova() -> None:
    rng = np.random.default_rng(3)
    d = rng.normal(0, 1, (4, 7)) + 2 * rng.normal(0, 1, (4, 1)) + 3 * rng.normal(0, 1, (1, 7))
    grand = sum(d[s, k] for s in range(4) for k in range(7)) / 28
    ms_seed = sum(7 * (d[s].mean() - grand) ** 2 for s in range(4)) / 3
    ms_item = sum(4 * (d[:, k].mean() - grand) ** 2 for k in range(7)) / 6
    cells = itertools.product(range(4), range(7))
    ms_residual = sum((d[s, k] - d[s].mean() - d[:, k].mean() + grand) ** 2 for s, k in cells) / 18
    found = two_way_variance(d)
    assert found.of_mean() == pytest.approx((ms_seed + ms_item - ms_residual) / 28, rel=1e-12)
    assert found.residual == pytest.approx(ms_residual, rel=1e-12)
    total = ms_seed + ms_item - ms_residual
    df = total**2 / (ms_seed**2 / 3 + ms_item**2 / 6 + ms_residual**2 / 18)
    assert found.degrees_of_freedom() == pytest.approx(max(df, 3), rel=1e-12)


def test_a_component_below_zero_does_not_cancel_another() -> None:
    rng = np.random.default_rng(7)
    d = rng.normal(0, 1, (5, 40))
    d -= d.mean(axis=1, keepdims=True)  # seeds agree better than chance allows
    found = two_way_variance(d)
    assert found.seed == 0
    assert found.of_mean() >= found.residual / 200
