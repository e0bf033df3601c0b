"""Evaluation items in training documents (rule 10): overlap of words, and canonical facts.

A document is flagged for an item if it has a stretch of 13 of its words (as for GPT-3: Brown et al. 2020, appendix
C), or at least 70 % of its stretches of 8 words (as for PaLM: Chowdhery et al. 2022, section 8), or, for an item that
is one held-out fact, if it states the fact in any order or by its inverse.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vocablab.base.files import read_json
from vocablab.corpus.fact_scan import fact_keys
from vocablab.corpus.words import ngrams, word_hashes, words_with_places

LONG, SHORT = 13, 8
"""Words in the stretches that are compared."""
SHORT_SHARE = 0.7
"""Share of an item's stretches of 8 words that flags a document."""
MOST_NUMBERS = 0.7
"""Largest share of numbers in a stretch that is compared."""
_BITS = 24


@dataclass(frozen=True)
class EvaluationText:
    """One text of an evaluation item: its question, its answer, or one fact."""

    set: str
    """Name of the evaluation set."""
    item: str
    """Name of the item in it."""
    text: str
    """The text; empty if only the facts count."""
    facts: tuple[str, ...] = ()
    """Canonical keys of the facts that a training document must not state (`fact_scan.canonical`)."""


@dataclass(frozen=True)
class Leak:
    """An item found in a document."""

    set: str
    """Name of the evaluation set."""
    item: str
    """Name of the item."""
    kind: str
    """``13 words``, ``8 words`` or ``fact MUL:6,9=54``."""


class _Grams:
    """Hashes of stretches of words, each with the texts that have it."""

    def __init__(self, hashes: np.ndarray, owners: np.ndarray) -> None:
        """Prepare the search.

        Args:
            hashes: of all stretches, in order: uint64, shape (n,).
            owners: number of the text that has each: int64, shape (n,).
        """
        self.hashes, self.owners = hashes, owners
        self._maybe = np.zeros(1 << _BITS, dtype=bool)
        for places in self._places(hashes):
            self._maybe[places] = True

    @staticmethod
    def _places(grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two places in the filter: both are marked for every known stretch, and seldom for another."""
        mask = np.uint64((1 << _BITS) - 1)
        return (grams >> np.uint64(64 - _BITS)).astype(np.intp), (grams & mask).astype(np.intp)

    def hits(self, grams: np.ndarray) -> np.ndarray:
        """Those of `grams` that are known."""
        first, second = self._places(grams)
        likely = grams[self._maybe[first] & self._maybe[second]]
        if not len(likely) or not len(self.hashes):
            return likely[:0]
        at = np.minimum(np.searchsorted(self.hashes, likely), len(self.hashes) - 1)
        return likely[self.hashes[at] == likely]

    def owners_of(self, gram: np.uint64) -> np.ndarray:
        """The texts that have this stretch."""
        first, last = np.searchsorted(self.hashes, gram, "left"), np.searchsorted(self.hashes, gram, "right")
        return self.owners[first:last]


def _stretches(texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """All different stretches of `n` words of each text: their hashes in order, and the number of their text."""
    # One long text: thousands of short ones would each cost a hundred calls of numpy.
    words, places, is_number = words_with_places("\n".join(texts))
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    owners = np.searchsorted(ends, places, side="right")
    grams = ngrams(words, n)
    numbers = np.concatenate([[0], np.cumsum(is_number)])
    # A row of numbers (1, 2, 3, ...) stands in many texts that have nothing to do with each other.
    speaks = numbers[n:] - numbers[:-n] <= MOST_NUMBERS * n if len(grams) else np.zeros(0, dtype=bool)
    inside = owners[: len(grams)] == owners[n - 1 :][: len(grams)]
    grams, owners, speaks = grams[inside], owners[: len(grams)][inside], speaks[inside]
    # An item that is nothing but a formula has no other stretches.
    speaks |= np.bincount(owners[speaks], minlength=len(texts))[owners] == 0
    grams, owners = grams[speaks], owners[speaks]
    order = np.lexsort((owners, grams))
    grams, owners = grams[order], owners[order]
    new = np.ones(len(grams), dtype=bool)
    new[1:] = (grams[1:] != grams[:-1]) | (owners[1:] != owners[:-1])
    return grams[new], owners[new]


class LeakIndex:
    """All evaluation items, ready to be found."""

    def __init__(self, texts: Iterable[EvaluationText], known: Mapping[str, np.ndarray] | None = None) -> None:
        """Index the texts; one of fewer than 8 words can be found by its facts only.

        Args:
            texts: the items.
            known: what `save` wrote of the same texts, so as not to compute it again.
        """
        self.texts = tuple(texts)
        if known is None:
            each = [text.text for text in self.texts]
            found = {n: _stretches(each, n) for n in (LONG, SHORT)}
            known = {f"{name}{n}": found[n][i] for n in (LONG, SHORT) for i, name in enumerate(("hashes", "owners"))}
        self._arrays = known
        self._long = _Grams(known[f"hashes{LONG}"], known[f"owners{LONG}"])
        self._short = _Grams(known[f"hashes{SHORT}"], known[f"owners{SHORT}"])
        self._sizes = np.bincount(self._short.owners, minlength=len(self.texts))

    @cached_property
    def _facts(self) -> dict[str, int]:
        return {key: number for number, text in reversed(list(enumerate(self.texts))) for key in text.facts}

    def too_short(self) -> Counter[str]:
        """By evaluation set, how many texts are too short for the scan of words and hold no fact."""
        return Counter(t.set for t, size in zip(self.texts, self._sizes, strict=True) if not size and not t.facts)

    def find(self, text: str) -> Leak | None:
        """The first reason to flag a document, or None."""
        words = word_hashes(text)
        # A long stretch in common is several short ones in common: most documents have none.
        hits = np.unique(self._short.hits(ngrams(words, SHORT)))
        if len(hits):
            for gram in self._long.hits(ngrams(words, LONG))[:1]:
                return self._leak(int(self._long.owners_of(gram)[0]), f"{LONG} words")
            seen = Counter(int(owner) for gram in hits for owner in self._short.owners_of(gram))
            for owner, count in seen.most_common():
                if count >= SHORT_SHARE * self._sizes[owner]:
                    return self._leak(owner, f"{SHORT} words")
        return self._fact(text)

    def _fact(self, text: str) -> Leak | None:
        if not self._facts:
            return None
        found = sorted(key for key in fact_keys(text) if key in self._facts)
        return self._leak(self._facts[found[0]], f"fact {found[0]}") if found else None

    def _leak(self, number: int, kind: str) -> Leak:
        return Leak(self.texts[number].set, self.texts[number].item, kind)

    def save(self, directory: Path) -> None:
        """Write the texts and their index for worker processes."""
        directory.mkdir(parents=True, exist_ok=True)
        rows = [[t.set, t.item, t.text, list(t.facts)] for t in self.texts]
        (directory / "texts.json").write_text(json.dumps(rows), encoding="utf-8")
        for name, array in self._arrays.items():
            np.save(directory / f"{name}.npy", array)

    @staticmethod
    def load(directory: Path) -> "LeakIndex":
        """The inverse of `save`; the index is memory-mapped, so workers share it."""
        rows = read_json(directory / "texts.json", "the evaluation items of a leak scan")
        texts = [EvaluationText(one, item, text, tuple(facts)) for one, item, text, facts in rows]
        return LeakIndex(texts, {path.stem: np.load(path, mmap_mode="r") for path in directory.glob("*.npy")})
