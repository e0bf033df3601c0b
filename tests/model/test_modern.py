"""The modern decoder's own parts: rotary positions, grouped queries, its config."""

import dataclasses

import pytest
import torch
from support.networks import randomised

from vocablab.base.config import from_json, to_json
from vocablab.base.errors import UserError
from vocablab.model.modern import MODERN_TINY, Modern, ModernConfig, rotary_tables, rotated

CONFIG = ModernConfig(n_layer=2, n_head=4, n_embd=32, n_positions=48, n_kv_head=2)


def test_a_rotation_keeps_lengths_and_sees_only_distances() -> None:
    cos, sin = rotary_tables(32, 8, 10_000.0)
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))
    queries, keys = (rotated(x.expand(1, 32, 1, 8), cos, sin)[0, :, 0] for x in (q, k))
    torch.testing.assert_close(queries.norm(dim=-1), q.norm().expand(32))
    scores = queries @ keys.T
    for distance in range(-8, 9):
        along = scores.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), atol=1e-5, rtol=0)
    assert scores[0].std() > 0.1


def test_the_first_pair_turns_by_one_radian_per_token() -> None:
    cos, sin = rotary_tables(3, 4, 100.0)
    turned = rotated(torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, 3, 1, 4), cos, sin)[0, 2, 0]
    # Pair 0 is (0, 2), not (0, 1).
    expected = torch.tensor([2.0]).cos(), torch.zeros(1), torch.tensor([2.0]).sin(), torch.zeros(1)
    torch.testing.assert_close(turned, torch.cat(expected))
    assert float(cos[1, 0, 1]) == pytest.approx(0.99500417)  # cos(1 / 100^(2/4))


def test_grouped_queries_are_repeated_keys_and_values() -> None:
    grouped = randomised(CONFIG, 64)
    full = Modern(dataclasses.replace(CONFIG, n_kv_head=None), 64)
    state = grouped.state_dict()
    for name in [n for n in state if n.endswith("qkv.weight")]:
        q, k, v = state[name].view(8, 8, 32).split((4, 2, 2))
        state[name] = torch.cat([q, k.repeat_interleave(2, 0), v.repeat_interleave(2, 0)]).reshape(96, 32)
    full.load_state_dict(state)
    ids = torch.arange(40)[None]
    torch.testing.assert_close(full(ids), grouped(ids), atol=1e-5, rtol=1e-5)


def test_queries_and_keys_are_normed() -> None:
    """The size of a query projection does not matter: with the norm, attention logits cannot blow up."""
    network, ids = randomised(CONFIG, 64).double(), torch.arange(40)[None]
    before = network(ids)
    with torch.no_grad():
        for block in network.blocks:
            block.qkv.weight[: 6 * 8] *= 1000.0
    assert (network(ids) - before).abs().max() < 1e-4


def test_the_default_width_of_the_mlp_is_eight_thirds() -> None:
    widths = {d: ModernConfig(1, 1, d, 8).mlp_hidden for d in (64, 96, 128, 768, 1024)}
    assert widths == {64: 192, 96: 256, 128: 384, 768: 2048, 1024: 2752}


def test_rotary_tables_are_float32_and_not_saved() -> None:
    network = MODERN_TINY.build(64, 0)
    assert network.rotary_cos.dtype == torch.float32
    assert network.rotary_cos.shape == (128, 1, 16)
    assert not any("rotary" in name for name in network.state_dict())


@pytest.mark.parametrize(
    ("change", "named"),
    [({"n_head": 3}, "n_embd"), ({"head_width": 7}, "head_width"), ({"n_kv_head": 3}, "n_kv_head")],
)
def test_impossible_sizes_are_refused(change: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        dataclasses.replace(CONFIG, **change)


def test_the_config_survives_json() -> None:
    assert from_json(ModernConfig, to_json(CONFIG)) == CONFIG
