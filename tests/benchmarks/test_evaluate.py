"""The contenders of the benchmark give the same scores and the same answers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vocablab.base.modules import load_file

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/evaluate.py"
DATA = ROOT / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")

# Networks this small are many times as fast on one thread on a busy machine, where threads wait for each other.
torch.set_num_threads(1)


@needs_data
def test_likelihoods_agree(tmp_path: Path) -> None:
    benchmark = load_file(str(SCRIPT), "benchmark")
    case = benchmark.Case("likelihood", "tiny", 6)
    benchmark.make_model(case, tmp_path / "model")
    theirs = benchmark.measure(case, "lm-eval", {"batch": 4}, tmp_path / "model")[1]
    ours = benchmark.measure(case, "vocablab", {}, tmp_path / "model")[1]
    assert len(ours) == 24
    assert benchmark.differences(case, theirs, ours) == 0
    with pytest.raises(SystemExit, match="log-likelihoods differ"):
        benchmark.differences(case, theirs, [*ours[:-1], ours[-1] + 0.01])


@needs_data
def test_answers_agree_and_some_end(tmp_path: Path) -> None:
    benchmark = load_file(str(SCRIPT), "benchmark")
    case = benchmark.Case("generation", "tiny", 10, 24, ends=True)
    benchmark.make_model(case, tmp_path / "model")
    theirs = benchmark.measure(case, "transformers", {"batch": 4, "sorted": True}, tmp_path / "model")[1]
    assert min(len(answer) for answer in theirs) < 24
    for who in ("vocablab", "vocablab without guesses"):
        options = benchmark.CONTENDERS["generation"][who][0]
        ours = benchmark.measure(case, who, options, tmp_path / "model")[1]
        assert benchmark.differences(case, theirs, ours) == 0


@needs_data
def test_prints_a_table_and_writes_everything(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [
        sys.executable,
        str(SCRIPT),
        "--quick",
        "--threads",
        "1",
        "--cases",
        "1M",
        "answers-tiny",
        "--json",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for expected in ("lm-eval", "transformers", "vocablab without guesses", "median answer"):
        assert expected in done.stdout
    lines = json.loads(out.read_text())["lines"]
    assert {(line["case"], line["who"]) for line in lines} == {
        ("1M", "lm-eval"), ("1M", "vocablab"), ("answers-tiny", "transformers"), ("answers-tiny", "vocablab"),
        ("answers-tiny", "vocablab without guesses"),
    }  # fmt: skip
    assert all(line["seconds"] > 0 and line["different"] == 0 for line in lines)
    assert [line["goal"] for line in lines if line["who"] == "vocablab"] == [2.5, 2.0]


def test_every_contender_at_its_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = load_file(str(SCRIPT), "benchmark")
    asked = []

    def child(case: Any, who: str, options: dict[str, Any], directory: Path, threads: int) -> tuple[float, list[int]]:
        asked.append(case.items)
        return abs(options["batch"] - 60) + options.get("sorted", 0), []

    monkeypatch.setattr(benchmark, "child", child)
    case = benchmark.Case("generation", "tiny", 64, 8)
    assert benchmark.best_way(case, "transformers", tmp_path, 1) == {"batch": 64, "sorted": False}
    # Fewer prompts than a batch would not tell the ways apart.
    assert set(asked) == {64}
    case = benchmark.Case("likelihood", "tiny", 64)
    assert benchmark.best_way(case, "lm-eval", tmp_path, 1) == {"batch": 32}
