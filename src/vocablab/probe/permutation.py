"""Permutation tests: labels dealt out anew, if need be only among tokens of about the same magnitude.

Small products have small operands. So rows that code nothing but magnitude are grouped by operand, and a free
permutation would call that a code for operands. Permuting within bins of neighbouring answers keeps what magnitude
explains in the control.
"""

from dataclasses import dataclass

import numpy as np


def shuffles(
    bins: np.ndarray, permutations: int, generator: np.random.Generator, units: np.ndarray | None = None
) -> np.ndarray:
    """Permutations of N labels as indices, (1 + permutations, N); the first is the identity.

    Args:
        bins: labels change places only within one of these, (N,); zeros let them go anywhere.
        permutations: how many.
        generator: draws them.
        units: tokens with the same number keep one label in common, (N,). For a label that is computed from the
            answer (its last digit): else tokens of equal answer would differ in the control only.

    Returns:
        For each permutation and token, the token whose label it takes.
    """
    tokens = np.arange(len(bins))
    first, unit_of = np.unique(tokens if units is None else units, return_index=True, return_inverse=True)[1:]
    bin_of = np.unique(bins[first], return_inverse=True)[1]
    # Sorted by bin, and at random within it; the places in order of their bins take the units in that order.
    drawn = np.argsort(bin_of + generator.random((permutations, len(first))), axis=1)
    mixed = np.empty_like(drawn)
    mixed[:, np.argsort(bin_of, kind="stable")] = drawn
    return np.concatenate([tokens[None], first[mixed[:, unit_of]]])


@dataclass(frozen=True)
class Tested:
    """A number beside the same number with permuted labels."""

    value: float
    """With the true labels."""
    control: float
    """Mean over the permutations."""
    p: float
    """Share of labellings, the true one counted, that give at least `value`."""


def tested(found: np.ndarray) -> Tested:
    """What a permutation test says; `found` is (1 + permutations,), the true labelling first, more is more."""
    # Sums in another order differ in the last bits: a tie must count as one.
    at_least = int((found[1:] >= found[0] - 1e-9 * max(1.0, abs(float(found[0])))).sum())
    return Tested(float(found[0]), float(found[1:].mean()), (1 + at_least) / len(found))
