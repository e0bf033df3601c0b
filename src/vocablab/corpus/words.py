"""Texts as sequences of words for overlap scans: what stays the same when spaces, case, or signs change.

Letters are lower-cased and full-width characters folded; everything that is no letter and no digit separates; a digit
beside a letter separates too; a comma between thousands does not; every CJK character is a word; words that stand for
arithmetic signs (times, plus, equals, is) are left out, since the signs are. Words are 64-bit hashes: polynomial,
modulo 2^64, of the characters, so a text of any length takes a few passes of numpy.
"""

import unicodedata
from functools import lru_cache

import numpy as np

_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_CHUNK = 1 << 18
"""Powers are taken relative to the beginning of a chunk of this many characters."""
SILENT = ("x", "times", "multiplied", "by", "plus", "minus", "divided", "over", "equals", "equal", "is", "to")
"""Words left out: they stand for a sign, or beside a word that does."""
_LETTER, _DIGIT, _CJK = 1, 2, 3


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For each character of the basic plane: what it is folded to, and its kind (0: it separates)."""
    folded, kind = np.zeros(1 << 16, dtype=np.uint32), np.zeros(1 << 16, dtype=np.uint8)
    for code in range(1 << 16):
        text = unicodedata.normalize("NFKC", chr(code)).lower()[:1]
        if not text.isalnum():
            continue
        folded[code] = ord(text)
        if text.isdigit():
            kind[code] = _DIGIT
        else:
            kind[code] = _CJK if _is_cjk(ord(text)) else _LETTER
    return folded, kind


def _is_cjk(code: int) -> bool:
    return 0x3040 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF


@lru_cache(maxsize=1)
def _powers() -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore"):
        up, down = np.full(_CHUNK + 1, _BASE), np.full(_CHUNK + 1, _INVERSE)
        up[0] = down[0] = 1
        return np.cumprod(up, dtype=np.uint64), np.cumprod(down, dtype=np.uint64)


def word_hashes(text: str) -> np.ndarray:
    """The words of a text in order: uint64, shape (words,)."""
    return words_with_places(text)[0]


def words_with_places(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of a text in order, the character at which each begins, and whether it is a number.

    Returns:
        uint64, int64 and bool, shape (words,).
    """
    folded_table, kind_table = _tables()
    if text.isascii():
        codes: np.ndarray = np.frombuffer(text.encode(), dtype=np.uint8)
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    kind, folded = kind_table.take(codes, mode="clip"), folded_table.take(codes, mode="clip")
    above = codes >= 1 << 16 if codes.dtype == np.uint32 else np.zeros(1, dtype=bool)
    if above.any():
        # Beyond the basic plane: Han characters are words, the rest (emoji, old scripts) separates.
        han = (codes >= 0x20000) & (codes <= 0x323AF)
        kind = np.where(above, np.where(han, _CJK, 0), kind).astype(np.uint8)
        folded = np.where(above, codes, folded).astype(np.uint32)
    place = np.arange(len(codes))
    commas = np.flatnonzero(codes == 0x2C)
    if len(commas):
        commas = commas[_between_thousands(kind, commas)]
    if len(commas):
        kind, folded, place = (np.delete(array, commas) for array in (kind, folded, place))
    if not len(kind):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
    begins = kind == _CJK
    begins[0] = True
    begins[1:] |= kind[1:] != kind[:-1]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(kind))
    is_word = kind[starts] > 0
    starts = starts[is_word]
    hashes = _hash_stretches(folded, starts, ends[is_word])
    spoken = ~np.isin(hashes, _silent())
    starts = starts[spoken]
    return hashes[spoken], place[starts], kind[starts] == _DIGIT


@lru_cache(maxsize=1)
def _silent() -> np.ndarray:
    codes = [np.array([ord(c) for c in word], dtype=np.uint32) for word in SILENT]
    return np.concatenate([_hash_stretches(c, np.array([0]), np.array([len(c)])) for c in codes])


def _between_thousands(kind: np.ndarray, commas: np.ndarray) -> np.ndarray:
    """Which commas stand between a digit and exactly three more."""
    digit = np.concatenate([[False], kind == _DIGIT, [False] * 5])
    after = commas + 1
    result: np.ndarray = digit[after - 1] & digit[after + 1] & digit[after + 2] & digit[after + 3] & ~digit[after + 4]
    return result


def _hash_stretches(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A hash of ``codes[start:end]`` for each stretch: uint64."""
    up, down = _powers()
    found = []
    with np.errstate(over="ignore"):
        for begin in range(0, len(codes), _CHUNK // 2):
            first, last = np.searchsorted(starts, [begin, begin + _CHUNK // 2])
            if first == last:
                continue
            # A word that is longer than half a chunk is cut: no evaluation item has one.
            window = codes[begin : begin + _CHUNK].astype(np.uint64)
            sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(window * up[: len(window)], dtype=np.uint64)])
            start = starts[first:last] - begin
            end = np.minimum(ends[first:last] - begin, len(window))
            value = (sums[end] - sums[start]) * down[start]
            value = (value ^ (value >> np.uint64(29))) * _BASE
            found.append(value ^ (value >> np.uint64(32)))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)


def ngrams(words: np.ndarray, n: int) -> np.ndarray:
    """Hashes of all stretches of `n` words: uint64, shape (words - n + 1,)."""
    size = len(words) - n + 1
    if size <= 0:
        return np.zeros(0, dtype=np.uint64)
    with np.errstate(over="ignore"):
        value = np.full(size, n, dtype=np.uint64)
        for offset in range(n):
            value = value * np.uint64(0xD6E8FEB86659FD93) + words[offset : offset + size]
        return np.asarray(value ^ (value >> np.uint64(31)))
