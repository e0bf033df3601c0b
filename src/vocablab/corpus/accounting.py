"""What a corpus turned out to be: counts, hashes and gates for its record."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vocablab.corpus.runs import SPLITS
from vocablab.corpus.shards import read_shard, shard_numbers
from vocablab.vocab.codec import Codec

TENTHS = 10
DEVIATIONS = 5
"""How many standard deviations a count may be from what chance gives: wrong alarms one in a million."""


def sum_up(results: list[tuple[str, dict[str, Any]]], arm: str, codec: Codec, directory: Path) -> dict[str, Any]:
    """An arm's counts by split, its exposures and its dose.

    Args:
        results: split and counts of every shard (`assemble`).
        arm: its name.
        codec: its codec.
        directory: where its splits lie.
    """
    found: dict[str, Any] = {}
    for split in SPLITS:
        mine = [counts[arm] for name, counts in results if name == split]
        sums = {
            key: sum(one[key] for one in mine) for key in ("documents", "raw_bytes", "tokens", "spans", "lost_bits")
        }
        found[split] = {**sums, "shards": len(mine), "documents_sha256": documents_hash(directory / split)}
    exposures: Counter[str] = Counter(dict.fromkeys(codec.intervention.tokens(), 0))
    for name, counts in results:
        if name == "train":
            exposures.update(counts[arm]["exposures"])
    found["exposures"] = dict(exposures)
    found["dose"] = exposures.total() / max(1, found["train"]["tokens"])
    return found


def documents_hash(split: Path) -> str:
    """SHA-256 (hex) over the hashes of all documents in order: equal for arms that read the same corpus."""
    digest = hashlib.sha256()
    for documents in _indexes(split):
        digest.update(np.ascontiguousarray(documents["sha256"]).tobytes())
    return digest.hexdigest()


def _indexes(split: Path) -> Iterator[np.ndarray]:
    for number in shard_numbers(split):
        yield read_shard(split, number).documents


def spread(directory: Path, source: int) -> dict[str, Any]:
    """Where the documents of a source stand: how many in each tenth of train, and in validation."""
    total = sum(len(documents) for documents in _indexes(directory / "train"))
    tenths = np.zeros(TENTHS, dtype=np.int64)
    before = 0
    for documents in _indexes(directory / "train"):
        places = before + np.flatnonzero(documents["source"] == source)
        tenths += np.bincount(places * TENTHS // max(1, total), minlength=TENTHS)
        before += len(documents)
    held = sum(int((documents["source"] == source).sum()) for documents in _indexes(directory / "validation"))
    return {"train_tenths": tenths.tolist(), "validation": held}


def spread_gate(found: Mapping[str, Any], validation_share: float) -> dict[str, Any]:
    """Documents written for a dose must stand all over train, and in validation no more than by chance."""
    tenths, held = np.array(found["train_tenths"]), found["validation"]
    train = int(tenths.sum())

    def slack(number: int, share: float) -> float:
        return DEVIATIONS * float(np.sqrt(number * share * (1 - share))) + 1

    # A small corpus has tenths of unequal size: one document more or less.
    even = bool((np.abs(tenths - train / TENTHS) <= slack(train, 1 / TENTHS) + 1).all())
    fair = abs(held - (train + held) * validation_share) <= slack(train + held, validation_share)
    return gate(
        3,
        "Documents written for the dose are spread through train",
        train > 0 and even and fair,
        f"{train} in train, {tenths.min()} to {tenths.max()} in each tenth of it; {held} in validation",
    )


def arm_gates(codec: Codec, counts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rules 2 and 3 for one arm."""
    spans, expects = counts["train"]["spans"], codec.intervention.changes_text
    return [
        gate(
            2,
            "Every replacement restored exactly",
            True,  # a replacement that is not has raised an error
            f"{spans} train and {counts['validation']['spans']} validation replacements undone",
        ),
        gate(
            3,
            "Control changes nothing, treatment something",
            (spans > 0) == expects,
            f"{spans} spans changed, {'some' if expects else 'none'} expected",
        ),
    ]


def same_documents_gate(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Rule 3: every arm has the same documents in the same order."""
    hashes = {tuple(arm[split]["documents_sha256"] for split in SPLITS) for arm in arms.values()}
    train = next(iter(hashes))[0]
    return gate(
        3,
        "All arms read the same documents in the same order",
        len(hashes) == 1,
        f"{len(arms)} arms, train {train[:16]}..." if len(hashes) == 1 else f"{len(hashes)} different hashes",
    )


def gate(rule: int, name: str, passed: bool, detail: str) -> dict[str, Any]:
    """A gate as records hold it."""
    return {"rule": rule, "name": name, "passed": passed, "detail": detail}
