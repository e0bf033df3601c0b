"""What a source consists of: files here or on the Hugging Face hub, and ranges of generated documents."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocablab.base.data import objects_in
from vocablab.base.errors import RunError, UserError
from vocablab.corpus.blocks import Block, JsonLines, Missing, PlainText, RowGroup, Rows, Writes, Written
from vocablab.corpus.files import PLAIN, text_fields

BLOCK_BYTES = 8 << 20
"""Lines are handed out in blocks of about this size. It changes no result."""
LINE_LIMIT = 1 << 28
"""A longer line is no document: it is left out and counted."""
GENERATED_AT_ONCE = 500
"""Generated documents in a block."""
READ_BYTES = 1 << 20
UNREADABLE = "unreadable file: "
"""Beginning of the reason why the rows of a broken file are missing."""
PIECE_BYTES = 1 << 24
"""A plain text is cut into documents of about this size."""


@dataclass(frozen=True)
class Part(ABC):
    """A piece of a source, with rows in a fixed order."""

    name: str
    """Unique in its source, and the same wherever the source lies."""
    size: int
    """Its bytes on disk, 0 if it is generated: a changed input is noticed by it."""

    @property
    def origin(self) -> str:
        """What a record calls it: its name, and where it matters also the commit it is of."""
        return self.name

    @abstractmethod
    def blocks(self, number: int) -> Iterator[Block]:
        """Read it, cut into blocks.

        Args:
            number: of the part in its source.
        """


@dataclass(frozen=True)
class WrittenPart(Part):
    """Generated documents."""

    source: Writes
    """What writes them."""
    seed: int
    """The run's seed."""
    stop: int
    """How many."""

    def blocks(self, number: int) -> Iterator[Block]:
        for first in range(0, self.stop, GENERATED_AT_ONCE):
            yield Written(number, first, self.source, self.seed, min(self.stop, first + GENERATED_AT_ONCE))


@dataclass(frozen=True)
class FilePart(Part):
    """A local file: ``.jsonl`` (also ``.gz``, ``.zst``), ``.json``, ``.parquet``, or plain text."""

    path: str
    """Where it lies."""
    field: str | None
    """The field that holds the text; None: the first known one."""

    def open(self) -> Any:
        """A stream of the file's bytes as they are."""
        return open(self.path, "rb")

    def table(self) -> Any:
        """The file as a Parquet table."""
        import pyarrow.parquet as pq

        # Without pre_buffer a row group is read page by page, not as a whole.
        return pq.ParquetFile(self.open(), pre_buffer=False)

    def blocks(self, number: int) -> Iterator[Block]:
        import pyarrow as pa

        row = 0
        try:
            for block, rows in self._blocks(number):
                yield block
                row += rows
        except (OSError, ValueError, pa.ArrowException, UserError) as error:
            yield Missing(number, row, self.failed(error))

    def failed(self, error: Exception) -> str:
        """The reason to count for a file that cannot be read, or not to its end."""
        return f"{UNREADABLE}{self.name}"

    def _blocks(self, number: int) -> Iterator[tuple[Block, int]]:
        if self.path.endswith(".parquet"):
            yield from self._row_groups(number)
        elif self.path.endswith(".json"):
            rows = tuple(objects_in(b"".join(self._decompressed()).decode(), self.name))
            yield Rows(number, 0, rows, self.field), len(rows)
        elif self.path.endswith(PLAIN):
            for first, data in enumerate(_text_pieces(self._decompressed())):
                yield PlainText(number, first, data), 1
        else:
            yield from self._lines(number)

    def _row_groups(self, number: int) -> Iterator[tuple[Block, int]]:
        table = self.table()
        names = set(table.schema_arrow.names)
        columns = (self.field,) if self.field else tuple(sorted(names & text_fields()))
        if not names.issuperset(columns) or not columns:
            raise UserError(f"{self.path} has no column of text ({', '.join(sorted(names))}).")
        first = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            yield RowGroup(number, first, self, group, rows, columns, self.field), rows
            first += rows

    def _lines(self, number: int) -> Iterator[tuple[Block, int]]:
        first = 0
        for data, lines in _line_blocks(self._decompressed()):
            if data is None:
                yield Missing(number, first, f"a line over {LINE_LIMIT >> 20} MiB"), lines
            else:
                yield JsonLines(number, first, data, self.field), lines
            first += lines

    def _decompressed(self) -> Iterator[bytes]:
        import pyarrow as pa

        kind = {".gz": "gzip", ".zst": "zstd"}.get(Path(self.path).suffix)
        with self.open() as raw:
            # pyarrow says "Truncated compressed stream" where other readers end silently.
            stream = pa.CompressedInputStream(pa.PythonFile(raw, "r"), kind) if kind else raw
            while data := stream.read(READ_BYTES):
                yield data


@dataclass(frozen=True)
class HubPart(FilePart):
    """A file of a data set on the Hugging Face hub, streamed: nothing is kept on disk."""

    @property
    def origin(self) -> str:
        return self.path

    def open(self) -> Any:
        from huggingface_hub import HfFileSystem

        try:
            return HfFileSystem().open(self.path, "rb", block_size=8 << 20)
        except Exception as error:  # dozens of kinds; for a user it is one: the hub does not answer
            raise self._gone(error) from None

    def failed(self, error: Exception) -> str:
        # A network that fails is not a bad file: to count it as one would make the corpus silently short.
        raise self._gone(error)

    def _gone(self, error: Exception) -> RunError:
        return RunError(
            f"the Hugging Face hub does not deliver {self.path} ({type(error).__name__}); the same command goes on "
            "from here, or put a copy into the data directory."
        )


def _line_blocks(stream: Iterator[bytes]) -> Iterator[tuple[bytes | None, int]]:
    """Whole lines in blocks of about `BLOCK_BYTES`, each with the number of its lines; None for a line too long."""
    pending: list[bytes] = []
    size = 0
    skipping = False
    for data in stream:
        rest = data
        if skipping:
            _, found, rest = data.partition(b"\n")
            if not found:
                continue
            skipping = False
            yield None, 1
        end = rest.rfind(b"\n") + 1
        if size + len(rest) >= BLOCK_BYTES and end:
            block = b"".join([*pending, rest[:end]])
            yield block, block.count(b"\n")
            pending, size = [rest[end:]], len(rest) - end
        else:
            pending.append(rest)
            size += len(rest)
            if size > LINE_LIMIT:
                block = b"".join(pending)
                end = block.rfind(b"\n") + 1
                if end:
                    yield block[:end], block.count(b"\n")
                pending, size, skipping = [], 0, True
    if skipping:
        yield None, 1
    elif size:
        block = b"".join(pending)
        yield block, block.count(b"\n") + (not block.endswith(b"\n"))


def _text_pieces(stream: Iterator[bytes]) -> Iterator[bytes]:
    """A plain text whole, or, if it is long, in pieces that end with a line or at least with a character."""
    pending = b""
    for data in stream:
        pending += data
        if len(pending) > PIECE_BYTES:
            end = pending.rfind(b"\n") + 1
            if not end:
                end = len(pending)
                while end and pending[end - 1] & 0xC0 == 0x80:  # a continuation byte: back to the first of them
                    end -= 1
                end = max(end - 1, 1)
            yield pending[:end]
            pending = pending[end:]
    yield pending
