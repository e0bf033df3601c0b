"""The contenders of the benchmark do the same work."""

from pathlib import Path

import pytest
import torch

from vocablab.base.modules import load_file
from vocablab.model.gpt2 import GPT2Config

SCRIPT = Path(__file__).parents[2] / "benchmarks/posttrain.py"

torch.set_num_threads(1)


def test_both_train_on_the_same_amounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load_file(str(SCRIPT), "benchmark")
    monkeypatch.setitem(benchmark.SHAPES, "1M", GPT2Config(1, 2, 32, 128))
    monkeypatch.setattr(benchmark, "PROMPTS", 2)
    monkeypatch.setattr(benchmark, "GROUP", 2)
    monkeypatch.setattr(benchmark, "LONGEST", 6)
    start = benchmark.start_model("1M", tmp_path, 2)
    for kind, key in (("sft", "tokens"), ("grpo", "length")):
        found = {who: benchmark.measure(kind, who, start, 2) for who in ("TRL, float32", "vocablab")}
        assert found["vocablab"][key] == pytest.approx(found["TRL, float32"][key], rel=0.2)
        assert all(one["seconds"] > 0 for one in found.values())
