"""Tests of the column of differences between two models: published intervals, their properties, how they are shown."""

import html
from typing import Any

import pytest
from analysis.test_probe_page import findings, kappa, share
from hypothesis import given
from hypothesis import strategies as st

from vocablab.analysis.probe_differences import EXPLAINED, difference
from vocablab.analysis.probe_page import render
from vocablab.base.proportions import wilson


def test_a_difference_of_shares_has_an_interval_and_is_bold_if_that_excludes_0() -> None:
    def relied(kind: str, value: float, low: float, high: float) -> dict[str, Any]:
        return share("causal", "context", f"token of {kind}", "reliance", value, low, high)

    ours = [relied("any other fact", 0.9, 0.8, 0.95), relied("the same operand", 0.5, 0.4, 0.6), kappa(0.75, 0.001)]
    theirs = [relied("any other fact", 0.3, 0.2, 0.4), relied("the same operand", 0.45, 0.35, 0.55), kappa(0.1, 0.001)]
    page = render([findings("ours", ours), findings("theirs", theirs)])
    # In the headlines and in the full table.
    assert page.count("<b>+0.600</b> <small>(+0.459 to +0.712)</small>") == 2
    assert page.count('<td class="n">+0.050 <small>(-0.091 to +0.191)</small></td>') == 2
    assert page.count('<td class="n">+0.650</td>') == 2  # no interval, nothing to mark
    assert page.count("0.900 <small>(0.800 to 0.950)</small>") == 2
    assert page.count(html.escape(EXPLAINED)) == 1
    assert html.escape(EXPLAINED) not in render([findings("ours", ours)])


def of_share(right: int, n: int) -> dict[str, Any]:
    """A share as a probe reports it."""
    return share("", "", "", "", right / n, *wilson(right / n, n))


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:873-890), table II, method 10.
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        # Fagerland, Lydersen and Laake 2017 (Statistical Analysis of Contingency Tables), chapter 4.
        ((7, 34), (1, 34), 0.0189, 0.3404),
    ],
)
def test_the_interval_of_independent_shares_is_the_published_one(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float
) -> None:
    found = difference(of_share(*one), of_share(*other))
    assert (found.low, found.high) == pytest.approx((low, high), abs=5.1e-5)
    assert found.excludes_zero


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_intervals_of_differences_hold_the_estimate_stay_in_range_and_turn_around(
    n: int, m: int, data: st.DataObject
) -> None:
    one, other = of_share(data.draw(st.integers(0, n)), n), of_share(data.draw(st.integers(0, m)), m)
    found, turned = difference(one, other), difference(other, one)
    assert found.low is not None
    assert found.high is not None
    assert -1 - 1e-12 <= found.low <= found.value <= found.high <= 1 + 1e-12
    assert (turned.value, turned.low, turned.high) == (-found.value, -found.high, -found.low)
    assert not (found.excludes_zero and found.value == 0)
    apart = difference(one, other | {"low": None, "high": None})
    assert (apart.value, apart.low, apart.excludes_zero) == (found.value, None, False)
