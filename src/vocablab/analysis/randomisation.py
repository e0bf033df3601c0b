"""A randomisation test over seeds alone, which assumes no distribution."""

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
