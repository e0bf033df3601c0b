"""Runs: what workers leave of a block, tokens of every arm and an index, in the corpus's final order.

A run is a safetensors file that lives only until the shards are written. Its documents stand in order of split and
key, so those of one shard lie next to each other.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from vocablab.base.files import write_bytes_atomically

SPLITS = ("train", "validation")


@dataclass
class ArmCounts:
    """What an arm made of the documents of one split."""

    tokens: int = 0
    """Tokens with EOS."""
    added: int = 0
    """Added tokens among them."""
    spans: int = 0
    """Stretches changed."""

    def add(self, other: "ArmCounts") -> None:
        """Sum up."""
        self.tokens += other.tokens
        self.added += other.added
        self.spans += other.spans


@dataclass
class Counts:
    """The documents of one split."""

    documents: int = 0
    """How many."""
    raw_bytes: int = 0
    """Their UTF-8 bytes."""
    base_tokens: int = 0
    """Their tokens in the base vocabulary, without EOS: the measure of mixtures and targets, the same for every arm."""
    arms: dict[str, ArmCounts] = field(default_factory=dict)
    """By arm."""

    def add(self, other: "Counts") -> None:
        """Sum up."""
        self.documents += other.documents
        self.raw_bytes += other.raw_bytes
        self.base_tokens += other.base_tokens
        for name, counts in other.arms.items():
            self.arms.setdefault(name, ArmCounts()).add(counts)


@dataclass
class Summary:
    """What a run holds and what was left out on the way."""

    path: str
    """The file; empty if it holds no document."""
    source: int
    """Number of its source."""
    part: int
    """Number of the part in the source."""
    rows_train: int
    """How many of its documents are of the train split: they stand first."""
    split: dict[str, Counts]
    """What is in it."""
    dropped: dict[str, int]
    """Documents left out, by reason."""
    noticed: dict[str, int]
    """Documents kept that have something worth knowing, by kind."""
    forms: dict[str, dict[str, int]]
    """By arm, how often each form was replaced in training documents."""
    leaks: list[list[str]]
    """Evaluation items found: document, evaluation set, item, kind; the first few."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return json.loads(json.dumps(self, default=lambda value: value.__dict__))  # type: ignore[no-any-return]

    @staticmethod
    def of_json(data: Mapping[str, Any]) -> "Summary":
        """The inverse of `to_json`."""
        split = {
            name: Counts(**{**counts, "arms": {arm: ArmCounts(**values) for arm, values in counts["arms"].items()}})
            for name, counts in data["split"].items()
        }
        return Summary(**{**data, "split": split})


@dataclass
class Run:
    """The arrays of a run. Rows are documents, first those of train by key, then those of validation by key."""

    columns: dict[str, np.ndarray]
    """`key` uint64, `position` int64, `is_train` bool, `raw_bytes` int64, `base_tokens` int64, `sha256` uint8 (n,
    32)."""
    arms: dict[str, "ArmRun"]
    """By arm."""


@dataclass
class ArmRun:
    """What an arm made of a run's documents."""

    tokens: np.ndarray
    """All tokens, EOS after each document: uint16 or uint32."""
    lengths: np.ndarray
    """Tokens of each document, EOS included: int64, shape (n,)."""
    added: np.ndarray
    """Added tokens of each document: int64, shape (n,)."""
    spans: np.ndarray
    """Changed stretches of each document: int64, shape (n,)."""
    forms: list[str]
    """The forms that were replaced."""
    form_rows: np.ndarray
    """Document, form and count of each form in each document: int64, shape (m, 3)."""


def write_run(path: Path, run: Run) -> None:
    """Write a run so that it is whole or absent."""
    arrays = {f"column:{name}": values for name, values in run.columns.items()}
    forms = {}
    for name, arm in run.arms.items():
        for part in ("tokens", "lengths", "added", "spans", "form_rows"):
            arrays[f"{part}:{name}"] = getattr(arm, part)
        forms[name] = arm.forms
    data = save({name: np.ascontiguousarray(values) for name, values in arrays.items()}, {"forms": json.dumps(forms)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


class RunReader:
    """A run on disk, read by column and by stretch."""

    def __init__(self, path: Path) -> None:
        """Open it."""
        self._file = safe_open(path, framework="np")
        self._forms: dict[str, list[str]] = json.loads(self._file.metadata()["forms"])

    def column(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A column of the index."""
        return self._stretch(f"column:{name}", start, stop)

    def arm(self, part: str, arm: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """An array of an arm: ``tokens``, ``lengths``, ``added``, ``spans`` or ``form_rows``."""
        return self._stretch(f"{part}:{arm}", start, stop)

    def counts(self, rows: np.ndarray, arms: list[str]) -> Counts:
        """Counts of the documents that the mask `rows` takes."""
        return Counts(
            int(rows.sum()),
            int(self.column("raw_bytes")[rows].sum()),
            int(self.column("base_tokens")[rows].sum()),
            {
                arm: ArmCounts(*(int(self.arm(p, arm)[rows].sum()) for p in ("lengths", "added", "spans")))
                for arm in arms
            },
        )

    def forms(self, arm: str) -> list[str]:
        """The forms of an arm's `form_rows`."""
        return self._forms[arm]

    def _stretch(self, name: str, start: int, stop: int | None) -> np.ndarray:
        found: np.ndarray = self._file.get_slice(name)[start:stop] if stop is not None else self._file.get_tensor(name)
        return found[start:] if stop is None else found


def write_block_summary(path: Path, runs: list[Summary]) -> None:
    """Say that a block is done: written after its runs, into their directory."""
    write_bytes_atomically(path, json.dumps([run.to_json() for run in runs]).encode(), parents=False)


def read_block_summary(path: Path) -> list[Summary] | None:
    """What `write_block_summary` wrote; None if the block is not done."""
    try:
        found = [Summary.of_json(data) for data in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if all(not run.path or (path.parent / run.path).exists() for run in found) else None
