"""The command line as a user's shell has it."""

import os
import subprocess
import sys
from pathlib import Path


def vocablab(*arguments: str, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run `vocablab` with the hub out of reach."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"}
    environment.pop("VOCABLAB_DATA", None)
    command = [sys.executable, "-c", "from vocablab.lab.cli import main; main()", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=cwd, env=environment)
