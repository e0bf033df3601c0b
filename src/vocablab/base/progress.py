"""How long work reports how far it is, without knowing who listens (a terminal, a log, nobody)."""

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one stage of one run."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Say that `done` of `total` units of `stage` are through; `note` is a short reading such as a loss."""


def silent(stage: str, done: float, total: float, note: str = "") -> None:
    """A listener that hears nothing."""
