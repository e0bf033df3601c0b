"""Signs flipped and arms exchanged, counted by hand."""

import numpy as np
import pytest

from vocablab.analysis.estimates import estimate
from vocablab.analysis.randomisation import exchanged
from vocablab.base.sign_flips import sign_flip


def test_sign_flip_by_hand() -> None:
    assert sign_flip([1, 1, 1, 1, 1]) == 2 / 32
    assert sign_flip([1.0, -1.0]) == 1.0
    assert sign_flip([0.1, 0.2, 0.3]) == 0.25
    assert sign_flip(np.ones(40)) == pytest.approx(2**-16)


def test_unpaired_arms_are_exchanged_exactly() -> None:
    assert exchanged([5.0, 6.0, 7.0], [1.0, 2.0, 3.0]) == pytest.approx(2 / 20)
    assert exchanged([1.0], [2.0]) == 1.0
    rng = np.random.default_rng(14)
    treatment, control = rng.normal(0, 1, (5, 30)), rng.normal(0, 1, (5, 30))
    assert estimate(treatment, control, paired=False).sign_flip_p > 0.05
