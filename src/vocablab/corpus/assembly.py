"""Runs to shards: every shard gathers its documents from all runs, in their final order."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocablab.base.files import read_json, write_json_atomically
from vocablab.corpus.encoding import workplace
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.runs import SPLITS, RunReader
from vocablab.corpus.shards import DOCUMENT_TYPE, write_shard

PLAN = "plan.json"


@dataclass(frozen=True)
class PlannedRun:
    """A run as the shards use it."""

    path: str
    """Its file."""
    source: int
    """Number of its source."""
    train: int
    """Documents of its train split, which stand first."""
    end: int | None
    """Documents from this position on are not taken; None: all are."""


@dataclass(frozen=True)
class Plan:
    """What shards there are and what they are made of."""

    runs: list[PlannedRun]
    """In the order of sources, parts and rows."""
    shards: dict[str, int]
    """By split, how many."""
    directories: dict[str, str]
    """By arm, where its splits go."""

    def save(self, directory: Path) -> None:
        """Write it for the workers."""
        runs = [[run.path, run.source, run.train, run.end] for run in self.runs]
        data = {"runs": runs, "shards": self.shards, "directories": self.directories}
        write_json_atomically(directory / PLAN, data)

    @staticmethod
    def load(directory: Path) -> "Plan":
        """The inverse of `save`."""
        data = read_json(directory / PLAN, "the plan of the shards")
        return Plan([PlannedRun(*run) for run in data["runs"]], data["shards"], data["directories"])


@dataclass
class Gathered:
    """The documents of one shard, in the order of the runs, before any arm's tokens."""

    runs: list[tuple[Path, int, int, np.ndarray]]
    """File of each run, first and last row, and which of these rows are taken."""
    order: np.ndarray
    """The final order of the rows that are taken: int64, shape (documents,)."""
    columns: dict[str, np.ndarray]
    """`raw_bytes`, `sha256`, `source`, by document in the final order."""


def assemble(directory: str, split: str, number: int) -> dict[str, Any]:
    """Write one shard of every arm; what is there already is not written again.

    Args:
        directory: the job's.
        split: ``train`` or ``validation``.
        number: of the shard.

    Returns:
        Its counts, by arm.
    """
    root = Path(directory)
    done = root / "shards" / f"{split}-{number:05d}.json"
    if done.exists():
        found: dict[str, Any] = read_json(done, "the counts of a shard")
        return found
    plan = Plan.load(root)
    place = workplace(directory)
    gathered = _gather(plan, root / "runs", split, number)
    result: dict[str, Any] = {}
    for arm in plan.directories:
        codec = place.codecs[arm]
        code = FormCode.load(Path(plan.directories[arm]))
        tokens, documents, spans = _of_arm(gathered, arm, code)
        target = Path(plan.directories[arm]) / split
        write_shard(target, number, tokens, documents)
        ids, counts = np.unique(tokens[tokens >= codec.vocabulary.base_size], return_counts=True)
        result[arm] = {
            "documents": len(documents),
            "raw_bytes": int(documents["raw_bytes"].sum()),
            "tokens": len(tokens),
            "spans": spans,
            "lost_bits": float(documents["lost_bits"].sum()),
            "exposures": {
                codec.vocabulary.added[int(i) - codec.vocabulary.base_size]: int(count)
                for i, count in zip(ids, counts, strict=True)
            },
        }
    write_json_atomically(done, result)
    return result


def _gather(plan: Plan, runs: Path, split: str, number: int) -> Gathered:
    low, high = _key_range(number, plan.shards[split])
    found = []
    keys, raw_bytes, digests, sources = [], [], [], []
    for run in plan.runs:
        reader = RunReader(runs / run.path)
        all_keys = reader.column("key")
        begin, end = (0, run.train) if split == SPLITS[0] else (run.train, len(all_keys))
        first = begin + int(np.searchsorted(all_keys[begin:end], low))
        last = end if high is None else begin + int(np.searchsorted(all_keys[begin:end], high))
        if first == last:
            continue
        taken = np.ones(last - first, dtype=bool)
        if run.end is not None:
            taken = reader.column("position", first, last) < run.end
        found.append((runs / run.path, first, last, taken))
        keys.append(all_keys[first:last][taken])
        raw_bytes.append(reader.column("raw_bytes", first, last)[taken])
        digests.append(reader.column("sha256", first, last)[taken])
        sources.append(np.full(int(taken.sum()), run.source, dtype=np.uint16))
    order = np.argsort(_joined(keys, np.uint64), kind="stable")
    columns = {
        "raw_bytes": _joined(raw_bytes, np.int64)[order],
        "sha256": (np.concatenate(digests) if digests else np.zeros((0, 32), np.uint8))[order],
        "source": _joined(sources, np.uint16)[order],
    }
    return Gathered(found, order, columns)


def _joined(arrays: list[np.ndarray], kind: Any) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, kind)


def _key_range(number: int, shards: int) -> tuple[np.uint64, np.uint64 | None]:
    low = np.uint64(number * 2**64 // shards)
    return low, None if number + 1 == shards else np.uint64((number + 1) * 2**64 // shards)


def _of_arm(gathered: Gathered, arm: str, code: FormCode) -> tuple[np.ndarray, np.ndarray, int]:
    """Tokens, index and number of changed stretches of a shard."""
    pieces: list[np.ndarray] = []
    lengths, lost = [], []
    spans = 0
    kind: Any = np.uint16
    for path, first, last, taken in gathered.runs:
        # Opened here and closed again: hundreds of mapped files would count as memory.
        reader = RunReader(path)
        all_lengths = reader.arm("lengths", arm)
        ends = np.cumsum(all_lengths[:last])
        start = int(ends[first - 1]) if first else 0
        tokens = reader.arm("tokens", arm, start, int(ends[-1]))
        kind = tokens.dtype
        cuts = ends[first:last] - start
        own = all_lengths[first:last]
        pieces += [tokens[end - length : end] for end, length in zip(cuts[taken], own[taken], strict=True)]
        lengths.append(own[taken])
        lost.append(_lost_bits(reader, arm, code, first, last)[taken])
        spans += int(reader.arm("spans", arm, first, last)[taken].sum())
    documents = np.zeros(len(pieces), DOCUMENT_TYPE)
    documents["tokens"] = _joined(lengths, np.int64)[gathered.order]
    documents["start"] = np.cumsum(documents["tokens"]) - documents["tokens"]
    documents["lost_bits"] = _joined(lost, np.float64)[gathered.order]
    for name, values in gathered.columns.items():
        documents[name] = values
    tokens = np.concatenate([pieces[int(i)] for i in gathered.order]) if pieces else np.zeros(0, kind)
    return tokens, documents, spans


def _lost_bits(reader: RunReader, arm: str, code: FormCode, first: int, last: int) -> np.ndarray:
    """What the replacements of each document lost (rule 5), shape (last - first,)."""
    rows = reader.arm("form_rows", arm)
    rows = rows[(rows[:, 0] >= first) & (rows[:, 0] < last)]
    price = np.array([code.price(form) for form in reader.forms(arm)], dtype=np.float64)
    if not len(rows):
        return np.zeros(last - first)
    return np.bincount(rows[:, 0] - first, weights=price[rows[:, 1]] * rows[:, 2], minlength=last - first)


def form_counts(runs: Path, planned: PlannedRun, arm: str) -> Counter[str]:
    """How often each form was replaced in the training documents of a run that are taken."""
    reader = RunReader(runs / planned.path)
    rows = reader.arm("form_rows", arm)
    rows = rows[rows[:, 0] < planned.train]
    if planned.end is not None:
        rows = rows[reader.column("position")[rows[:, 0]] < planned.end]
    found: Counter[str] = Counter()
    forms = reader.forms(arm)
    for _, form, count in rows:
        found[forms[int(form)]] += int(count)
    return found
