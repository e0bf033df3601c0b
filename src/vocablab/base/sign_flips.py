"""A randomisation test that assumes no distribution: of a mean of independent differences."""

from collections.abc import Sequence

import numpy as np

from vocablab.base.random_streams import numpy_stream

EXACT = 16
"""Up to this many differences all 2^n sign patterns are enumerated."""


def sign_flip(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided randomisation p-value of "the sign of each difference is a coin toss" (Fisher 1935).

    Exact up to 16; above that over 2^16 patterns drawn from a named stream, the observed one included.
    """
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    if count <= EXACT:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)[None, :]) & 1
    else:
        bits = numpy_stream(0, "sign_flip", count).integers(0, 2, size=(2**EXACT, count))
        bits[0] = 0
    sums = np.abs((1 - 2 * bits) @ values)
    # Sums of the same numbers in another order differ in the last bits; a tie must count as a tie.
    return float(np.mean(sums >= abs(values.sum()) - 1e-12 * np.abs(values).sum()))
