"""Updates are counted as a loop over steps would count them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.corpus.shards import Tokens
from vocablab.pretrain import updates
from vocablab.pretrain.length import Length


def by_hand(tokens: np.ndarray, first: int, count: int, context: int, batch: int, length: Length) -> list[int]:
    """As the training loop reads: window after window, inputs only."""
    found = [0] * count
    for step in range(length.steps):
        starts = [((step * batch + i) % length.windows) * context for i in range(batch)]
        seen = {int(t) for s in starts for t in tokens[s : s + context]}
        for token in range(count):
            found[token] += first + token in seen
    return found


@given(
    seed=st.integers(0, 10**6), context=st.integers(1, 7), batch=st.integers(1, 5), steps=st.integers(1, 30),
    size=st.integers(40, 300), at_once=st.sampled_from([3, 16, 1 << 24]),
)  # fmt: skip
def test_updates_are_those_of_a_loop(seed: int, context: int, batch: int, steps: int, size: int, at_once: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.choice(60, size=size).astype(np.uint16)
    length = Length(steps, (size - 1) // context, 0.0, batch * context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(updates, "AT_ONCE", at_once)
        found = updates.steps_with(Tokens([tokens[:30], tokens[30:]]), 50, 8, context, length)
    assert found.tolist() == by_hand(tokens, 50, 8, context, batch, length)


def test_a_token_that_is_only_ever_an_answer_has_none() -> None:
    tokens = Tokens([np.array([1, 2, 3, 4, 9], dtype=np.uint16)])
    assert updates.steps_with(tokens, 9, 1, 4, Length(2, 1, 2.0, 4)).tolist() == [0]
    assert updates.steps_with(tokens, 4, 1, 4, Length(2, 1, 2.0, 4)).tolist() == [2]
