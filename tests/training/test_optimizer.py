"""Groups, peaks and float32 state; rule 11: a step of 2e-5 moves nearly every parameter, also under bfloat16."""

from typing import Any

import pytest
import torch
from support.networks import SMALL
from torch import nn

from vocablab.base.errors import RunError
from vocablab.pretrain.next_token import NextToken
from vocablab.training.optimizer import PEAK, AdamW, MuonAdamW, moments, require_float32, set_learning_rates
from vocablab.training.precision import autocast


def built(optimizer: Any, name: str = "modern") -> tuple[Any, dict[str, nn.Parameter], list[torch.optim.Optimizer]]:
    network = SMALL[name].build(64, 0)
    named = dict(network.named_parameters())
    inside = {id(p) for p in network.blocks.parameters() if p.dim() == 2}
    return network, named, optimizer.build(named, [n for n, p in named.items() if id(p) in inside])


def step(network: Any, optimizers: list[torch.optim.Optimizer], precision: str) -> None:
    ids = torch.randint(0, 64, (64, 33), generator=torch.Generator().manual_seed(1))
    with autocast(precision, "cpu"):
        loss = NextToken(network)(ids[:, :-1], ids[:, 1:])
    (loss / ids[:, 1:].numel()).backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("optimizer", [AdamW(1e-3), MuonAdamW(1e-3)])
def test_every_parameter_has_one_group(name: str, optimizer: Any) -> None:
    _, named, optimizers = built(optimizer, name)
    ids = [id(p) for o in optimizers for g in o.param_groups for p in g["params"]]
    assert sorted(ids) == sorted(id(p) for p in named.values())
    for one in optimizers:
        for group in one.param_groups:
            assert all(p.dim() >= 2 for p in group["params"]) or group["weight_decay"] == 0


def test_muon_has_the_matrices_of_blocks_and_nothing_else() -> None:
    _, named, (muon, adamw) = built(MuonAdamW(1e-3, muon_learning_rate=0.05))
    inside = {n for n, p in named.items() if any(p is q for g in muon.param_groups for q in g["params"])}
    assert inside == {n for n in named if n.startswith("layers.") and "norm" not in n}
    assert [g[PEAK] for g in muon.param_groups] == [0.05]
    assert {g[PEAK] for g in adamw.param_groups} == {1e-3}


def test_the_schedule_scales_every_peak() -> None:
    _, _, optimizers = built(MuonAdamW(1e-3, muon_learning_rate=0.05))
    for factor in (0.5, 0.0, 1.0):
        set_learning_rates(optimizers, factor)
        assert [g["lr"] for o in optimizers for g in o.param_groups] == [0.05 * factor, 1e-3 * factor, 1e-3 * factor]


@pytest.mark.parametrize("optimizer", [AdamW(1e-3), MuonAdamW(1e-3)])
def test_state_is_float32_under_autocast(optimizer: Any) -> None:
    network, named, optimizers = built(optimizer)
    step(network, optimizers, "bfloat16")
    assert len(moments(optimizers)) >= len(named)
    require_float32(named.values(), moments(optimizers))


@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_2e_5_moves_nearly_every_parameter(name: str) -> None:
    network, named, optimizers = built(AdamW(2e-5, weight_decay=0.0), name)
    before = {n: p.detach().clone() for n, p in named.items()}
    step(network, optimizers, "bfloat16")
    # The position table's rows beyond the text's length have no gradient.
    used = {n: slice(None, 32) if n.endswith("wpe.weight") else slice(None) for n in named}
    moved = torch.cat([(named[n].detach() != before[n])[used[n]].flatten() for n in named])
    assert moved.float().mean() > 0.99
    # Planted: bfloat16 weights stay where they were, the reason for the rule.
    low = torch.cat([(named[n].bfloat16() != before[n].bfloat16())[used[n]].flatten() for n in named])
    assert low.float().mean() < 0.9


def test_a_step_of_muon_has_the_length_that_its_docstring_says() -> None:
    _, named, optimizers = built(MuonAdamW(1e-3, muon_learning_rate=0.02, muon_weight_decay=0.0))
    name = "layers.0.gate_up.weight"
    parameter = named[name]
    before = parameter.detach().clone()
    parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
    optimizers[0].step()
    out, into = parameter.shape
    length = float(torch.linalg.matrix_norm(parameter.detach() - before, 2))
    # Newton and Schulz's five steps leave singular values between 0.7 and 1.2.
    assert 0.6 < length / (0.02 * max(1, out / into) ** 0.5) < 1.3


def test_low_precision_state_is_caught() -> None:
    with pytest.raises(RunError, match=r"rule 11: an optimiser state tensor is torch\.bfloat16"):
        require_float32([torch.zeros(2)], [torch.zeros(2, dtype=torch.bfloat16)])
    with pytest.raises(RunError, match=r"rule 11: a parameter tensor is torch\.float16"):
        require_float32([torch.zeros(2, dtype=torch.float16)], [])
    require_float32([torch.zeros(2)], [torch.zeros(2, dtype=torch.int64)])
