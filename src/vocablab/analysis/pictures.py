"""Pictures and numbers that a probe stage left beside a run, as they are."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from vocablab.analysis.scores import StudyFiles
from vocablab.base.files import read_json

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST = 2_000_000
"""A larger picture would make the page too heavy for a mail or a pull request: it is named, not shown."""


def probes(study: StudyFiles) -> list[dict[str, Any]]:
    """One entry per `ARM/seedN/probe/*.png` or `*.json`: where it is, its hash, and its content.

    ``png``: base64 of a picture; ``value``: what a JSON file holds. A file in `probe` that is no PNG in spite of its
    name has neither.
    """
    found = []
    for arm, seed in study.runs:
        place = study.directory / arm / f"seed{seed}" / "probe"
        for path in sorted([*place.glob("*.png"), *place.glob("*.json")]):
            if path.name != "record.json":
                found.append({"arm": arm, "seed": seed} | _content(path))
    return found


def _content(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    entry: dict[str, Any] = {"file": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if path.suffix == ".json":
        return entry | {"value": read_json(path, "a probe's result")}
    if data.startswith(_SIGNATURE) and len(data) <= _LARGEST:
        entry["png"] = base64.b64encode(data).decode("ascii")
    return entry
