"""Every token of a tree is read once, at its position, and sees what it would see alone."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vocablab.evaluate.packing import Branch, Tree, packs

branches = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 100)), min_size=1, max_size=4)
forests = st.lists(st.tuples(st.integers(1, 12), branches), min_size=1, max_size=8)


def trees(shapes: list[tuple[int, list[tuple[int, int]]]]) -> list[Tree]:
    rng, owner, found = np.random.default_rng(0), 0, []
    for start, parts in shapes:
        made = []
        for length, seed in parts:
            scored = np.random.default_rng(seed).random(length) < 0.7
            made.append(Branch(owner, rng.integers(1, 1000, length), scored))
            owner += 1
        found.append(Tree(rng.integers(1, 1000, start), tuple(made)))
    return found


@settings(deadline=None, max_examples=150)
@given(shapes=forests, most=st.integers(1, 9), tokens=st.integers(1, 80))
def test_what_predicts_a_token_sees_exactly_the_text_before_it(
    shapes: list[tuple[int, list[tuple[int, int]]]], most: int, tokens: int
) -> None:
    forest = trees(shapes)
    expected = {}
    for tree in forest:
        for branch in tree.branches:
            ids = np.concatenate([tree.start, branch.ids])
            for i in np.flatnonzero(branch.scored) + len(tree.start):
                expected.setdefault(branch.owner, []).append((tuple(ids[:i]), int(ids[i])))
    found: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for packed in packs(forest, most, tokens, 0):
        rows = packed.places_N2.tolist()
        for (r, t), target, owner in zip(rows, packed.targets_N.tolist(), packed.owners_N.tolist(), strict=True):
            seen = torch.nonzero(packed.sees_RTT[r, t])[:, 0]
            order = packed.positions_RT[r, seen].argsort()
            assert packed.positions_RT[r, seen][order].tolist() == list(range(len(seen)))
            found.setdefault(owner, []).append((tuple(packed.ids_RT[r, seen][order].tolist()), target))
    assert found == expected


def test_small_trees_share_a_row() -> None:
    forest = trees([(10, [(5, 0), (5, 1)])] * 12)
    (packed,) = packs(forest, 100, 4096, 0)
    assert packed.ids_RT.shape == (1, 12 * 18)
    assert all(len(p.ids_RT) == 1 and p.ids_RT.shape[1] == 18 for p in packs(forest, 1, 4096, 0))
