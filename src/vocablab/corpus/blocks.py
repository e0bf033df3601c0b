"""Stretches of a source that a worker turns into documents: lines of a file, row groups of a table, generated ranges.

One process reads and decompresses; what costs time (parsing, scanning, tokenizing) happens where a block is opened. How
a source is cut into blocks never changes a result: a document is named by its file and its row.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from vocablab.corpus.files import row_text

PIECES = 4096
"""A document's position is its row times this, plus the number of its piece if it was cut."""
MAX_CHARACTERS = 1 << 24
"""A longer document is cut into several, at a line break if there is one."""


@dataclass(frozen=True)
class Raw:
    """One document as its source has it, or the reason why it is none."""

    position: int
    """Its row in the part, times `PIECES`, plus the number of the piece."""
    text: str
    """Its text; empty if `dropped`."""
    dropped: str = ""
    """Why it is left out, or empty."""


@dataclass(frozen=True)
class Block(ABC):
    """A stretch of a part."""

    part: int
    """Number of the part in its source."""
    first: int
    """Row of its first document in the part: block and part name it uniquely."""

    @abstractmethod
    def documents(self) -> Iterator[Raw]:
        """Its documents in order, those that are left out among them."""


@dataclass(frozen=True)
class JsonLines(Block):
    """Whole lines of a file, each a JSON object."""

    data: bytes
    """The lines."""
    field: str | None
    """The field that holds the text; None: the first known one (`row_text`)."""

    def documents(self) -> Iterator[Raw]:
        for number, line in enumerate(self.data.split(b"\n"), self.first):
            if line and not line.isspace():
                yield from _of_line(number * PIECES, line, self.field)


@dataclass(frozen=True)
class Missing(Block):
    """A stretch that could not be read."""

    reason: str
    """Why."""

    def documents(self) -> Iterator[Raw]:
        yield Raw(self.first * PIECES, "", self.reason)


@dataclass(frozen=True)
class PlainText(Block):
    """One document: a file of plain text, or a piece of a long one."""

    data: bytes
    """Its bytes."""

    def documents(self) -> Iterator[Raw]:
        try:
            yield from _whole(self.first * PIECES, self.data.decode())
        except UnicodeDecodeError:
            yield Raw(self.first * PIECES, "", "invalid UTF-8")


@dataclass(frozen=True)
class Rows(Block):
    """Objects of a file that is read as a whole: ``.json``."""

    rows: tuple[Any, ...]
    """The objects."""
    field: str | None
    """As in `JsonLines`."""

    def documents(self) -> Iterator[Raw]:
        for number, row in enumerate(self.rows, self.first):
            yield from _of_row(number * PIECES, row, self.field)


class OpensTable(Protocol):
    """Opens a Parquet file where the worker is."""

    def table(self) -> Any:
        """A `pyarrow.parquet.ParquetFile`."""

    def failed(self, error: Exception) -> str:
        """The reason to count for what cannot be read; raises where the run must stop instead."""


@dataclass(frozen=True)
class RowGroup(Block):
    """One row group of a Parquet file, which the worker reads itself."""

    file: OpensTable
    """The file."""
    group: int
    """Number of the row group."""
    rows: int
    """How many rows it has."""
    columns: tuple[str, ...]
    """The columns that may hold text."""
    field: str | None
    """As in `JsonLines`."""

    def documents(self) -> Iterator[Raw]:
        import pyarrow as pa

        number = self.first
        try:
            for row in self._rows():
                if row is None:
                    yield Raw(number * PIECES, "", "invalid UTF-8")
                else:
                    yield from _of_row(number * PIECES, row, self.field)
                number += 1
        except (OSError, ValueError, pa.ArrowException) as error:
            reason = self.file.failed(error)
            for lost in range(number, self.first + self.rows):
                yield Raw(lost * PIECES, "", reason)

    def _rows(self) -> Iterator[dict[str, Any] | None]:
        batches = self.file.table().iter_batches(
            batch_size=256, row_groups=[self.group], columns=list(self.columns), use_threads=False
        )
        for batch in batches:
            try:
                yield from batch.to_pylist()
            except UnicodeDecodeError:  # one cell of 256 is no text: look at them one by one
                yield from (_row_or_none(batch, index) for index in range(batch.num_rows))


class Writes(Protocol):
    """A source that writes its documents."""

    def write(self, seed: int, index: int) -> str:
        """The document with this number."""


@dataclass(frozen=True)
class Written(Block):
    """A range of generated documents."""

    source: Writes
    """Their source."""
    seed: int
    """The run's seed."""
    stop: int
    """One past the last."""

    def documents(self) -> Iterator[Raw]:
        for index in range(self.first, self.stop):
            yield from _whole(index * PIECES, self.source.write(self.seed, index))


def _of_line(position: int, line: bytes, field: str | None) -> Iterator[Raw]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError:
        try:
            line.decode()
        except UnicodeDecodeError:
            yield Raw(position, "", "invalid UTF-8")
            return
        try:
            row = _lenient(line)  # a lone surrogate is no UTF-8 and is still JSON
        except ValueError:
            yield Raw(position, "", "malformed line")
            return
    yield from _of_row(position, row, field)


def _lenient(line: bytes) -> Any:
    import json

    if not re.search(rb"\\u[dD][89a-fA-F]", line):
        raise ValueError
    return json.loads(line)


def _of_row(position: int, row: Any, field: str | None) -> Iterator[Raw]:
    if not isinstance(row, dict):
        yield Raw(position, "", "malformed line")
        return
    text = row_text(row) if field is None else row.get(field)
    if isinstance(text, str):
        yield from _whole(position, text)
    else:
        yield Raw(position, "", "no text field")


def _row_or_none(batch: Any, index: int) -> dict[str, Any] | None:
    try:
        row: dict[str, Any] = batch.slice(index, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return None
    return row


def _whole(position: int, text: str) -> Iterator[Raw]:
    """A document, cut if it is longer than `MAX_CHARACTERS`; empty ones are left out."""
    if not text or text.isspace():
        yield Raw(position, "", "empty")
    elif len(text) <= MAX_CHARACTERS:
        yield Raw(position, text)
    else:
        start = piece = 0
        while start < len(text):
            end = cut_at(text, start)
            # White space between two cuts is a piece like any other: nothing is lost.
            yield Raw(position + min(piece, PIECES - 1), text[start:end])
            start, piece = end, piece + 1


def cut_at(text: str, start: int) -> int:
    """Where the piece that begins at `start` ends: after a line break, else after a blank, else anywhere."""
    end = start + MAX_CHARACTERS
    if end >= len(text):
        return len(text)
    for mark in ("\n", " "):
        found = text.rfind(mark, start + MAX_CHARACTERS // 2, end)
        if found >= 0:
            return found + 1
    return end
