"""Raw documents to an arm's shards: the only place where an intervention meets a corpus."""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocablab.base.errors import RunError
from vocablab.base.files import write_json_atomically
from vocablab.base.random_streams import numpy_stream, unit_interval
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.shards import write_shard
from vocablab.corpus.sources import Corpus, Document
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import Span

BATCH = 512
"""Documents encoded at a time."""
MAX_DROPPED_SHARE = 0.01
"""Above this share of dropped documents the corpus is refused."""


@dataclass(frozen=True)
class RawCorpus:
    """The documents of one seed, before any intervention: the same for every arm."""

    train: list[Document]
    """Training documents in training order."""
    validation: list[Document]
    """Held-out documents."""
    dropped: dict[str, int]
    """How many documents were left out, by reason."""

    @property
    def train_bytes(self) -> int:
        """Raw UTF-8 bytes of the training documents."""
        return sum(len(d.text.encode("utf-8", "surrogatepass")) for d in self.train)


def gather(corpus: Corpus, data: Path | None, seed: int) -> RawCorpus:
    """Collect, split and shuffle the documents of a corpus.

    Raises:
        RunError: if too many documents had to be dropped.
    """
    train: list[Document] = []
    validation: list[Document] = []
    dropped: Counter[str] = Counter()
    for source in corpus.sources:
        for document in source.documents(data, seed):
            if not document.text.strip():
                dropped["empty"] += 1
            elif unit_interval(0, "validation", document.name) < corpus.validation_share:
                validation.append(document)
            else:
                train.append(document)
    total = len(train) + len(validation) + dropped.total()
    if dropped.total() > MAX_DROPPED_SHARE * total:
        raise RunError(f"{dropped.total()} of {total} documents were dropped ({dict(dropped)}); at most 1 % may be.")
    order = numpy_stream(seed, "document order").permutation(len(train))
    return RawCorpus([train[int(i)] for i in order], validation, dict(dropped))


def prepare(
    corpus: Corpus,
    raw: RawCorpus,
    codec: Codec,
    directory: Path,
    target_bytes: float,
    max_epochs: float,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Write an arm's shards ``train/`` and ``validation/`` and ``documents.json`` into `directory`.

    Args:
        corpus: the declared corpus.
        raw: its documents (`gather`).
        codec: the arm's vocabulary and intervention.
        directory: where to write.
        target_bytes: raw bytes that training wants to read.
        max_epochs: how often it may read the corpus at most.
        progress: called with (documents done, all documents).

    Returns:
        Counts for the record, with the gates of rules 2, 3 and 12.

    Raises:
        RunError: rule 12, if the corpus is too short for its target; rule 2, if a replacement cannot be undone.
    """
    if target_bytes > raw.train_bytes * max_epochs:
        raise RunError(
            f"the corpus has {raw.train_bytes} training bytes, {target_bytes:.0f} are wanted and at most "
            f"{max_epochs:g} epochs are allowed: it stops short of its target."
        )
    spans = [codec.intervention.spans(d.text, d.name) for d in raw.train]
    code = FormCode(Counter(span.form for found in spans for span in found))
    done, total = 0, len(raw.train) + len(raw.validation)
    counts: dict[str, Any] = {"dropped": raw.dropped}
    emitted: Counter[str] = Counter()
    held_spans = [codec.intervention.spans(d.text, d.name) for d in raw.validation]
    for name, documents, found in (("train", raw.train, spans), ("validation", raw.validation, held_spans)):
        tokens: list[np.ndarray] = []
        rows: list[tuple[int, float, bytes]] = []
        for start in range(0, len(documents), BATCH):
            texts = [document.text for document in documents[start : start + BATCH]]
            ids = codec.encode_batch(texts, found[start : start + BATCH])
            tokens += [np.append(row, np.int32(codec.vocabulary.eos_id)) for row in ids]
            progress(done + len(tokens), total)
        done += len(documents)
        for document, changed in zip(documents, found, strict=True):
            if codec.restore(document.text, changed) != document.text:
                raise RunError(f"rule 2: the replacements in document {document.name} cannot be undone.")
            data = document.text.encode("utf-8", "surrogatepass")
            rows.append((len(data), code.bits(changed), hashlib.sha256(data).hexdigest().encode()))
            if name == "train":
                emitted.update(s.replacement for s in changed if s.is_token)
        write_shard(directory / name, tokens, rows, codec.vocabulary.padded_size)
        counts[name] = _counts(tokens, rows, found)
    code.save(directory)
    write_json_atomically(directory / "documents.json", {d.name: d.source for d in [*raw.train, *raw.validation]})
    counts["exposures"] = dict(sorted(emitted.items()))
    counts["dose"] = emitted.total() / max(1, counts["train"]["tokens"])
    counts["gates"] = _gates(codec, counts, target_bytes, raw.train_bytes * max_epochs)
    return counts


def _counts(tokens: list[np.ndarray], rows: list[tuple[int, float, bytes]], spans: list[list[Span]]) -> dict[str, Any]:
    return {
        "documents": len(rows),
        "raw_bytes": sum(row[0] for row in rows),
        "tokens": int(sum(len(t) for t in tokens)),
        "spans": sum(len(found) for found in spans),
        "lost_bits": sum(row[1] for row in rows),
        "documents_sha256": hashlib.sha256(b"".join(row[2] for row in rows)).hexdigest(),
    }


def _gates(codec: Codec, counts: dict[str, Any], target: float, available: float) -> list[dict[str, Any]]:
    spans, expects = counts["train"]["spans"], codec.intervention.changes_text
    return [
        {
            "rule": 2,
            "name": "Every replacement restored exactly",
            "passed": True,
            "detail": f"{spans} train and {counts['validation']['spans']} validation replacements undone",
        },
        {
            "rule": 3,
            "name": "Control changes nothing, treatment something",
            "passed": (spans > 0) == expects,
            "detail": f"{spans} spans changed, {'some' if expects else 'none'} expected",
        },
        {
            "rule": 12,
            "name": "Corpus reaches its target",
            "passed": available >= target,
            "detail": f"{available:.0f} bytes available for {target:.0f} wanted",
        },
    ]
