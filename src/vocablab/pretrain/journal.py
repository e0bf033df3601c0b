"""What a run writes while it runs: readings as JSONL and for TensorBoard, and its speed."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"
"""Readings of the run: the same bytes however often it was interrupted."""
SPEED = "speed.jsonl"
"""Tokens per second and the like: another on every machine, hence a file of its own."""
TENSORBOARD = "tensorboard"


class Journal:
    """Writes readings as they come."""

    def __init__(self, directory: Path, lines: list[dict[str, Any]]) -> None:
        """Go on after `lines`, the readings that a checkpoint knows; later ones of an interrupted run are dropped."""
        self.lines = lines
        self._metrics, self._speed = directory / METRICS, directory / SPEED
        self._metrics.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        self._board = _board(directory / TENSORBOARD, lines[-1]["step"] + 1 if lines else 0)

    def reading(self, line: dict[str, Any]) -> None:
        """Add a reading."""
        self.lines.append(line)
        with open(self._metrics, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        self._scalars(line)

    def speed(self, line: dict[str, Any]) -> None:
        """Add a reading of the speed."""
        with open(self._speed, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        self._scalars(line)

    def close(self) -> None:
        """Flush what is not yet written."""
        if self._board is not None:
            self._board.close()

    def _scalars(self, line: dict[str, Any]) -> None:
        if self._board is not None:
            for name, value in line.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, line["step"])


class SilentJournal:
    """The journal of a rank that does not lead."""

    lines: tuple[dict[str, Any], ...] = ()

    def reading(self, line: dict[str, Any]) -> None:
        """Nothing: rank 0 writes."""

    def speed(self, line: dict[str, Any]) -> None:
        """Nothing: rank 0 writes."""

    def close(self) -> None:
        """Nothing is open."""


def _board(directory: Path, first_step: int) -> Any:
    """TensorBoard's writer; None on a bare machine that has no TensorBoard."""
    try:
        writer = import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError:
        return None
    return writer(str(directory), purge_step=first_step)
