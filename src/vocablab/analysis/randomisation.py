"""Randomisation tests over seeds alone, which assume no distribution."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from vocablab.analysis.arrays import Floats
from vocablab.base.random_streams import numpy_stream

_EXACT_SEEDS = 16
"""Up to this many seeds all 2^S sign patterns are enumerated."""


def exchanged(treatment: Sequence[float] | Floats, control: Sequence[float] | Floats) -> float:
    """Two-sided permutation p-value of "the seeds of both arms are exchangeable", for unpaired arms.

    Exact up to 2^16 ways to divide the seeds (nine per arm), else over that many drawn ones; 1 for single seeds.
    """
    if min(len(treatment), len(control)) < 2:
        return 1.0

    def difference(x: Floats, y: Floats, axis: int) -> Floats:
        return np.asarray(np.mean(x, axis=axis) - np.mean(y, axis=axis))

    stream = numpy_stream(0, "exchanged", len(treatment) + len(control))
    found = stats.permutation_test(
        (treatment, control), difference, vectorized=True, n_resamples=2**_EXACT_SEEDS, rng=stream
    )
    return float(found.pvalue)


def sign_flip(per_seed: Sequence[float] | Floats) -> float:
    """Two-sided randomisation p-value of "the sign of each seed's difference is a coin toss" (Fisher 1935).

    Exact up to 16 seeds; above that over 2^16 patterns drawn from a named stream, the observed one included.
    """
    values = np.asarray(per_seed, dtype=np.float64)
    count = len(values)
    if count <= _EXACT_SEEDS:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)[None, :]) & 1
    else:
        bits = numpy_stream(0, "sign_flip", count).integers(0, 2, size=(2**_EXACT_SEEDS, count))
        bits[0] = 0
    sums = np.abs((1 - 2 * bits) @ values)
    # Sums of the same numbers in another order differ in the last bits; a tie must count as a tie.
    return float(np.mean(sums >= abs(values.sum()) - 1e-12 * np.abs(values).sum()))
