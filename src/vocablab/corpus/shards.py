"""Token shards: a flat array of tokens and an index of documents.

A shard is a directory with ``tokens.npy`` (uint16 or uint32, one document after another, each ended by EOS)
and ``documents.npy`` (structured: `start`, `tokens` with EOS, `raw_bytes`, `lost_bits`, `hash`).
``np.load(path, mmap_mode="r")`` reads both.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vocablab.base.errors import UserError

DOCUMENT_TYPE = np.dtype(
    [("start", "<i8"), ("tokens", "<i8"), ("raw_bytes", "<i8"), ("lost_bits", "<f8"), ("hash", "S64")]
)
"""`hash` is the SHA-256 (hex) of the raw text: arms that read the same documents have equal columns."""


@dataclass(frozen=True)
class Shard:
    """A shard in memory-mapped form."""

    tokens: np.ndarray
    """Token ids, shape (n,)."""
    documents: np.ndarray
    """One row per document, `DOCUMENT_TYPE`, in order."""

    @property
    def raw_bytes(self) -> int:
        """Raw UTF-8 bytes of all documents."""
        return int(self.documents["raw_bytes"].sum())


def write_shard(
    directory: Path, tokens: list[np.ndarray], documents: list[tuple[int, float, bytes]], size: int
) -> None:
    """Write one shard.

    Args:
        directory: where; created.
        tokens: ids of each document, EOS included.
        documents: for each: raw bytes, bits lost by lossy replacements, hash.
        size: the padded vocabulary, which decides the integer width.
    """
    directory.mkdir(parents=True, exist_ok=True)
    lengths = np.array([len(t) for t in tokens], dtype=np.int64)
    index = np.zeros(len(tokens), dtype=DOCUMENT_TYPE)
    index["tokens"] = lengths
    index["start"] = np.cumsum(lengths) - lengths
    index["raw_bytes"] = [d[0] for d in documents]
    index["lost_bits"] = [d[1] for d in documents]
    index["hash"] = [d[2] for d in documents]
    kind = np.uint16 if size <= 2**16 else np.uint32
    np.save(directory / "tokens.npy", np.concatenate(tokens).astype(kind) if tokens else np.zeros(0, kind))
    np.save(directory / "documents.npy", index)


def read_shard(directory: Path) -> Shard:
    """Open a shard, memory-mapped.

    Raises:
        UserError: if a file is missing or damaged.
    """
    try:
        tokens = np.load(directory / "tokens.npy", mmap_mode="r", allow_pickle=False)
        documents = np.load(directory / "documents.npy", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"the shard {directory} is missing or damaged: {error}.") from None
    return Shard(tokens, documents)
