"""The record beside every artifact: what it is, what it was made from, on what, and whether it is whole."""

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

from vocablab.base.config import from_json, to_json
from vocablab.base.files import read_json, sha256_file, write_json_atomically

RECORD_NAME = "record.json"
_VERSIONED = ("vocablab", "torch", "transformers", "tokenizers", "trl", "numpy", "pyarrow", "scipy")


@dataclasses.dataclass(frozen=True)
class Record:
    """The manifest of one artifact (one stage of one arm and seed, or a study-wide one)."""

    stage: str
    """Which stage made the artifact."""
    fingerprint: str
    """SHA-256 of the stage's identity: its config, its format version, and its inputs' fingerprints."""
    identity: dict[str, Any]
    """What the fingerprint was taken of, in full, so that a mismatch can be explained field by field."""
    inputs: dict[str, str]
    """Fingerprint of each input artifact, by name."""
    files: dict[str, dict[str, Any]]
    """Every file of the artifact with its `bytes` and `sha256`."""
    counts: dict[str, Any]
    """What the stage counted and measured: documents, tokens, FLOPs, gates, losses."""
    wall_seconds: float
    """Wall-clock time of the stage in seconds, over all its interrupted attempts where it resumes."""
    status: str
    """`complete`; a stage that stopped short leaves no record at all."""
    finished: str = ""
    """UTC time of completion, ISO 8601."""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    """Versions of the packages that can change a result."""
    git: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Commit of the working copy and whether it had uncommitted changes; empty when installed without one."""
    hardware: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Processor, cores, and device the stage ran on."""

    def write(self, directory: Path) -> None:
        """Write `record.json` into `directory`, atomically."""
        write_json_atomically(directory / RECORD_NAME, to_json(self))


def read_record(directory: Path) -> Record | None:
    """The record in `directory`, or None if there is none.

    Raises:
        UserError: if the file is there but damaged.
    """
    path = directory / RECORD_NAME
    if not path.exists():
        return None
    record: Record = from_json(Record, read_json(path, "a record"), str(path))
    return record


def list_files(directory: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of every file under `directory` except the record itself."""
    return {
        str(path.relative_to(directory)): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != RECORD_NAME
    }


def damaged_file(directory: Path, record: Record) -> str | None:
    """The name of the first file that is missing or has another content than the record says, or None."""
    for name, entry in record.files.items():
        path = directory / name
        if not path.exists() or path.stat().st_size != entry["bytes"] or sha256_file(path) != entry["sha256"]:
            return name
    return None


def first_difference(old: Any, new: Any, where: str = "") -> str:
    """A short sentence on the first place where two identities differ: ``recipe.steps: 200 -> 100``."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            if old.get(key) != new.get(key):
                return first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else str(key))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            if a != b:
                return first_difference(a, b, f"{where}[{index}]")
    return f"{where}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def utc_now() -> str:
    """The present time, UTC, ISO 8601, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a result; a missing one is said to be absent."""
    found = {"python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


@lru_cache(maxsize=1)
def git_state() -> dict[str, Any]:
    """Commit and dirty flag of the checkout vocablab runs from; empty where there is none."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "HEAD")
        dirty = bool(_git(here, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit, "dirty": dirty}


def _git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def hardware(device: str) -> dict[str, Any]:
    """Processor architecture, core count and the device a stage used."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "device": device,
    }
