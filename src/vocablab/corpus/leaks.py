"""Evaluation items in training documents (rule 10): overlap of words, and canonical facts.

A document is flagged for an item if it has a stretch of 13 of its words (as for GPT-3: Brown et al. 2020, appendix
C), or at least 70 % of its stretches of 8 words (as for PaLM: Chowdhery et al. 2022, section 8), or, for an item that
is one held-out fact, if it states the fact in any order or by its inverse.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vocablab.base.files import read_json
from vocablab.corpus.fact_scan import fact_keys, may_state
from vocablab.corpus.words import ngrams, word_hashes

LONG, SHORT = 13, 8
"""Words in the stretches that are compared."""
SHORT_SHARE = 0.7
"""Share of an item's stretches of 8 words that flags a document."""
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
    """Canonical keys of the facts that a training document must not state (`fact_scan.undone`)."""


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
        order = np.lexsort((owners, hashes))
        self.hashes, self.owners = hashes[order], owners[order]
        self._maybe = np.zeros(1 << _BITS, dtype=bool)
        self._maybe[(hashes >> np.uint64(64 - _BITS)).astype(np.intp)] = True

    def hits(self, grams: np.ndarray) -> np.ndarray:
        """Those of `grams` that are known."""
        likely = grams[self._maybe[(grams >> np.uint64(64 - _BITS)).astype(np.intp)]]
        if not len(likely) or not len(self.hashes):
            return likely[:0]
        at = np.minimum(np.searchsorted(self.hashes, likely), len(self.hashes) - 1)
        return likely[self.hashes[at] == likely]

    def owners_of(self, gram: np.uint64) -> np.ndarray:
        """The texts that have this stretch."""
        first, last = np.searchsorted(self.hashes, gram, "left"), np.searchsorted(self.hashes, gram, "right")
        return self.owners[first:last]


class LeakIndex:
    """All evaluation items, ready to be found."""

    def __init__(self, texts: Iterable[EvaluationText]) -> None:
        """Index the texts; one of fewer than 8 words can be found by its facts only."""
        self.texts = tuple(texts)

    @cached_property
    def _grams(self) -> tuple[_Grams, _Grams, np.ndarray]:
        """Long and short stretches, and for each text how many different short ones it has."""
        hashes: dict[int, list[np.ndarray]] = {LONG: [], SHORT: []}
        owners: dict[int, list[np.ndarray]] = {LONG: [], SHORT: []}
        sizes = np.zeros(len(self.texts), dtype=np.int64)
        for number, text in enumerate(self.texts):
            words = word_hashes(text.text)
            for n in (LONG, SHORT):
                grams = np.unique(ngrams(words, n))
                hashes[n].append(grams)
                owners[n].append(np.full(len(grams), number))
                if n == SHORT:
                    sizes[number] = len(grams)
        found = [
            _Grams(np.concatenate([np.zeros(0, np.uint64), *hashes[n]]), np.concatenate([np.zeros(0, int), *owners[n]]))
            for n in (LONG, SHORT)
        ]
        return found[0], found[1], sizes

    @cached_property
    def _facts(self) -> dict[str, int]:
        return {key: number for number, text in reversed(list(enumerate(self.texts))) for key in text.facts}

    def too_short(self) -> Counter[str]:
        """By evaluation set, how many texts are too short for the scan of words and hold no fact."""
        sizes = self._grams[2]
        return Counter(t.set for t, size in zip(self.texts, sizes, strict=True) if not size and not t.facts)

    def find(self, text: str) -> Leak | None:
        """The first reason to flag a document, or None."""
        long, short, sizes = self._grams
        words = word_hashes(text)
        for gram in long.hits(ngrams(words, LONG))[:1]:
            return self._leak(int(long.owners_of(gram)[0]), f"{LONG} words")
        hits = np.unique(short.hits(ngrams(words, SHORT)))
        if len(hits):
            seen = Counter(int(owner) for gram in hits for owner in short.owners_of(gram))
            for owner, count in seen.most_common():
                if count >= SHORT_SHARE * sizes[owner]:
                    return self._leak(owner, f"{SHORT} words")
        return self._fact(text)

    def _fact(self, text: str) -> Leak | None:
        if not self._facts:
            return None
        data = text.encode("utf-8", "replace")
        if not may_state(data):
            return None
        found = sorted(key for key in fact_keys(text) if key in self._facts)
        return self._leak(self._facts[found[0]], f"fact {found[0]}") if found else None

    def _leak(self, number: int, kind: str) -> Leak:
        return Leak(self.texts[number].set, self.texts[number].item, kind)

    def save(self, directory: Path) -> None:
        """Write the texts for worker processes."""
        directory.mkdir(parents=True, exist_ok=True)
        rows = [[t.set, t.item, t.text, list(t.facts)] for t in self.texts]
        (directory / "texts.json").write_text(json.dumps(rows), encoding="utf-8")

    @staticmethod
    def load(directory: Path) -> "LeakIndex":
        """The inverse of `save`."""
        rows = read_json(directory / "texts.json", "the evaluation items of a leak scan")
        return LeakIndex(EvaluationText(one, item, text, tuple(facts)) for one, item, text, facts in rows)
