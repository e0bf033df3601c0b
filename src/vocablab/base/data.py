"""Where data sets come from: a local data directory, else the Hugging Face hub at a pinned revision.

Reading is strict: a malformed line, a truncated file or a missing row stops the run with one sentence,
because a data set that is silently short makes every number that follows wrong.
"""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vocablab.base.errors import UserError


@dataclasses.dataclass(frozen=True)
class HubFile:
    """One file of a data set on the Hugging Face hub."""

    repository: str
    """``owner/name`` of the data set."""
    revision: str
    """Commit the file is pinned to."""
    filename: str
    """Path inside the repository (``.parquet`` or ``.jsonl``)."""


@dataclasses.dataclass(frozen=True)
class DataSet:
    """One table of rows, known under a path in a data directory and, if public, on the hub."""

    local: str
    """Path below the data directory, with forward slashes: ``gsm8k/train.jsonl``."""
    rows: int | None
    """How many rows the complete set has; None where any number is right."""
    hub: HubFile | None
    """Where the hub has it; None if it must be local."""
    title: str
    """What a person calls it, for error sentences."""


def data_directory(option: str | None) -> Path | None:
    """The data directory from ``--data``, else ``VOCABLAB_DATA``, else None.

    Raises:
        UserError: if it is named but not there.
    """
    named, origin = (option, "--data") if option else (os.environ.get("VOCABLAB_DATA"), "VOCABLAB_DATA")
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_dir():
        raise UserError(f"{origin}: there is no directory {named}.")
    return path


def locate(data_set: DataSet, directory: Path | None) -> Path:
    """A local path of the data set, downloading it from the hub if it is not in `directory`.

    Raises:
        UserError: if neither has it; the sentence says which file is missing and how to get it.
    """
    if directory is not None and (directory / data_set.local).exists():
        return directory / data_set.local
    place = f"{data_set.local} in the data directory {directory}" if directory else f"--data DIR with {data_set.local}"
    if data_set.hub is None:
        raise UserError(f"{data_set.title} is missing: give {place}.")
    hub = data_set.hub
    try:
        import huggingface_hub

        return Path(
            huggingface_hub.hf_hub_download(hub.repository, hub.filename, repo_type="dataset", revision=hub.revision)
        )
    except Exception as error:  # whatever the hub's client raises (it has dozens) the user can only do one thing
        reason = type(error).__name__
        raise UserError(
            f"{data_set.title} is missing: give {place}, or connect to the Hugging Face hub, where it is "
            f"{hub.repository} ({reason} on trying)."
        ) from None


def read_rows(data_set: DataSet, directory: Path | None) -> list[dict[str, Any]]:
    """All rows of a data set.

    Raises:
        UserError: if it cannot be found, a line is malformed, or rows are missing.
    """
    path = locate(data_set, directory)
    rows = list(iterate_rows(path))
    if data_set.rows is not None and len(rows) != data_set.rows:
        raise UserError(f"{path} has {len(rows)} rows where {data_set.title} has {data_set.rows}; get a complete copy.")
    return rows


def iterate_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a ``.jsonl``, ``.jsonl.gz``, ``.jsonl.zst``, ``.json`` or ``.parquet`` file, in order.

    A ``.json`` file holds a list of objects, or objects one after another.

    Raises:
        UserError: naming file and line for a malformed line, and the file for a truncated one.
    """
    import pyarrow as pa

    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
                yield from batch.to_pylist()
            return
        if path.suffix == ".json":
            yield from objects_in(path.read_text(encoding="utf-8"), path)
            return
        # pyarrow says "Truncated compressed stream" where the zstandard package ends silently.
        with pa.input_stream(str(path), compression="detect") as stream:
            yield from _json_lines(stream, path)
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is truncated or damaged: {str(error).splitlines()[0]}.") from None


def _skip_space(text: str, position: int) -> int:
    found = re.compile(r"\s*").match(text, position)
    assert found is not None
    return found.end()


def objects_in(text: str, path: Path | str) -> list[dict[str, Any]]:
    """The objects of a JSON list, or objects one after another.

    Raises:
        UserError: if something else is there.
        json.JSONDecodeError: if it is no JSON.
    """
    decoder, values = json.JSONDecoder(), []
    position = _skip_space(text, 0)
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        values.append(value)
        position = _skip_space(text, position)
    rows = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is not a list of objects.")
    return rows


def _json_lines(stream: Any, path: Path) -> Iterator[dict[str, Any]]:
    pending, number = b"", 0
    while True:
        block = stream.read(1 << 20)
        *lines, pending = (pending + bytes(block)).split(b"\n")
        if not block and pending:
            lines, pending = [*lines, pending], b""
        for line in lines:
            number += 1
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise UserError(f"{path}, line {number} is not JSON ({error}); the file may be truncated.") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number} is not an object.")
            yield row
        if not block:
            return


def rows_fingerprint(rows: list[dict[str, Any]]) -> str:
    """SHA-256 (hex) of rows in order: names in a record exactly which data a number came from."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()
