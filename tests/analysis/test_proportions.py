"""McNemar's test by hand, Wilson's interval as published."""

import math

import numpy as np
import pytest

from vocablab.analysis.proportions import mcnemar
from vocablab.base.proportions import wilson


def test_mcnemar_by_hand() -> None:
    found = mcnemar(np.array([1, 1, 1, 1, 1, 0, 0, 1.0]), np.array([0, 0, 0, 0, 0, 1, 0, 1.0]))
    assert (found.gained, found.lost) == (5, 1)
    assert found.p_value == pytest.approx(14 / 64)
    assert mcnemar(np.ones(4), np.ones(4)).p_value == 1


def test_wilson_agrees_with_published_values() -> None:
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert math.isnan(wilson(0.5, 0)[0])
