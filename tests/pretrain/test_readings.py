"""What a run writes while it runs: streamed readings, dropped lines, TensorBoard, the hook's numbers, kept weights."""

import json
import math
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.training import (
    CONFIG,
    MODEL,
    SHORT,
    Parts,
    base_vocabulary,
    checkpoint_every_step,
    dies_at,
    shards,
    train,
)

from vocablab.model.network import Network
from vocablab.model.new_rows import ComposedRows
from vocablab.pretrain import journal
from vocablab.training.checkpoint import load_weights
from vocablab.vocab.interventions import FactTokens

BRIEF = replace(CONFIG, budget=SHORT, evaluate_every=0.25)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return shards(base_vocabulary(), FactTokens(), tmp_path_factory.mktemp("facts"))


def lines(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("composed", [False, True])
def test_the_hook_is_called_at_every_reading_and_its_numbers_are_kept(
    facts: Parts, tmp_path: Path, composed: bool
) -> None:
    seen: list[Network] = []

    def hook(network: Network) -> dict[str, float]:
        assert not network.training
        assert all(not p.requires_grad or p.grad is None for p in network.parameters())
        seen.append(network)
        return {"task.score": float(len(seen))}

    config = replace(BRIEF, keep_checkpoints=True, new_rows=ComposedRows(width=8) if composed else BRIEF.new_rows)
    counts = train(facts, tmp_path / "run", config, hook=hook)
    read = [line for line in lines(tmp_path / "run") if "val_bits_per_byte" in line]
    assert [line["task.score"] for line in read] == [1.0, 2.0, 3.0, 4.0, 5.0][: len(read)]
    assert len(read) == len(seen) >= 4
    assert read[-1]["step"] == counts["steps"]
    assert counts["final"] == read[-1]
    # Every kept file loads into the plain network, and is what the hook saw.
    kept = sorted((tmp_path / "run/checkpoints").iterdir())
    assert [path.name for path in kept] == [f"step-{line['step']:08d}.safetensors" for line in read]
    for path, network in zip(kept, seen, strict=True):
        loaded = MODEL.network(facts[1].vocabulary.padded_size)
        load_weights(loaded, path)
        assert all(torch.equal(v, network.state_dict()[k]) for k, v in loaded.state_dict().items())
    # The last of them is the published model.
    final, last = load_file(tmp_path / "run/model.safetensors"), load_file(kept[-1])
    assert final.keys() == last.keys()
    assert all(torch.equal(final[k], last[k]) for k in final)


def test_the_hook_changes_nothing(facts: Parts, tmp_path: Path) -> None:
    def hook(network: Network) -> dict[str, float]:
        torch.manual_seed(len(list(network.parameters())))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        return {"a": 1.0}

    train(facts, tmp_path / "plain", BRIEF)
    train(facts, tmp_path / "hooked", BRIEF, hook=hook)
    assert (tmp_path / "plain/model.safetensors").read_bytes() == (tmp_path / "hooked/model.safetensors").read_bytes()


def test_a_hook_that_raises_stops_the_run_and_spoils_nothing(facts: Parts, tmp_path: Path) -> None:
    def hook(network: Network) -> dict[str, float]:
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        train(facts, tmp_path / "run", BRIEF, hook=hook)
    counts = train(facts, tmp_path / "run", BRIEF)
    train(facts, tmp_path / "other", BRIEF)
    assert counts["final"] == lines(tmp_path / "other")[-1]


def test_readings_are_streamed_and_dropped_after_the_checkpoint(
    facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_every_step(monkeypatch)
    dies_at(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "run", BRIEF)
    assert [line["step"] for line in lines(tmp_path / "run")] == list(range(1, 8))
    journal.Journal(tmp_path / "run", lines(tmp_path / "run")[:3]).close()
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2, 3]
    with open(tmp_path / "run/metrics.jsonl", "a") as handle:
        handle.write('{"step": 99, "half a li')
    steps = train(facts, tmp_path / "run", BRIEF)["steps"]
    assert [line["step"] for line in lines(tmp_path / "run")] == list(range(1, steps + 1))


def test_a_reading_says_what_it_should(facts: Parts, tmp_path: Path) -> None:
    train(facts, tmp_path / "run", BRIEF)
    _, codec, training, _ = facts
    found = lines(tmp_path / "run")
    first = found[0]
    assert first["tokens"] == 8 * MODEL.n_positions
    assert first["learning_rate"] == pytest.approx(3e-3 / 5)
    # Untrained, the loss is about that of a uniform guess over the padded vocabulary.
    assert first["train_nats_per_token"] == pytest.approx(math.log(codec.vocabulary.padded_size), abs=0.1)
    per_byte = len(training.tokens) / training.raw_bytes
    lost = training.lost_bits / training.raw_bytes
    for line in found:
        expected = line["train_nats_per_token"] / math.log(2) * per_byte + lost
        assert line["train_bits_per_byte"] == pytest.approx(expected)
        assert line["gradient_norm"] > 0
    speeds = [json.loads(line) for line in (tmp_path / "run/speed.jsonl").read_text().splitlines()]
    assert all(line["tokens_per_second"] > 0 and line["mfu"] is None for line in speeds)
    assert len(speeds) >= 3


def test_tensorboard_can_read_it(facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    checkpoint_every_step(monkeypatch)
    dies_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        train(facts, tmp_path / "run", BRIEF)
    train(facts, tmp_path / "run", BRIEF)
    board = EventAccumulator(str(tmp_path / "run/tensorboard"))
    board.Reload()
    found = lines(tmp_path / "run")
    for name in ("train_bits_per_byte", "val_bits_per_byte", "learning_rate", "gradient_norm"):
        wanted = {line["step"]: line[name] for line in found if name in line}
        events = board.Scalars(name)
        assert [event.step for event in events] == sorted(wanted)
        assert [event.value for event in events] == pytest.approx([wanted[event.step] for event in events])


def test_without_tensorboard_nothing_is_missed(facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        if "tensorboard" in name:
            raise ModuleNotFoundError(name)
        return import_module(name)

    monkeypatch.setattr(journal, "import_module", absent)
    train(facts, tmp_path / "run", BRIEF)
    assert not (tmp_path / "run/tensorboard").exists()
    assert lines(tmp_path / "run")
