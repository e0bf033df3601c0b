"""Files that are whole or absent: temporary name, fsync, rename; and one writer at a time."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vocablab.base.errors import RunError, UserError

PARTIAL_SUFFIX = ".partial"


def fsync_path(path: Path) -> None:
    """Flush a file or directory entry to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes_atomically(path: Path, data: bytes, *, parents: bool = True) -> None:
    """Write `data` so that `path` either keeps its old content or has all of the new one, also after a kill.

    Args:
        path: the file.
        data: its content.
        parents: make its directory where there is none; without, a directory that is gone stays gone.
    """
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)
    fsync_path(path.parent)


def write_json_atomically(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN is refused."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes_atomically(path, (text + "\n").encode())


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Raises:
        UserError: one sentence naming `what` and the path if it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{what} is missing: {path}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{what} is damaged ({error}): {path}.") from None


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's content."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def partial_directory(final: Path, *, keep: bool) -> Path:
    """The working directory of an artifact that will be renamed to `final` when whole.

    Args:
        keep: keep what an interrupted run left there (a stage that resumes from its checkpoints);
            otherwise what was left is dropped: it was never published and nobody can have relied on it.
    """
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    if partial.exists() and not keep:
        # Only ever a directory whose name ends in .partial; inside of one stages drop their own work.
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    return partial


def publish_directory(partial: Path, final: Path) -> None:
    """Make a finished `partial` directory visible under its final name, durably.

    Raises:
        RunError: if `final` exists: artifacts are never overwritten.
    """
    if final.exists():
        raise RunError(f"{final} already exists; nothing is ever overwritten.")
    for item in sorted(partial.rglob("*")):
        fsync_path(item)
    fsync_path(partial)
    os.rename(partial, final)
    fsync_path(final.parent)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an advisory lock on `path` for the block; the kernel frees it if the process dies.

    Raises:
        UserError: if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path.parent} is in use by another vocablab process; wait for it, or use another --runs or --out."
            ) from None
        yield
