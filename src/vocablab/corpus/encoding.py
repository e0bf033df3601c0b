"""A block of documents to runs: the work of one worker, the same for every arm."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vocablab.base.errors import RunError
from vocablab.base.files import sha256_file
from vocablab.corpus.blocks import PIECES, Block, Raw
from vocablab.corpus.hashing import is_held_out, order_keys, text_hash
from vocablab.corpus.leaks import LeakIndex
from vocablab.corpus.runs import SPLITS, ArmCounts, ArmRun, Counts, Run, Summary, write_block_summary, write_run
from vocablab.corpus.sources import document_name
from vocablab.vocab.codec import Codec, load_codec, save_codec
from vocablab.vocab.intervention import Span
from vocablab.vocab.vocabulary import EOS

RUN_CHARACTERS = 8 << 20
"""A run is closed when its documents have this many characters. It changes no result."""
LEAKS_LISTED = 20
"""Leaks named per run; all are counted."""


@dataclass(frozen=True)
class Workplace:
    """What a worker must know, read from the job's directory: nothing but a path travels to it."""

    runs: Path
    """Where runs go."""
    seed: int
    """The run's seed."""
    validation_share: float
    """As in `Corpus`."""
    sources: tuple[str, ...]
    """Their labels."""
    codecs: dict[str, Codec]
    """The arms."""
    leaks: LeakIndex | None
    """What must not be in a training document."""


def set_up(
    directory: Path,
    seed: int,
    validation_share: float,
    sources: list[str],
    codecs: dict[str, Codec],
    leaks: LeakIndex | None,
) -> None:
    """Lay a job out in `directory` for `workplace`."""
    (directory / "runs").mkdir(parents=True, exist_ok=True)
    for name, codec in codecs.items():
        (directory / "arms" / name).mkdir(parents=True, exist_ok=True)
        save_codec(codec, directory / "arms" / name)
    if leaks is not None:
        leaks.save(directory / "leaks")
    job = {"seed": seed, "validation_share": validation_share, "sources": sources, "arms": list(codecs)}
    (directory / "job.json").write_text(json.dumps(job), encoding="utf-8")


@lru_cache(maxsize=1)
def workplace(directory: str) -> Workplace:
    """What `set_up` laid out; read once per process."""
    root = Path(directory)
    job = json.loads((root / "job.json").read_text(encoding="utf-8"))
    codecs = {name: _codec(root / "arms" / name) for name in job["arms"]}
    leaks = LeakIndex.load(root / "leaks") if (root / "leaks").exists() else None
    return Workplace(root / "runs", job["seed"], job["validation_share"], tuple(job["sources"]), codecs, leaks)


_CODECS: dict[tuple[str, ...], Codec] = {}


def _codec(place: Path) -> Codec:
    """A codec by what its files hold: a worker that has made it for one job or arm does not make it again."""
    known = tuple(sha256_file(file) for file in sorted(place.iterdir()))
    if known not in _CODECS:
        _CODECS[known] = load_codec(place)
    return _CODECS[known]


def summary_name(source: int, block: Block) -> str:
    """File name of the summary that says a block is done."""
    return f"{source:02d}-{block.part:06d}-{block.first:012d}.json"


def encode_block(directory: str, source: int, part: str, block: Block) -> list[Summary]:
    """Turn a block into runs.

    Args:
        directory: the job's (`set_up`).
        source: number of the source.
        part: name of the block's part.
        block: the documents.

    Returns:
        One summary per run, the last of which may be of no document at all.

    Raises:
        RunError: rule 2, if a replacement cannot be undone.
    """
    place = workplace(directory)
    name = summary_name(source, block)
    found = []
    for number, documents in enumerate(_batches(block.documents())):
        summary, run = _encode(place, source, part, block.part, documents)
        if run is not None:
            summary.path = name.replace(".json", f"-{number:04d}.run")
            write_run(place.runs / summary.path, run)
        found.append(summary)
    write_block_summary(place.runs / name, found)
    return found


def _batches(documents: Iterable[Raw]) -> Iterator[list[Raw]]:
    batch: list[Raw] = []
    size = 0
    for raw in documents:
        batch.append(raw)
        size += len(raw.text)
        if size >= RUN_CHARACTERS:
            yield batch
            batch, size = [], 0
    yield batch


@dataclass(frozen=True)
class _Kept:
    position: int
    text: str
    data: bytes
    is_utf8: bool
    digest: bytes


def _encode(
    place: Workplace, source: int, part_name: str, part: int, documents: list[Raw]
) -> tuple[Summary, Run | None]:
    dropped: Counter[str] = Counter()
    noticed: Counter[str] = Counter()
    leaks: list[list[str]] = []
    kept: list[_Kept] = []
    label = place.sources[source]
    for raw in documents:
        if raw.dropped:
            dropped[raw.dropped] += 1
            continue
        one = _kept(raw)
        leak = place.leaks.find(raw.text) if place.leaks is not None else None
        if leak is not None:
            dropped[f"leak: {leak.set}"] += 1
            if len(leaks) < LEAKS_LISTED:
                leaks.append([document_name(label, part_name, raw.position), leak.set, leak.item, leak.kind])
            continue
        kept.append(one)
        if EOS in raw.text:
            noticed[f"literal {EOS}"] += 1
        if not one.is_utf8:
            noticed["lone surrogate"] += 1
        if raw.position % PIECES:
            noticed["later piece of a long document"] += 1
    summary = Summary("", source, part, 0, {}, dict(dropped), dict(noticed), {}, leaks)
    if not kept:
        return summary, None
    held = np.array([is_held_out(one.digest, place.validation_share) for one in kept])
    positions = np.array([one.position for one in kept], dtype=np.int64)
    keys = order_keys(place.seed, label, part_name, positions)
    order = np.lexsort((keys, held))
    kept = [kept[int(i)] for i in order]
    train = summary.rows_train = int((~held).sum())
    first = next(iter(place.codecs.values())).vocabulary
    if all(one.is_utf8 for one in kept):
        plain = first.encode_utf8_batch([one.data for one in kept])
    else:
        plain = first.encode_plain_batch([one.text for one in kept])
    columns = {
        "key": keys[order],
        "position": positions[order],
        "is_train": ~held[order],
        "raw_bytes": np.array([len(one.data) for one in kept], dtype=np.int64),
        "base_tokens": np.diff(plain.offsets),
        "sha256": np.frombuffer(b"".join(one.digest for one in kept), dtype=np.uint8).reshape(-1, 32),
    }
    arms: dict[str, ArmRun] = {}
    names = [document_name(label, part_name, one.position) for one in kept]
    for arm, codec in place.codecs.items():
        spans = _spans(codec, kept, names)
        arms[arm] = _arm_run(codec, kept, spans, plain.ids, plain.offsets)
        summary.forms[arm] = dict(Counter(s.form for i, many in spans.items() if i < train for s in many))
    for split, rows in zip(SPLITS, (slice(0, train), slice(train, None)), strict=True):
        summary.split[split] = counts_of(columns, arms, rows)
    return summary, Run(columns, arms)


def counts_of(columns: dict[str, np.ndarray], arms: dict[str, ArmRun], rows: Any) -> Counts:
    """Counts of some rows (a slice or a mask) of a run."""
    return Counts(
        len(columns["raw_bytes"][rows]),
        int(columns["raw_bytes"][rows].sum()),
        int(columns["base_tokens"][rows].sum()),
        {
            name: ArmCounts(int(arm.lengths[rows].sum()), int(arm.added[rows].sum()), int(arm.spans[rows].sum()))
            for name, arm in arms.items()
        },
    )


def _kept(raw: Raw) -> _Kept:
    try:
        data, is_utf8 = raw.text.encode(), True
    except UnicodeEncodeError:
        data, is_utf8 = raw.text.encode("utf-8", "surrogatepass"), False
    return _Kept(raw.position, raw.text, data, is_utf8, text_hash(data))


def _spans(codec: Codec, kept: list[_Kept], names: list[str]) -> dict[int, list[Span]]:
    """The documents that the arm changes, and where; proved reversible (rule 2)."""
    found = {}
    rule = codec.intervention
    for index, one in enumerate(kept):
        if one.is_utf8 and not rule.may_change(one.data):
            continue
        spans = rule.spans(one.text, names[index])
        if spans:
            if codec.restore(one.text, spans) != one.text:
                raise RunError(f"rule 2: the replacements in document {names[index]} cannot be undone.")
            found[index] = spans
    return found


def _arm_run(
    codec: Codec, kept: list[_Kept], spans: dict[int, list[Span]], ids: np.ndarray, offsets: np.ndarray
) -> ArmRun:
    """An arm's tokens: those of the base vocabulary, but for the documents that it changes."""
    number = len(kept)
    added, changed = np.zeros(number, dtype=np.int64), np.zeros(number, dtype=np.int64)
    forms: dict[str, int] = {}
    rows: list[tuple[int, int, int]] = []
    pieces: list[np.ndarray] = []
    lengths = np.diff(offsets)
    where = sorted(spans)
    position = 0
    for index, own in zip(
        where, codec.encode_batch([kept[i].text for i in where], [spans[i] for i in where]), strict=True
    ):
        pieces += [ids[position : offsets[index]], own]
        position = int(offsets[index + 1])
        lengths[index] = len(own)
        added[index] = sum(span.is_token for span in spans[index])
        changed[index] = len(spans[index])
        for form, count in Counter(span.form for span in spans[index]).items():
            rows.append((index, forms.setdefault(form, len(forms)), count))
    stream = np.concatenate([*pieces, ids[position:]]) if pieces else ids
    kind = np.uint16 if codec.vocabulary.padded_size <= 2**16 else np.uint32
    tokens = np.empty(len(stream) + number, dtype=kind)
    ends = np.cumsum(lengths)
    tokens[ends + np.arange(number)] = codec.vocabulary.eos_id
    start = 0
    for index, end in enumerate(ends.tolist()):
        tokens[start + index : end + index] = stream[start:end]
        start = end
    return ArmRun(tokens, lengths + 1, added, changed, list(forms), np.array(rows, dtype=np.int64).reshape(-1, 3))
