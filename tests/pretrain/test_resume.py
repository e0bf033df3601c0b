"""Killed and resumed equals uninterrupted, bit for bit (rule 11); damaged, foreign and diverged checkpoints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.training import (
    CONFIG,
    MODEL,
    MODERN,
    MUON,
    SHORT,
    Parts,
    base_vocabulary,
    checkpoint_every_step,
    dies_at,
    shards,
    train,
)

from vocablab.base.errors import RunError, UserError
from vocablab.model.network import ModelConfig
from vocablab.model.new_rows import ComposedRows
from vocablab.pretrain import loop
from vocablab.pretrain.config import Pretraining
from vocablab.training import checkpoint
from vocablab.training.checkpoint import CHECKPOINT, PREVIOUS, load_checkpoint, newest_checkpoint, read_state
from vocablab.training.optimizer import AdamW
from vocablab.vocab.interventions import FactTokens

BRIEF = replace(CONFIG, budget=SHORT, evaluate_every=0.3)
CASES: dict[str, tuple[Pretraining, ModelConfig]] = {
    "float32": (BRIEF, MODEL),
    "bfloat16": (replace(BRIEF, precision="bfloat16"), MODEL),
    "muon": (replace(MUON, budget=SHORT), MODERN),
    "muon, bfloat16": (replace(MUON, budget=SHORT, precision="bfloat16"), MODERN),
    "accumulated": (replace(BRIEF, micro_batch=3), MODEL),
    "composed": (replace(BRIEF, new_rows=ComposedRows(width=16)), MODERN),
    "composed first": (replace(BRIEF, new_rows=ComposedRows(width=16, mode="first", first_share=0.4)), MODEL),
    "composed first, untied": (replace(BRIEF, new_rows=ComposedRows(width=16, mode="first", first_share=0.4)), MODERN),
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return shards(base_vocabulary(), FactTokens(), tmp_path_factory.mktemp("facts"))


def same(one: Path, other: Path) -> bool:
    return all((one / n).read_bytes() == (other / n).read_bytes() for n in ("model.safetensors", "metrics.jsonl"))


@pytest.mark.parametrize("case", CASES)
def test_killed_and_resumed_twice_equals_uninterrupted(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    config, model = CASES[case]
    checkpoint_every_step(monkeypatch)
    steps = train(facts, tmp_path / "whole", config, model)["steps"]
    border = max(1, round(0.4 * steps))
    # On both sides of the border between the phases, on it, and one after the other.
    kills = (border - 1, border, border + 1, steps - 1) if "first" in case else (4, 9)
    dies_at(monkeypatch, *kills)
    for kill in kills:
        with pytest.raises(KeyboardInterrupt):
            train(facts, tmp_path / "cut", config, model)
        assert read_state(tmp_path / "cut" / CHECKPOINT)["step"] == kill
    counts = train(facts, tmp_path / "cut", config, model)
    assert same(tmp_path / "cut", tmp_path / "whole")
    assert counts["final"]["step"] == steps
    assert not (tmp_path / "cut" / CHECKPOINT).exists()


@pytest.mark.parametrize("key", ["exp_avg", "exp_avg_sq", "step", "model/"])
def test_a_resume_that_forgets_something_is_seen(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Planted: each part of the state in turn is not what was saved."""
    checkpoint_every_step(monkeypatch)
    train(facts, tmp_path / "whole", BRIEF)
    real = checkpoint.load_file

    def spoilt(path: Path) -> Any:
        return {k: v * 0.9 if key in k else v for k, v in real(path).items()}

    monkeypatch.setattr(checkpoint, "load_file", spoilt)
    dies_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "cut", BRIEF)
    train(facts, tmp_path / "cut", BRIEF)
    assert not same(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.parametrize("how", ["cut short", "empty", "noise"])
def test_a_damaged_newest_checkpoint_falls_back_on_the_one_before(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    checkpoint_every_step(monkeypatch)
    train(facts, tmp_path / "whole", BRIEF)
    dies_at(monkeypatch, 6, 6)
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "cut", BRIEF)
    path = tmp_path / "cut" / CHECKPOINT
    data = path.read_bytes()
    path.write_bytes({"cut short": data[: len(data) // 2], "empty": b"", "noise": bytes(range(256)) * 8}[how])
    assert newest_checkpoint(tmp_path / "cut") == tmp_path / "cut" / PREVIOUS
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "cut", BRIEF)
    # The damaged one did not take the place of the good one.
    assert read_state(tmp_path / "cut" / PREVIOUS)["step"] == 5
    train(facts, tmp_path / "cut", BRIEF)
    assert same(tmp_path / "cut", tmp_path / "whole")


def test_only_damaged_checkpoints_are_one_sentence(facts: Parts, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"checkpoint\.safetensors is damaged"):
        train(facts, tmp_path, BRIEF)


def test_a_checkpoint_of_another_configuration_is_refused(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_every_step(monkeypatch)
    dies_at(monkeypatch, 3, 5)
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "cut", BRIEF)
    before = (tmp_path / "cut" / CHECKPOINT).read_bytes()
    for change in ({"optimizer": AdamW(1e-3)}, {"batch_size": 4}, {"precision": "bfloat16"}, {"clip": 0.5}):
        with pytest.raises(UserError, match="another configuration"):
            train(facts, tmp_path / "cut", replace(BRIEF, **change))
    with pytest.raises(UserError, match="another configuration"):
        train(facts, tmp_path / "cut", BRIEF, replace(MODEL, n_head=4))
    assert (tmp_path / "cut" / CHECKPOINT).read_bytes() == before
    # How it runs is no part of it.
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "cut", replace(BRIEF, micro_batch=2, checkpoint_seconds=1e-9))


def loads(path: Path, model: ModelConfig, padded: int) -> bool:
    network = model.build(padded, 1)
    named = dict(network.named_parameters())
    load_checkpoint(path, named, CONFIG.optimizer.build(named, []))
    return all(bool(torch.isfinite(p).all()) for p in named.values())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_every_step(monkeypatch)
    real = loop._Run._step

    def step(self: Any, number: int, factor: float) -> Any:
        out = real(self, number, factor)
        if number == 5:
            next(self.network.parameters()).data[0] = float("nan")
        return out

    monkeypatch.setattr(loop._Run, "_step", step)
    with pytest.raises(RunError, match=r"the loss is nan at step 7; lower the learning rate") as error:
        train(facts, tmp_path / "run", BRIEF)
    named = tmp_path / "run" / PREVIOUS
    assert f"the last good checkpoint, {named}, is kept" in str(error.value)
    assert read_state(named)["step"] == 5
    assert loads(named, MODEL, facts[1].vocabulary.padded_size)
    assert not loads(tmp_path / "run" / CHECKPOINT, MODEL, facts[1].vocabulary.padded_size)
    assert not (tmp_path / "run/model.safetensors").exists()


def test_a_rate_beyond_reason_publishes_nothing(facts: Parts, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"loss is .* no checkpoint had been due"):
        train(facts, tmp_path / "run", replace(BRIEF, optimizer=AdamW(1e30)))
    assert not (tmp_path / "run/model.safetensors").exists()


def test_a_climbing_loss_stops_and_keeps_a_calm_checkpoint(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_every_step(monkeypatch)
    real = loop._Run._step

    def climbs(self: Any, number: int, factor: float) -> Any:
        loss, norm = real(self, number, factor)
        return loss + max(0, number - 20) * 1.0, norm

    monkeypatch.setattr(loop._Run, "_step", climbs)
    with pytest.raises(RunError, match=r"climbed from .* to .* nats per token at step .* is kept"):
        train(facts, tmp_path / "run", CONFIG)
    kept = newest_checkpoint(tmp_path / "run")
    assert kept is not None
    last = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[-1])["step"]
    assert 20 <= read_state(kept)["step"] < last - 2
    assert loads(kept, MODEL, facts[1].vocabulary.padded_size)


def test_the_checkpoint_holds_no_pickle_and_plain_names(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_every_step(monkeypatch)
    dies_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "cut", BRIEF)
    tensors = load_file(tmp_path / "cut" / CHECKPOINT)
    assert {key.split("/")[0] for key in tensors} == {"model", "optimizer"}
    assert all(t.dtype == torch.float32 for t in tensors.values())
    assert "optimizer/transformer.wte.weight/exp_avg" in tensors
