"""A run stops when its loss is no number or climbs away, not when it is merely noisy; and remembers over a resume."""

import json
import math
import random

import pytest

from vocablab.training.watch import SETTLING, Watch


def fed(watch: Watch, losses: list[float]) -> str | None:
    for loss in losses:
        said = watch.verdict(loss, 1.0)
        if said is not None:
            return said
    return None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_stops_at_once(bad: float) -> None:
    assert Watch(2.0).verdict(bad, 1.0) == f"the loss is {bad}"
    assert Watch(2.0).verdict(1.0, bad) == f"the gradient's norm is {bad}"


def test_a_climb_is_seen_and_named() -> None:
    watch = Watch(2.0)
    assert fed(watch, [10 - 0.1 * i for i in range(60)]) is None
    assert watch.calm
    said = fed(watch, [9.0] * 200)
    assert said is not None
    assert said.startswith("the loss has climbed from ")
    assert said.endswith(" nats per token")


def test_it_is_not_calm_long_before_it_stops() -> None:
    watch = Watch(2.0)
    fed(watch, [3.0] * 50)
    steps = 0
    while watch.calm:
        assert watch.verdict(7.0, 1.0) is None
        steps += 1
    assert 0 < steps < 10
    assert watch.verdict(7.0, 1.0) is None


def test_noise_and_spikes_do_not_stop_it() -> None:
    noise = random.Random(0)
    assert fed(Watch(2.0), [3 + noise.gauss(0, 0.5) for _ in range(2000)]) is None
    # One batch of another kind.
    assert fed(Watch(2.0), [3.0] * 50 + [20.0] + [3.0] * 50) is None
    # A high start is no climb.
    assert fed(Watch(2.0), [30.0, 11.0, *[10.0] * 50]) is None


@pytest.mark.parametrize("cut", [0, 1, SETTLING - 1, SETTLING, 30])
def test_a_restored_watch_says_the_same(cut: int) -> None:
    noise = random.Random(1)
    losses = [5 + noise.gauss(0, 0.3) + max(0, i - 60) * 0.2 for i in range(200)]
    whole, first, second = Watch(2.0), Watch(2.0), Watch(2.0)
    fed(first, losses[:cut])
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    fed(whole, losses[:cut])
    assert fed(second, losses[cut:]) == fed(whole, losses[cut:])
    assert second.state() == whole.state()
