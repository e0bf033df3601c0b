"""Many texts to base tokens at once, with the same ids as the base tokenizer itself.

gigatoken (github.com/marcelroed/gigatoken) encodes a byte-level BPE many times as fast as `tokenizers` on one core
(`benchmarks/inject.py` has it against tiktoken). Its tables of letters are those of Unicode 16, those of `tokenizers`
and tiktoken of Unicode 17: a text with one of the letters or numbers added since is left to `tokenizers`. A test
compares them on every character of the planes that hold letters (0 to 3).
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from vocablab.vocab.region_search import RegionSearch

_ADDED_IN_UNICODE_17 = (
    "[\u088f\u0c5c\u0cdc\ua7ce\ua7cf\ua7d2\ua7d4\ua7f1\U00010940-\U00010959\U00010ec5-\U00010ec7"
    "\U00011db0-\U00011ddb\U00011de0-\U00011de9\U00016ea0-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff"
    "\U00018d09-\U00018d1e\U00018d80-\U00018df2\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f\U0002cea2-\U0002cead"
    "\U000323b0-\U00033479]"
)
_NEW_LETTERS = RegionSearch(re.compile(_ADDED_IN_UNICODE_17), (_ADDED_IN_UNICODE_17,))


RENEW_BYTES = 1 << 29
"""After this much text the fast tokenizer is made anew (0.15 s): memory stays bounded whatever there is to read."""


@dataclass(frozen=True)
class EncodedBatch:
    """Many texts as ids in one array."""

    ids: np.ndarray
    """All ids, text after text: int32, shape (n,)."""
    offsets: np.ndarray
    """Where each text begins, and the end of the last: int64, shape (texts + 1,)."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """The ids of one text."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]


class BatchEncoder:
    """The base tokenizer for many texts that hold no lone surrogate."""

    def __init__(self, base: Tokenizer) -> None:
        """Prepare the fast tokenizer, if it is installed.

        Args:
            base: a byte-level BPE without added tokens.
        """
        self._base = base
        self._seen = 0
        self._fast: Any = None
        self._renew()

    def _renew(self) -> None:
        """Make the fast tokenizer anew. It remembers every word it has met, 65 bytes for each, and never forgets."""
        self._seen = 0
        try:
            self._fast = import_module("gigatoken").Tokenizer.from_json(self._base.to_str())
        except ImportError:
            self._fast = None

    def encode(self, texts: list[str]) -> EncodedBatch:
        """Ids of `texts`, those of ``base.encode(text, add_special_tokens=False)``. On all cores, or, in a worker
        process of `multiprocessing`, on one.

        Raises:
            UnicodeEncodeError: for a lone surrogate.
        """
        return self.encode_utf8([text.encode() for text in texts])

    def encode_utf8(self, texts: list[bytes]) -> EncodedBatch:
        """The same for texts in valid UTF-8: the fastest way."""
        if self._fast is None:
            encoded = self._base.encode_batch_fast([text.decode() for text in texts], add_special_tokens=False)
            return joined_rows([e.ids for e in encoded])
        if self._seen > RENEW_BYTES:
            self._renew()
        self._seen += sum(map(len, texts))
        slow = [i for i, text in enumerate(texts) if not text.isascii() and _has_new_letter(text)]
        quick = texts
        if slow:
            quick = list(texts)
            for i in slow:
                quick[i] = b""
        layout = self._fast.encode_batch(quick).layout
        offsets = np.asarray(layout.offsets.data, dtype=np.int64)
        ids = np.asarray(layout.content.data)[: offsets[-1]]
        found = EncodedBatch(ids.view(np.int32) if ids.dtype == np.uint32 else ids.astype(np.int32), offsets)
        if not slow:
            return found
        rows: list[Any] = [found[i] for i in range(len(found))]
        for i in slow:
            rows[i] = self._base.encode(texts[i].decode(), add_special_tokens=False).ids
        return joined_rows(rows)


def _has_new_letter(text: bytes) -> bool:
    return _NEW_LETTERS.may_match(text) and _NEW_LETTERS.is_in(text.decode())


def joined_rows(rows: list[Any]) -> EncodedBatch:
    """Rows of ids as one batch."""
    offsets = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int64)
    ids = np.concatenate([np.asarray(row, dtype=np.int32) for row in rows]) if rows else np.zeros(0, dtype=np.int32)
    return EncodedBatch(ids, offsets)
