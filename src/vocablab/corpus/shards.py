"""Token shards: flat arrays of tokens and an index of documents.

A split (``train``, ``validation``) is a directory with ``00000.tokens.npy`` (uint16 or uint32, one document after
another, each ended by EOS) and ``00000.documents.npy`` (`DOCUMENT_TYPE`), and so on with 00001. ``np.load(path,
mmap_mode="r")`` reads both; docs/corpora.md has the format.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vocablab.base.errors import UserError

DOCUMENT_TYPE = np.dtype(
    [
        ("start", "<i8"),
        ("tokens", "<i8"),
        ("raw_bytes", "<i8"),
        ("lost_bits", "<f8"),
        ("source", "<u2"),
        ("sha256", "u1", (32,)),
    ]
)
"""First token in the shard, tokens with EOS, raw UTF-8 bytes, bits lost by replacements (rule 5), number of the
source in `corpus.json`, and the SHA-256 of the raw text: arms that read the same documents have equal columns."""


@dataclass(frozen=True)
class Shard:
    """One pair of files, memory-mapped."""

    tokens: np.ndarray
    """Token ids, shape (n,)."""
    documents: np.ndarray
    """One row per document, `DOCUMENT_TYPE`, in order."""


class Tokens:
    """The tokens of several shards as one long array that is never in memory."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        """Join `arrays`, each of shape (n,)."""
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, wanted: slice) -> np.ndarray:
        """A stretch, ``tokens[start:stop]``."""
        start, stop, step = wanted.indices(len(self))
        assert step == 1
        if start >= stop:
            return np.zeros(0, dtype=self._arrays[0].dtype if self._arrays else np.uint16)
        index = int(np.searchsorted(self._ends, start, side="right"))
        pieces = []
        while start < stop:
            end = int(self._ends[index])
            begin = end - len(self._arrays[index])
            pieces.append(self._arrays[index][start - begin : min(stop, end) - begin])
            start, index = end, index + 1
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


@dataclass(frozen=True)
class Split:
    """All shards of a split as one."""

    shards: tuple[Shard, ...]
    """In order."""

    @cached_property
    def tokens(self) -> Tokens:
        """All tokens, one shard after another."""
        return Tokens([shard.tokens for shard in self.shards])

    @cached_property
    def documents(self) -> np.ndarray:
        """All rows of the index, `start` counted from the beginning of the split: about 66 bytes a document in
        memory."""
        rows = []
        before = 0
        for shard in self.shards:
            own = np.array(shard.documents)
            own["start"] += before
            before += len(shard.tokens)
            rows.append(own)
        return np.concatenate(rows) if rows else np.zeros(0, DOCUMENT_TYPE)

    @cached_property
    def raw_bytes(self) -> int:
        """Raw UTF-8 bytes of all documents."""
        return sum(int(shard.documents["raw_bytes"].sum()) for shard in self.shards)

    @cached_property
    def lost_bits(self) -> float:
        """Bits that replacements lost, over all documents."""
        return sum(float(shard.documents["lost_bits"].sum()) for shard in self.shards)


def write_shard(directory: Path, number: int, tokens: np.ndarray, documents: np.ndarray) -> None:
    """Write one shard, each file whole or absent.

    Args:
        directory: that of the split; created.
        number: of the shard.
        tokens: uint16 or uint32, shape (n,).
        documents: `DOCUMENT_TYPE`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for kind, array in (("tokens", tokens), ("documents", documents)):
        path = directory / f"{number:05d}.{kind}.npy"
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as handle:
            np.save(handle, array)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)


def shard_numbers(directory: Path) -> Iterator[int]:
    """The shards of a split, in order."""
    yield from sorted(int(path.name.split(".")[0]) for path in directory.glob("[0-9]*.tokens.npy"))


def read_shard(directory: Path, number: int) -> Shard:
    """Open one shard, memory-mapped.

    Raises:
        UserError: if a file is missing or damaged.
    """
    try:
        tokens = np.load(directory / f"{number:05d}.tokens.npy", mmap_mode="r", allow_pickle=False)
        documents = np.load(directory / f"{number:05d}.documents.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"the shard {directory}/{number:05d} is missing or damaged: {error}.") from None
    if documents.dtype != DOCUMENT_TYPE or int(documents["tokens"].sum()) != len(tokens):
        raise UserError(f"the shard {directory}/{number:05d} is damaged: its index does not fit its tokens.")
    return Shard(tokens, documents)


def read_split(directory: Path) -> Split:
    """Open all shards of a split, memory-mapped.

    Raises:
        UserError: if there is none, one is missing, or a file is damaged.
    """
    numbers = list(shard_numbers(directory))
    if not numbers or numbers != list(range(len(numbers))):
        raise UserError(f"{directory} holds no shards, or one is missing: {numbers}.")
    return Split(tuple(read_shard(directory, number) for number in numbers))
