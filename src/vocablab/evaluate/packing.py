"""Texts that share a beginning, laid out so that it is read once, and several of them in one row without padding.

A `Tree` is a shared beginning and branches that go on from it: the context of a HellaSwag item and its four endings.
In a row its tokens stand one after another, each with its position in its own text and a mask by which it sees the
beginning and its own branch only: the same numbers as a row per ending, from half the tokens.

Shapes: R rows, T tokens of a row, N scored tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

ROW = 256
"""Tokens of a row, at least: longer rows waste attention on other trees, shorter ones leave gaps at their ends."""
PASS_TOKENS = 2048
"""Tokens of a pass, about, on a CPU; larger passes are no faster there."""
PASS_TOKENS_GPU = 32768
"""The same on a GPU."""


@dataclass(frozen=True)
class Branch:
    """One way to go on."""

    owner: int
    """What its cost is added to."""
    ids: np.ndarray
    """Its tokens, at least one."""
    scored: np.ndarray
    """For each of them, whether its cost counts."""


@dataclass(frozen=True)
class Tree:
    """A beginning and the ways to go on from it."""

    start: np.ndarray
    """Token ids of the beginning, at least one."""
    branches: tuple[Branch, ...]
    """At least one."""

    @property
    def size(self) -> int:
        """Tokens it takes in a row: the last token of a branch is only predicted."""
        return len(self.start) + sum(len(branch.ids) - 1 for branch in self.branches)


@dataclass(frozen=True)
class Packed:
    """One pass."""

    ids_RT: Tensor
    """Token ids; gaps hold a filler that nothing sees."""
    positions_RT: Tensor
    """Position of each token in its text."""
    sees_RTT: Tensor
    """Whether token t sees token s."""
    places_N2: Tensor
    """Row and column of the token that predicts each scored one."""
    targets_N: Tensor
    """The scored tokens."""
    owners_N: np.ndarray
    """Whose cost each belongs to."""


def packs(trees: Sequence[Tree], most: int, tokens: int, filler: int) -> Iterator[Packed]:
    """All trees, in passes of trees of about one size.

    Args:
        trees: what is read.
        most: trees per pass, at most.
        tokens: tokens per pass, about.
        filler: id for the gaps.
    """
    waiting = sorted(trees, key=lambda tree: -tree.size)
    first = 0
    while first < len(waiting):
        width = max(ROW, waiting[first].size)
        rows: list[list[Tree]] = []
        room: list[int] = []
        taken = first
        while taken < len(waiting) and taken - first < most:
            size = waiting[taken].size
            place = next((i for i, left in enumerate(room) if left >= size), None)
            if place is None:
                if rows and (len(rows) + 1) * width > tokens:
                    break
                rows.append([])
                room.append(width)
                place = len(rows) - 1
            rows[place].append(waiting[taken])
            room[place] -= size
            taken += 1
        # A pass that is not full needs no more width than its fullest row has.
        yield _packed(rows, width - min(room), filler)
        first = taken


def _packed(rows: list[list[Tree]], width: int, filler: int) -> Packed:
    ids = np.full((len(rows), width), filler, dtype=np.int64)
    positions = np.zeros((len(rows), width), dtype=np.int64)
    # Gaps are a tree of their own per row: each sees gaps only, so that no row of the mask is empty.
    tree_of = np.full((len(rows), width), -1, dtype=np.int64)
    branch_of = np.zeros((len(rows), width), dtype=np.int64)
    places: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    for r, trees in enumerate(rows):
        column = 0
        for number, tree in enumerate(trees):
            begin, length = column, len(tree.start)
            tree_of[r, begin : begin + tree.size] = number
            ids[r, begin : begin + length] = tree.start
            positions[r, begin : begin + length] = np.arange(length)
            column += length
            for b, branch in enumerate(tree.branches, 1):
                read = len(branch.ids) - 1
                span = slice(column, column + read)
                ids[r, span], branch_of[r, span] = branch.ids[:-1], b
                positions[r, span] = np.arange(length, length + read)
                # The last token of the beginning predicts the first of every branch.
                before = np.concatenate([[begin + length - 1], np.arange(column, column + read)])[branch.scored]
                places.append(np.stack([np.full(len(before), r), before], axis=1))
                targets.append(branch.ids[branch.scored])
                owners.append(np.full(len(before), branch.owner))
                column += read
    tree_t, branch_t, position_t = (torch.from_numpy(x) for x in (tree_of, branch_of, positions))
    sees = (tree_t[:, :, None] == tree_t[:, None, :]) & (position_t[:, None, :] <= position_t[:, :, None])
    sees &= (branch_t[:, None, :] == 0) | (branch_t[:, :, None] == branch_t[:, None, :])
    return Packed(
        torch.from_numpy(ids),
        position_t,
        sees,
        torch.from_numpy(np.concatenate(places)),
        torch.from_numpy(np.concatenate(targets).astype(np.int64)),
        np.concatenate(owners),
    )
