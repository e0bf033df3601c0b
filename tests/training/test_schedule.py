"""The learning rate: a share of the peak at every step, warm-up, ends, and the shared beginning of a longer run."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.training.schedule import Cosine, Schedule, WarmupStableDecay

schedules = st.one_of(
    st.builds(Cosine, st.integers(0, 50), st.floats(0, 1)),
    st.builds(WarmupStableDecay, st.integers(0, 50), st.floats(0, 1), st.floats(0, 1)),
)


@given(schedule=schedules, steps=st.integers(1, 300))
def test_it_is_a_share_of_the_peak(schedule: Schedule, steps: int) -> None:
    factors = [schedule.factor(step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    # No step is wasted: a rate of 0 comes only after the last one.
    assert all(factor > 0 for factor in factors)
    rising = factors[: schedule.warmup_steps]
    assert rising == sorted(rising)
    falling = factors[schedule.warmup_steps :]
    assert all(a >= b - 1e-12 for a, b in pairwise(falling))


@pytest.mark.parametrize("schedule", [Cosine(10, 0.1), WarmupStableDecay(10, 0.4, 0.1)])
def test_warm_up_and_ends(schedule: Schedule) -> None:
    assert schedule.factor(0, 1000) == pytest.approx(0.1)
    assert schedule.factor(9, 1000) == 1
    assert schedule.factor(10, 1000) == 1
    assert schedule.factor(999, 1000) == pytest.approx(0.1, abs=0.01)
    assert schedule.factor(1000, 1000) == pytest.approx(0.1)


def test_the_middle() -> None:
    assert Cosine(0, 0.0).factor(500, 1000) == pytest.approx(0.5)
    assert WarmupStableDecay(0, 0.4, 0.0).factor(600, 1000) == 1
    assert WarmupStableDecay(0, 0.4, 0.0).factor(800, 1000) == pytest.approx(0.5)


@given(warmup=st.integers(0, 20), share=st.floats(0.05, 0.9), steps=st.integers(30, 200), longer=st.integers(0, 300))
def test_a_longer_stable_run_shares_the_beginning(warmup: int, share: float, steps: int, longer: int) -> None:
    schedule = WarmupStableDecay(warmup, share)
    stable = int(steps - share * steps)
    for step in range(stable):
        assert schedule.factor(step, steps) == schedule.factor(step, steps + longer)


def test_a_cosine_does_not_share_it() -> None:
    """What the property above would miss if it were true of every schedule."""
    assert Cosine(0).factor(10, 100) != Cosine(0).factor(10, 200)
