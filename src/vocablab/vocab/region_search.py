"""A regular expression searched fast where it rarely matches.

Hyperscan (github.com/intel/hyperscan) reads the text at close to memory speed with a looser pattern and says from where
to where a match may lie; Python's `re` then searches those regions only. The matches are those of `re`, no more and
no fewer, as long as the looser pattern matches at least what the pattern does.
"""

import re
import threading
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

_SHORT = 48
"""Below this many characters `re` alone is faster than asking first."""
_LOOKAHEAD = 8
"""Characters after a region that the pattern may look at. It cannot match into them: Hyperscan reports every end."""


def _hyperscan() -> ModuleType | None:
    try:
        return import_module("hyperscan")
    except ImportError:  # no wheel for this machine: the search is slower and finds the same
        return None


class RegionSearch:
    """One pattern with its prefilter. It may be used from several threads."""

    def __init__(self, pattern: re.Pattern[str], looser: tuple[str, ...] | None) -> None:
        """Compile the prefilter.

        Args:
            pattern: what is searched.
            looser: regular expressions in Hyperscan's language (no look-around, no back-references) of which one
                matches wherever `pattern` does, and more; None to search with `re` alone.
        """
        self.pattern = pattern
        self._databases = _databases(looser) if looser else None
        self._local = threading.local()

    def is_in(self, text: str) -> bool:
        """The same answer as ``pattern.search(text) is not None``."""
        return next(self.finditer(text), None) is not None

    def may_match(self, data: bytes) -> bool:
        """Whether a text, given in valid UTF-8, may hold a match: one scan that says yes or no, never a wrong no."""
        if self._databases is None:
            return True
        hits: list[int] = []
        self._databases[0].scan(data, match_event_handler=lambda *_: hits.append(1), scratch=self._scratches()[0])
        return bool(hits)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """The same matches as ``pattern.finditer(text)``."""
        if self._databases is None or len(text) < _SHORT:
            yield from self.pattern.finditer(text)
            return
        # A lone surrogate is no UTF-8; the question mark that takes its place is one character too.
        data = text.encode("utf-8", "replace")
        regions = self._regions(data)
        is_ascii = len(data) == len(text)
        byte_at = character_at = 0
        for start, end in regions:
            first, last = start, end
            if not is_ascii:
                first = character_at + len(data[byte_at:start].decode())
                last = first + len(data[start:end].decode())
                byte_at, character_at = end, last
            for match in self.pattern.finditer(text, first, min(len(text), last + _LOOKAHEAD)):
                if match.start() >= last:  # the next region's
                    break
                yield match

    def _scratches(self) -> list[Any]:
        """Working memory for each database, one per thread."""
        if not hasattr(self._local, "scratches"):
            hyperscan: Any = _hyperscan()
            self._local.scratches = [hyperscan.Scratch(database) for database in self._databases or ()]
        found: list[Any] = self._local.scratches
        return found

    def _regions(self, data: bytes) -> list[tuple[int, int]]:
        """Stretches of bytes, apart from each other and in order, in which all matches lie."""
        hits: list[tuple[int, int]] = []

        def note(_id: int, start: int, end: int, _flags: int, _context: object) -> None:
            hits.append((start, end))

        for database, scratch in zip(self._databases or (), self._scratches(), strict=True):
            hits.clear()
            database.scan(data, match_event_handler=note, scratch=scratch)
            if not hits:
                return []
        merged: list[tuple[int, int]] = []
        for start, end in sorted(hits):
            if merged and start < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def _databases(looser: tuple[str, ...]) -> tuple[Any, Any] | None:
    """One that says whether there is any match, three times as fast as one that says where they start; and that one."""
    hyperscan: Any = _hyperscan()
    if hyperscan is None:
        return None
    found = []
    for flag in (hyperscan.HS_FLAG_SINGLEMATCH, hyperscan.HS_FLAG_SOM_LEFTMOST):
        database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        try:
            number = len(looser)
            database.compile(
                expressions=[one.encode() for one in looser],
                ids=list(range(number)),
                elements=number,
                flags=[flag | hyperscan.HS_FLAG_UTF8] * number,
            )
        except hyperscan.error:  # a declared family can be larger than Hyperscan's limits; `re` has none
            return None
        found.append(database)
    return found[0], found[1]
