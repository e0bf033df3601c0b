"""One stage's artifact: published whole with its record, or not at all; never made twice, never overwritten."""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vocablab.base.config import fingerprint
from vocablab.base.errors import UserError
from vocablab.base.files import exclusive, partial_directory, publish_directory, read_json, write_json_atomically
from vocablab.base.records import (
    Record,
    damaged_file,
    first_difference,
    git_state,
    hardware,
    list_files,
    package_versions,
    read_record,
    utc_now,
)

FORMATS = {
    "vocabulary": 1, "prepare": 3, "pretrain": 4, "import": 1, "export": 2, "sft": 4, "rl": 1, "probe": 2,
    "evaluate": 3,
}  # fmt: skip
"""Version of what each stage writes; raised when its code changes what it would produce."""

UNFINISHED = "unfinished.json"
"""In the partial directory of a stage: the identity that it was begun with."""


def is_done(directory: Path, identity: dict[str, Any]) -> bool:
    """Whether a valid record covers `identity`.

    Raises:
        UserError: if an artifact of another configuration, or a damaged one, is in the way.
    """
    record = read_record(directory)
    if record is None:
        if directory.exists():
            raise UserError(f"{directory} exists without a record; move it away, or use another --runs or --out.")
        return False
    if record.fingerprint != fingerprint(identity):
        change = first_difference(record.identity, identity)
        raise UserError(
            f"{directory} was made by another configuration ({change}); nothing is overwritten: use another --runs "
            "or --out."
        )
    damaged = damaged_file(directory, record)
    if damaged:
        raise UserError(f"{directory / damaged} is damaged or missing; move {directory} away to make it again.")
    return True


def run_stage(
    directory: Path,
    identity: dict[str, Any],
    work: Callable[[Path], dict[str, Any]],
    device: str,
    *,
    resumes: bool,
) -> None:
    """Do `work` in a partial directory and publish it with its record; do nothing if that is done already."""
    if is_done(directory, identity):
        return
    partial = partial_directory(directory, keep=resumes)
    _require_the_same(partial, identity)
    started = time.monotonic()
    counts = work(partial)
    (partial / UNFINISHED).unlink()
    Record(
        stage=identity["stage"],
        fingerprint=fingerprint(identity),
        identity=identity,
        inputs=identity.get("inputs", {}),
        files=list_files(partial),
        counts=counts,
        wall_seconds=time.monotonic() - started,
        status="complete",
        finished=utc_now(),
        versions=package_versions(),
        git=git_state(),
        hardware=hardware(device),
    ).write(partial)
    publish_directory(partial, directory)


def _require_the_same(partial: Path, identity: dict[str, Any]) -> None:
    """What an interrupted attempt left is gone on with only under the configuration that it had.

    Raises:
        UserError: if it had another.
    """
    mark = partial / UNFINISHED
    if mark.exists():
        before = read_json(mark, "what an unfinished stage was made by")
        if fingerprint(before) != fingerprint(identity):
            change = first_difference(before, identity)
            raise UserError(
                f"{partial} is unfinished and was begun by another configuration ({change}); move it away, or use "
                "another --runs or --out."
            )
    write_json_atomically(mark, identity)


def share(source: Path, directory: Path, said: str) -> None:
    """Publish the finished artifact `source` as `directory`, too: the same files, and a record that says so.

    Args:
        source: an artifact with a valid record.
        directory: where it is needed.
        said: what the record calls the source (counts, ``same_as``); its time is not counted twice.
    """
    record = read_record(source)
    assert record is not None
    partial = partial_directory(directory, keep=False)
    for name in record.files:
        target = partial / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source / name, target)
        except OSError:
            # A file system without hard links.
            shutil.copy2(source / name, target)
    counts = record.counts | {"same_as": record.counts.get("same_as", said)}
    replace(record, wall_seconds=0.0, counts=counts).write(partial)
    publish_directory(partial, directory)


def publish_once(
    out: Path, identity: dict[str, Any], work: Callable[[Path], dict[str, Any]], device: str, *, resumes: bool
) -> dict[str, Any]:
    """`run_stage` for a directory that a user named, one process at a time; returns the counts of its record.

    Raises:
        UserError: if `out` is no name of a directory, or another process is at it.
    """
    if not out.name:
        raise UserError(f"--out {out}: give it a directory of its own.")
    lock = out.parent / f".{out.name}.lock"
    with exclusive(lock):
        try:
            run_stage(out, identity, work, device, resumes=resumes)
        finally:
            lock.unlink()
    record = read_record(out)
    assert record is not None
    return record.counts
