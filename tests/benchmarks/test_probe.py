"""The benchmark of the probes runs."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/probe.py"


def test_it_prints_a_line_per_probe() -> None:
    command = [sys.executable, str(SCRIPT), "--quick", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "rows", "spectra", "linear probes", "linear probes of text", "exposures", "attention", "causes", "layers",
        "retrieval", "composed rows", "untaught tokens", lines[-1].split("  ")[0],
    ]  # fmt: skip
    assert lines[-1].startswith("together")
