"""Two ranks under a real torchrun train what one does; checkpoints pass between them; what cannot be is refused."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.training import base_vocabulary, shards

from vocablab.training.checkpoint import CHECKPOINT, read_state
from vocablab.vocab.interventions import FactTokens

SCRIPT = Path(__file__).with_name("ranks_script.py")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("facts")
    shards(base_vocabulary(), FactTokens(), directory)
    return directory


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def run(corpus: Path, out: Path, size: int, **given: Any) -> dict[str, Any]:
    """Train in `size` processes; returns what rank 0 counted, or how it failed."""
    python = [sys.executable]
    if size > 1:
        python += ["-m", "torch.distributed.run", "--nproc-per-node", str(size), "--master-port", str(free_port())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(
        [*python, str(SCRIPT), str(out), json.dumps(given), str(corpus)],
        capture_output=True, check=False, env=environment, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    found = [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(size)]
    assert len({each.get("said") for each in found}) == 1
    return dict(found[0])


def readings(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def close(one: Path, other: Path, loose: float) -> None:
    """All readings of two runs agree, and their weights about as well."""
    mine, theirs = readings(one), readings(other)
    assert [line["step"] for line in mine] == [line["step"] for line in theirs]
    for a, b in zip(mine, theirs, strict=True):
        assert a.keys() == b.keys()
        for key in a.keys() - {"gradient_norm"}:
            assert a[key] == pytest.approx(b[key], rel=loose), (a["step"], key)
        assert a["gradient_norm"] == pytest.approx(b["gradient_norm"], rel=50 * loose)
    x, y = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].shape == y[name].shape
        assert float((x[name] - y[name]).norm()) <= 100 * loose * float(y[name].norm()) + 1e-6, name


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    assert run(corpus, out, 1)["ranks"] == 1
    return out


@pytest.mark.parametrize("micro_batch", [64, 1])
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_ranks_are_one(corpus: Path, alone: Path, tmp_path: Path, parallel: str, micro_batch: int) -> None:
    counts = run(corpus, tmp_path / "run", 2, parallel=parallel, micro_batch=micro_batch)
    assert counts["ranks"] == 2
    assert counts["parameters"] == json.loads((alone / "rank0.json").read_text())["parameters"]
    close(tmp_path / "run", alone, 1e-5)


def test_the_comparison_sees_ranks_that_read_the_same(corpus: Path, alone: Path, tmp_path: Path) -> None:
    """Planted: half the batch, as if both ranks read the same sequences."""
    run(corpus, tmp_path / "run", 1, batch_size=4)
    with pytest.raises(AssertionError):
        close(tmp_path / "run", alone, 1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_muon_on_two_ranks(corpus: Path, tmp_path: Path, parallel: str) -> None:
    run(corpus, tmp_path / "one", 1, muon=True, modern=True)
    run(corpus, tmp_path / "two", 2, muon=True, modern=True, parallel=parallel)
    # Newton and Schulz's steps are in bfloat16: a last bit of a gradient is seen in a step.
    close(tmp_path / "two", tmp_path / "one", 1e-3)


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, "ddp"), (1, "ddp")), ((1, "ddp"), (2, "fsdp")), ((2, "fsdp"), (2, "ddp"))],
)
def test_a_checkpoint_passes_between_ranks(
    corpus: Path, alone: Path, tmp_path: Path, first: tuple[int, str], second: tuple[int, str]
) -> None:
    out = tmp_path / "run"
    # Steps 7 to 9 follow a validation, after which sharded parameters may lie gathered.
    steps = json.loads((alone / "rank0.json").read_text())["steps"]
    stop = round(0.3 * steps) + 1
    assert run(corpus, out, first[0], parallel=first[1], stop=stop - 1)["said"] == "planted"
    assert read_state(out / CHECKPOINT)["step"] == stop - 1
    tensors = load_file(out / CHECKPOINT)
    assert all(torch.isfinite(t).all() for t in tensors.values())
    assert tensors["optimizer/transformer.wte.weight/exp_avg"].shape == tensors["model/transformer.wte.weight"].shape
    run(corpus, out, second[0], parallel=second[1])
    close(out, alone, 1e-5)


def test_what_cannot_be_split_is_one_sentence(corpus: Path, tmp_path: Path) -> None:
    found = run(corpus, tmp_path / "run", 2, batch_size=7)
    assert found["error"] == "UserError"
    assert found["said"] == "a batch of 7 sequences cannot be split evenly over 2 ranks."
    assert not (tmp_path / "run/metrics.jsonl").exists()
