"""The kind of array that the analysis computes with."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
