"""One random stream per name and purpose.

Two arms that share a parameter, a document order or a sampled batch must share its random numbers, and a
change in one place must not shift the numbers of another. So no generator is ever passed along and
consumed in sequence: each consumer derives its own from the seed and a name.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream called `names` under `seed`: the head of a SHA-256 of both."""
    digest = hashlib.sha256("\x1f".join([str(seed), *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator (PCG64) for the stream called `names` under `seed`."""
    return np.random.Generator(np.random.PCG64(stream_seed(seed, *names)))


def unit_interval(seed: int, *names: str | int) -> float:
    """One uniform number in [0, 1) that depends only on the seed and the names."""
    return stream_seed(seed, *names) / 2**63
