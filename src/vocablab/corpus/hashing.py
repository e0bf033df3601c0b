"""Where a document stands: its side of the split by its text, its place in the order by its name and the seed."""

import hashlib

import numpy as np

from vocablab.base.random_streams import stream_seed


def text_hash(data: bytes) -> bytes:
    """SHA-256 of a raw text in UTF-8."""
    return hashlib.sha256(data).digest()


def is_held_out(digest: bytes, share: float) -> bool:
    """Whether a text with this hash is validation: equal texts are always on the same side, whatever the seed."""
    return int.from_bytes(digest[:8], "big") < share * 2**64


def order_keys(seed: int, source: str, part: str, positions: np.ndarray) -> np.ndarray:
    """Random numbers that put documents in order: uint64, shape (n,), a function of seed and name only.

    SplitMix64's finalizer (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators") on the
    position with a start that depends on seed, source and part.
    """
    start = stream_seed(seed, "document order", source, part)
    with np.errstate(over="ignore"):
        state = (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(state ^ (state >> np.uint64(31)))
