"""The pretraining benchmark runs from end to end, and believes no time of a contender that trains something else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vocablab.base.modules import load_file

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks/pretrain.py"


def test_prints_tables_and_goals_and_writes_everything(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [
        sys.executable, str(SCRIPT), "--data", str(tmp_path), "--sizes", "smoke", "--repeats", "1", "--steps", "6",
        "--skip-compiled", "--sample-tokens", "20000", "--out", str(out),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for expected in ("best matrix product", "eager float32 loop", "transformers GPT-2", "sample efficiency on",
                     "goals:", "smoke: speed of the eager loop", "modern_tiny with half the tokens"):  # fmt: skip
        assert expected in done.stdout
    report = json.loads(out.read_text())
    rows = report["sizes"]["smoke"]["rows"]
    assert set(rows) == {"eager float32 loop", "transformers GPT-2", "vocablab, float32", "vocablab"}
    assert all(row["tokens_per_second"] > 0 and row["peak_mib"] > 0 for row in rows.values())
    assert rows["eager float32 loop"]["ratio"] == 1.0
    assert report["sample_efficiency"]["modern_tiny"]["tokens"] <= report["sample_efficiency"]["tiny"]["tokens"] / 2
    assert len(report["goals"]) == 4


def test_refuses_times_if_the_losses_differ() -> None:
    benchmark = load_file(str(SCRIPT), "pretrain_benchmark")
    same, other = {"losses": [5.0, 4.9, 4.8, 4.7, 4.6]}, {"losses": [5.0, 4.9, 4.8, 4.7, 4.61]}
    found = benchmark.check_losses("smoke", {benchmark.EAGER: [same], benchmark.FLOAT32: [same]})
    assert found[benchmark.FLOAT32] == 0.0
    with pytest.raises(SystemExit, match="differ from the eager loop's"):
        benchmark.check_losses("smoke", {benchmark.EAGER: [same], benchmark.FLOAT32: [same, other]})
