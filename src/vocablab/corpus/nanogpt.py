"""Token files of nanoGPT (github.com/karpathy/nanoGPT): ``train.bin`` and ``val.bin``, uint16 without a header."""

from pathlib import Path
from typing import Any

import numpy as np

from vocablab.base.errors import UserError
from vocablab.base.files import write_json_atomically
from vocablab.corpus.hashing import text_hash
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.shards import DOCUMENT_TYPE, read_split, write_shard
from vocablab.vocab.codec import Codec, save_codec

NAMES = {"train": "train.bin", "validation": "val.bin"}
PIECE = 1 << 24
"""Tokens read or written at a time."""


def export_bin(arm: Path, out: Path) -> dict[str, int]:
    """Write an arm's splits as nanoGPT reads them.

    Args:
        arm: directory of an arm of a corpus.
        out: where to write ``train.bin`` and ``val.bin``; created.

    Returns:
        Tokens of each file, by its name.

    Raises:
        UserError: if a file is there already, or the vocabulary does not fit into uint16.
    """
    found = {}
    for split, name in NAMES.items():
        tokens = read_split(arm / split).tokens
        if len(tokens) and tokens[0:1].dtype != np.uint16:
            raise UserError(f"{arm}: nanoGPT's files hold uint16, and this vocabulary has more than 65,536 tokens.")
        path = out / name
        if path.exists():
            raise UserError(f"{path} exists already, and nothing is overwritten.")
        out.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.tmp")
        with open(temporary, "wb") as handle:
            for first in range(0, len(tokens), PIECE):
                np.ascontiguousarray(tokens[first : first + PIECE]).tofile(handle)
        temporary.rename(path)
        found[name] = len(tokens)
    return found


def import_bin(source: Path, codec: Codec, out: Path, shard_tokens: int = 1 << 25) -> dict[str, Any]:
    """Make an arm's directory of nanoGPT's files.

    Documents are what stands between two EOS tokens; their raw text is what the tokens decode to.

    Args:
        source: directory with ``train.bin`` and perhaps ``val.bin``.
        codec: the vocabulary that the tokens are of.
        out: the arm's directory, which must not exist.
        shard_tokens: a shard is closed when it has so many tokens.

    Returns:
        Documents and tokens of each split.

    Raises:
        UserError: if a file is missing or damaged, holds an id beyond the vocabulary, or `out` is there already.
    """
    if out.exists():
        raise UserError(f"{out} exists already, and nothing is overwritten.")
    if not (source / NAMES["train"]).exists():
        raise UserError(f"{source} holds no train.bin.")
    found = {}
    out.mkdir(parents=True)
    for split, name in NAMES.items():
        path = source / name
        if path.exists() and path.stat().st_size % 2:
            raise UserError(f"{path} is no file of uint16 tokens: its size is odd.")
        tokens = np.memmap(path, np.uint16, "r") if path.exists() and path.stat().st_size else np.zeros(0, np.uint16)
        found[split] = _import_split(tokens, codec, out / split, path, shard_tokens)
    save_codec(codec, out)
    # Nothing says how the text was written before it was tokenized: nothing was lost.
    FormCode.empty().save(out)
    write_json_atomically(out / "corpus.json", {"format": 3, "sources": [source.name]})
    return found


def _import_split(tokens: np.ndarray, codec: Codec, out: Path, path: Path, shard_tokens: int) -> dict[str, int]:
    documents = number = 0
    start = 0
    while start < len(tokens) or number == 0:
        piece = _whole_documents(tokens, start, shard_tokens, codec.vocabulary.eos_id)
        if len(piece) and int(piece.max()) >= codec.vocabulary.size:
            last = codec.vocabulary.size - 1
            raise UserError(f"{path} holds the id {int(piece.max())}; the vocabulary ends at {last}.")
        rows = _index(piece, codec)
        write_shard(out, number, np.ascontiguousarray(piece), rows)
        documents += len(rows)
        start += len(piece)
        number += 1
    return {"documents": documents, "tokens": len(tokens)}


def _whole_documents(tokens: np.ndarray, start: int, wanted: int, eos: int) -> np.ndarray:
    """About `wanted` tokens from `start` on, up to the end of a document."""
    end = min(len(tokens), start + wanted)
    while end < len(tokens):
        window = np.asarray(tokens[end - 1 : end - 1 + PIECE])
        found = np.flatnonzero(window == eos)
        if len(found):
            end += int(found[0])
            break
        end = min(len(tokens), end - 1 + len(window))
    return np.asarray(tokens[start:end])


def _index(tokens: np.ndarray, codec: Codec) -> np.ndarray:
    ends = np.flatnonzero(tokens == codec.vocabulary.eos_id) + 1
    if len(tokens) and (not len(ends) or ends[-1] != len(tokens)):
        ends = np.append(ends, len(tokens))  # the last document was cut off
    rows = np.zeros(len(ends), DOCUMENT_TYPE)
    rows["tokens"] = np.diff(ends, prepend=0)
    rows["start"] = ends - rows["tokens"]
    for row in rows:
        ids = tokens[row["start"] : row["start"] + row["tokens"]]
        text = codec.render(ids).encode("utf-8", "surrogatepass")
        row["raw_bytes"] = len(text)
        row["sha256"] = np.frombuffer(text_hash(text), np.uint8)
    return rows
