"""How many optimiser steps read each added token: how often its input row had a gradient of its own."""

from collections.abc import Iterator

import numpy as np

from vocablab.corpus.shards import Tokens
from vocablab.pretrain.length import Length

AT_ONCE = 1 << 24
"""Tokens looked at at a time. It changes no result."""


def steps_with(tokens: Tokens, first: int, count: int, context: int, length: Length) -> np.ndarray:
    """For each added token the number of steps among whose inputs it is, (count,) int64.

    A step reads the windows that follow those of the step before; after the last window the first comes again.

    Args:
        tokens: what is read, T of them.
        first: id of the first added token; the others follow it.
        count: how many there are.
        context: tokens of a window.
        length: steps, windows, and tokens of a step.
    """
    found = np.zeros(count, dtype=np.int64)
    windows_per_step = length.tokens_per_step // context
    latest = np.full(count, -1, dtype=np.int64)
    for windows, ids in _read(tokens, first, count, context, length):
        order = np.argsort(ids, kind="stable")
        # Token by token, each one's steps in order.
        token, step = ids[order], windows[order] // windows_per_step
        changes = token[1:] != token[:-1]
        is_first, is_last = np.r_[True, changes], np.r_[changes, True]
        is_new = is_first | np.r_[True, step[1:] != step[:-1]]
        # The step may have begun in the batch before.
        is_new[is_first] = step[is_first] != latest[token[is_first]]
        found += np.bincount(token[is_new], minlength=count)
        latest[token[is_last]] = step[is_last]
    return found


def _read(
    tokens: Tokens, first: int, count: int, context: int, length: Length
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Number of the window, over all passes, and of the added token, for each one that is read, in order."""
    read = length.steps * (length.tokens_per_step // context)
    for passed in range(0, read, length.windows):
        end = min(length.windows, read - passed) * context
        for start in range(0, end, AT_ONCE):
            ids = np.asarray(tokens[start : min(end, start + AT_ONCE)])
            at = np.flatnonzero((ids >= first) & (ids < first + count))
            if len(at):
                yield passed + (start + at) // context, ids[at].astype(np.int64) - first
