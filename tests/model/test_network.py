"""What holds for every architecture: counts, causality, shared initialisation, exact losses."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from support.networks import SMALL, randomised
from torch.nn import functional as F

from vocablab.model.gpt2 import GPT2_124M, GPT2_350M, TINY
from vocablab.model.modern import MODERN_124M, MODERN_350M, MODERN_TINY
from vocablab.model.network import ModelConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "model.json"
PRESETS: dict[str, ModelConfig] = {
    "TINY": TINY, "GPT2_124M": GPT2_124M, "GPT2_350M": GPT2_350M,
    "MODERN_TINY": MODERN_TINY, "MODERN_124M": MODERN_124M, "MODERN_350M": MODERN_350M,
}  # fmt: skip
everywhere = pytest.mark.parametrize("config", [pytest.param(c, id=name) for name, c in SMALL.items()])


def ids(rows: int, length: int, vocabulary: int = 64) -> torch.Tensor:
    return torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("config", [pytest.param(c, id=n) for n, c in (SMALL | PRESETS).items()])
def test_counts_are_exact(config: ModelConfig) -> None:
    with torch.device("meta"):
        network = config.network(128)
    assert config.parameters(128) == sum(p.numel() for p in network.parameters())
    matrices = sum(p.numel() for p in network.blocks.parameters() if p.ndim == 2)
    flops = config.flops_per_token(128)
    assert flops["blocks"] == 6 * matrices
    assert flops["head"] == 6 * network.output_rows.numel()
    assert set(flops) == {"blocks", "attention", "head"}


def test_attention_flops_count_the_width_of_the_heads() -> None:
    assert TINY.flops_per_token(64)["attention"] == 12 * 4 * 128 * 128
    assert SMALL["modern, tied and grouped"].flops_per_token(64)["attention"] == 12 * 2 * (4 * 16) * 48


def test_the_presets_are_the_sizes_they_name() -> None:
    millions = {name: round(config.parameters(50304) / 1e6) for name, config in PRESETS.items() if "TINY" not in name}
    assert millions == {"GPT2_124M": 124, "GPT2_350M": 355, "MODERN_124M": 124, "MODERN_350M": 355}
    assert round(dataclasses.replace(MODERN_124M, tied=False).parameters(50304) / 1e6) == 162
    assert MODERN_124M.flops_per_token(50304) == GPT2_124M.flops_per_token(50304)


@everywhere
def test_a_later_token_changes_no_earlier_logit(config: ModelConfig) -> None:
    network, first = randomised(config, 64), ids(2, 20)
    second = first.clone()
    second[:, 12] = (second[:, 12] + 1) % 64
    before, after = network(first), network(second)
    assert torch.equal(before[:, :12], after[:, :12])
    assert (before[:, 12:] - after[:, 12:]).abs().amax((0, 2)).min() > 1e-4


@everywhere
def test_positions_matter(config: ModelConfig) -> None:
    network = randomised(config, 64)
    swapped = ids(1, 20)
    swapped[:, [3, 4]] = swapped[:, [4, 3]]
    assert (network(ids(1, 20))[:, -1] - network(swapped)[:, -1]).abs().max() > 1e-4


@everywhere
def test_arms_share_every_row_and_matrix(config: ModelConfig) -> None:
    """Rule 3: a wider table adds rows at its end and changes nothing else; another seed changes everything drawn."""
    small, wide, other = config.build(64, 5), config.build(128, 5), config.build(64, 6)
    wider = dict(wide.named_parameters())
    for name, parameter in small.named_parameters():
        assert torch.equal(parameter, wider[name][: len(parameter)]), name
    for (name, parameter), elsewhere in zip(small.named_parameters(), other.parameters(), strict=True):
        drawn = config.network(64).initial_std(name) not in (None, 0.0)
        assert torch.equal(parameter, elsewhere) != drawn, name


@everywhere
def test_depths_share_their_blocks(config: ModelConfig) -> None:
    shallow, deep = config.build(64, 5), dataclasses.replace(config, n_layer=4).build(64, 5)
    deeper = dict(deep.named_parameters())
    for name, parameter in shallow.named_parameters():
        std, deep_std = shallow.initial_std(name), deep.initial_std(name)
        scale = std / deep_std if std and deep_std else 1.0
        torch.testing.assert_close(parameter, deeper[name] * scale, rtol=1e-6, atol=0)


@everywhere
def test_the_initial_deviations_are_as_stated(config: ModelConfig) -> None:
    network = dataclasses.replace(config, n_embd=128).build(512, 0)
    for name, parameter in network.named_parameters():
        std = network.initial_std(name)
        if std is None:
            assert parameter.eq(1).all()
        else:
            assert float(parameter.detach().std()) == pytest.approx(std, rel=0.05)


@everywhere
def test_hidden_and_a_table_give_the_logits(config: ModelConfig) -> None:
    network = randomised(config, 64)
    logits = F.linear(network.hidden(ids(2, 9), network.input_rows), network.output_rows)
    assert torch.equal(logits, network(ids(2, 9)))
    assert (network.input_rows is network.output_rows) == (sum(p.shape[0] == 64 for p in network.parameters()) == 1)


@everywhere
def test_computed_rows_take_the_place_of_the_tables(config: ModelConfig) -> None:
    network = randomised(config, 64)
    plain = network(ids(2, 9))
    network.composition = lambda rows_in, rows_out: (rows_in, 2 * rows_out)
    assert torch.equal(network(ids(2, 9)), 2 * plain)
    network.composition = lambda rows_in, rows_out: (rows_in.roll(1, 0), rows_out)
    assert torch.equal(network((ids(2, 9) + 1) % 64), plain)


@everywhere
def test_one_graph_compiles_and_trains_in_bfloat16(config: ModelConfig) -> None:
    # What other tests of this process have compiled counts against the same limit.
    torch._dynamo.reset()
    network = config.build(64, 0)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    exact = network(ids(2, 16))
    torch.testing.assert_close(compiled(ids(2, 16)), exact)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = compiled(ids(2, 16))
    assert logits.dtype == torch.bfloat16
    assert (logits - exact).abs().max() < 0.02
    F.cross_entropy(logits.flatten(0, 1).float(), ids(2, 16).flatten()).backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


@pytest.mark.parametrize(("name", "config"), SMALL.items())
def test_golden_losses(name: str, config: ModelConfig) -> None:
    """The loss of named random streams through the whole network: a change here changes every study."""
    network = config.build(64, 0)
    with torch.no_grad():
        # Larger weights than at the start, so that each part of the network tells in the loss.
        for parameter in network.parameters():
            parameter.mul_(4)
        loss = F.cross_entropy(network(ids(4, 48)).flatten(0, 1), ids(4, 49)[:, 1:].flatten())
    assert float(loss) == pytest.approx(json.loads(GOLDEN.read_text())[name], rel=1e-4)
