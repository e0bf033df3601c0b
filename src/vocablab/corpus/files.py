"""The documents of any data directory, file by file: for looking at corpora that no study has declared yet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vocablab.base.data import iterate_rows

TABLES = (".jsonl", ".jsonl.zst", ".jsonl.gz", ".json", ".parquet")
PLAIN = (".txt", ".md", ".tex", ".py")
_FIELDS = (
    (("text",), ""),
    (("question", "answer"), "\n"),  # GSM8K
    (("question", "rationale"), "\n"),  # AQuA-RAT
    (("ctx", "endings"), " "),  # HellaSwag
    (("Body", "Question"), " "),  # SVAMP
    (("original_text", "equation"), "\n"),  # Ape210K, Math23K
    (("input", "reasoning"), "\n"),
    (("context", "completion"), ""),  # the GPT-3 paper's prompts
    (("input",), ""),  # CMATH
)
"""Which fields of a row are its text, and what stands between them; the first that fit."""


def text_fields() -> set[str]:
    """All field names that may hold a row's text."""
    return {name for names, _ in _FIELDS for name in names}


def text_files(directory: Path) -> list[Path]:
    """Files under `directory` that may hold documents, in order of their names; a README is none."""
    found = (p for p in directory.rglob("*") if p.is_file() and p.name.endswith((*TABLES, *PLAIN)))
    return sorted(p for p in found if not p.name.startswith("README"))


def documents_of(path: Path) -> Iterator[str]:
    """The texts in a file: one per row of a table, or the whole of a plain text. Rows without text are left out.

    Raises:
        UserError: if a table is malformed or truncated.
    """
    if path.name.endswith(PLAIN):
        yield path.read_text(encoding="utf-8", errors="surrogateescape")
        return
    for row in iterate_rows(path):
        text = row_text(row)
        if text is not None:
            yield text


def row_text(row: dict[str, Any]) -> str | None:
    """The text of a row, by the field names of well-known data sets; None if it has none of them."""
    for fields, between in _FIELDS:
        values = [row.get(field) for field in fields]
        if all(isinstance(value, str | list) for value in values):
            return between.join(v if isinstance(v, str) else between.join(map(str, v)) for v in values if v is not None)
    return None
