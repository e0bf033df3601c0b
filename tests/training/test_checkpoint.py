"""Checkpoints: everything comes back bit for bit, whole or not at all, and never into another model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.networks import SMALL
from torch import nn

from vocablab.base.errors import RunError
from vocablab.training import checkpoint
from vocablab.training.checkpoint import (
    CHECKPOINT,
    PREVIOUS,
    load_checkpoint,
    load_weights,
    newest_checkpoint,
    read_state,
    save_checkpoint,
    save_weights,
    training_state,
)
from vocablab.training.optimizer import AdamW, MuonAdamW

Made = tuple[nn.Module, dict[str, nn.Parameter], list[torch.optim.Optimizer]]


def made(optimizer: Any, seed: int, steps: int) -> Made:
    network = SMALL["modern"].build(64, seed)
    named = dict(network.named_parameters())
    optimizers = optimizer.build(named, [n for n in named if n.startswith("layers.") and "norm" not in n])
    for i in range(steps):
        generator = torch.Generator().manual_seed(i)
        for parameter in named.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for one in optimizers:
            one.step()
    return network, named, optimizers


@pytest.mark.parametrize("optimizer", [AdamW(1e-3), MuonAdamW(1e-3)])
def test_all_comes_back_bit_for_bit(tmp_path: Path, optimizer: Any) -> None:
    _, named, optimizers = made(optimizer, 0, 3)
    state = {"step": 3, "seconds": 1.5, "metrics": [{"a": 0.1}]}
    save_checkpoint(tmp_path, training_state(named, optimizers), state)
    _, other, theirs = made(optimizer, 1, 0)
    load_checkpoint(tmp_path / CHECKPOINT, other, theirs)
    assert read_state(tmp_path / CHECKPOINT) == state
    one, two = training_state(named, optimizers), training_state(other, theirs)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert len(one) > 2 * len(named)


def test_the_one_before_is_kept_and_a_kill_in_between_leaves_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"model/a": torch.ones(2)}, {"step": step})
    assert [read_state(tmp_path / name)["step"] for name in (CHECKPOINT, PREVIOUS)] == [2, 1]

    def killed(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_bytes_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, {"model/a": torch.ones(2)}, {"step": 3})
    path = newest_checkpoint(tmp_path)
    assert path is not None
    assert read_state(path)["step"] == 2


def test_there_may_be_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, {"model/a": torch.ones(2)}, {"step": 4})
    assert newest_checkpoint(tmp_path, before=5) == tmp_path / CHECKPOINT
    assert newest_checkpoint(tmp_path, before=4) is None


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_cut_file_is_damaged_and_never_half_read(tmp_path: Path, share: float) -> None:
    _, named, optimizers = made(AdamW(1e-3), 0, 1)
    save_checkpoint(tmp_path, training_state(named, optimizers), {"step": 1})
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for read in (lambda: read_state(path), lambda: newest_checkpoint(tmp_path)):
        with pytest.raises(RunError, match="is damaged"):
            read()
    with pytest.raises(RunError, match="is damaged"):
        load_checkpoint(path, named, optimizers)


def test_weights_of_another_kind_of_file_are_no_checkpoint(tmp_path: Path) -> None:
    save_weights({"a": torch.ones(2)}, tmp_path / CHECKPOINT)
    with pytest.raises(RunError, match="is damaged"):
        read_state(tmp_path / CHECKPOINT)


@pytest.mark.parametrize("change", ["name", "shape", "missing"])
def test_another_model_is_refused(tmp_path: Path, change: str) -> None:
    _, named, optimizers = made(AdamW(1e-3), 0, 1)
    tensors = training_state(named, optimizers)
    value = tensors.pop("model/norm.weight")
    if change != "missing":
        tensors["model/" + ("nrom" if change == "name" else "norm.weight")] = value if change == "name" else value[:3]
    save_checkpoint(tmp_path, tensors, {"step": 1})
    before = {n: p.detach().clone() for n, p in named.items()}
    with pytest.raises(RunError, match=r"fits another model: (norm\.weight|nrom)"):
        load_checkpoint(tmp_path / CHECKPOINT, named, optimizers)
    if change != "shape":
        assert all(torch.equal(before[n], p) for n, p in named.items())


def test_weights_must_fit_exactly(tmp_path: Path) -> None:
    network, *_ = made(AdamW(1e-3), 0, 0)
    save_weights(network.state_dict(), tmp_path / "w.safetensors")
    other = SMALL["modern"].build(64, 1)
    load_weights(other, tmp_path / "w.safetensors")
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in other.state_dict().items())
    with pytest.raises(RuntimeError):
        load_weights(SMALL["modern"].build(65, 1), tmp_path / "w.safetensors")


def test_the_state_is_json(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path, {"model/a": torch.ones(2)}, {"step": object()})
    save_checkpoint(tmp_path, {"model/a": torch.ones(2)}, {"step": 1, "x": 0.1 + 0.2})
    raw = (tmp_path / CHECKPOINT).read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["state"]) == {"step": 1, "x": 0.1 + 0.2}
