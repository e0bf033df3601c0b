"""One model, asked and recorded: what `vocablab evaluate` does with each model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from vocablab.analysis.score_table import score_table
from vocablab.base.config import fingerprint, to_json
from vocablab.base.errors import UserError
from vocablab.base.files import read_json, write_json_atomically
from vocablab.base.progress import Progress
from vocablab.base.records import read_record
from vocablab.corpus.files import documents_of, text_files
from vocablab.evaluate.answering import Answering
from vocablab.evaluate.documents import TEXT_MODES
from vocablab.evaluate.forced_prefix import FORCED_PREFIX, known_facts
from vocablab.evaluate.rows import write_rows
from vocablab.evaluate.run import Asked, evaluate
from vocablab.lab.artifacts import FORMATS, is_done, run_stage
from vocablab.lab.models import Source
from vocablab.tasks.answers import EXTRACTOR_VERSION
from vocablab.tasks.named import named_tasks
from vocablab.tasks.natural_text import TEXT_TASK
from vocablab.tasks.task import evenly

REPORT = "scores.json"
"""The table as JSON, beside the scores."""
LONGEST = 256
"""Tokens of an answer, at most, if the user says nothing: GSM8K's worked answers have up to 250 in GPT-2's."""
HELD_OUT = "openstax/openstax-val.jsonl.zst"
"""Documents of the task text if the user names none, in the data directory."""


@dataclass(frozen=True)
class Evaluated:
    """What came of one model."""

    source: Source
    """The model."""
    directory: Path
    """Where the scores are."""
    report: dict[str, Any]
    """``table``, ``notes`` and ``counts``."""


def wanted(
    names: Sequence[str], limit: int | None, shots: int, answering: Answering, text: Path | None,
    text_modes: tuple[str, ...], data: Path | None,
) -> Asked:  # fmt: skip
    """What a user asks for by name.

    Raises:
        UserError: for an unknown task, or documents that are missing.
    """
    tasks = named_tasks([name for name in names if name not in (TEXT_TASK, FORCED_PREFIX)], limit, shots)
    for mode in text_modes:
        if mode not in TEXT_MODES:
            raise UserError(f"--text-modes: '{mode}' is none of {', '.join(TEXT_MODES)}.")
    if text is not None and TEXT_TASK not in names:
        raise UserError(f"--text {text} is for the task text, which --tasks does not name.")
    documents = _documents(text, data, limit) if TEXT_TASK in names else ()
    return Asked(tuple(tasks), answering, documents, text_modes, FORCED_PREFIX in names)


def _documents(text: Path | None, data: Path | None, limit: int | None) -> tuple[tuple[str, str], ...]:
    if text is None:
        if data is None or not (data / HELD_OUT).exists():
            raise UserError(f"the task text needs documents: --text FILE, or --data DIR with {HELD_OUT}.")
        text = data / HELD_OUT
    if not text.exists():
        raise UserError(f"--text {text}: there is no such file or directory.")
    files = text_files(text) if text.is_dir() else [text]
    # Two directories may hold files of one name.
    names = [str(file.relative_to(text)) if text.is_dir() else file.name for file in files]
    found = [
        (f"{name}/{number}", document) for name, file in zip(names, files, strict=True)
        for number, document in enumerate(documents_of(file)) if document
    ]  # fmt: skip
    if not found:
        raise UserError(f"--text {text}: there are no documents in it.")
    return tuple(document for _, document in evenly(found, limit))


def evaluate_and_record(
    source: Source, asked: Asked, data: Path | None, out: Path | None, device: str, batch_size: int, shortens: bool,
    progress: Progress,
) -> Evaluated:  # fmt: skip
    """Ask a model, or find that it was asked the same before.

    Args:
        source: the model.
        asked: what.
        data: the data directory, or None.
        out: where the scores go; None for a directory of its own beside the model.
        device: where the model goes.
        batch_size: prompts at a time.
        shortens: whether answers may be shortened to half the context, so that a prompt has room.
        progress: how it goes.
    """
    identity = {
        "stage": "evaluate",
        "format": FORMATS["evaluate"],
        "model": source.identity(),
        "tasks": to_json(asked.tasks, identity_only=True),
        "answering": to_json(asked.answering, identity_only=True),
        "texts": hashlib.sha256(repr(asked.texts).encode("utf-8", "surrogatepass")).hexdigest(),
        "text_modes": list(asked.text_modes),
        "forced_prefix": asked.forced_prefix,
        "shortens": shortens,
        "extractor": EXTRACTOR_VERSION,
    }
    directory = source.place(out, fingerprint(identity)[:8])

    def work(partial: Path) -> dict[str, Any]:
        loaded = source.load(device)
        longest = asked.answering.max_new_tokens
        if shortens:
            longest = min(longest, loaded.context // 2)
        fitting = replace(asked, answering=replace(asked.answering, max_new_tokens=longest))
        scores = evaluate(loaded, fitting, data, source.name, progress, batch_size)
        if not scores.rows:
            raise UserError(f"{source.name} has no fact tokens, and nothing else was asked: there is nothing to score.")
        write_rows(scores.rows, partial / "scores.parquet")
        table = score_table(pq.read_table(partial / "scores.parquet"))
        notes = _notes(scores.counts, fitting, bool(known_facts(loaded)[1]), bool(loaded.codec.vocabulary.added))
        write_json_atomically(partial / REPORT, {"table": table, "notes": notes, "counts": scores.counts})
        return scores.counts

    if not is_done(directory, identity):
        run_stage(directory, identity, work, device, resumes=False)
    record = read_record(directory)
    assert record is not None
    return Evaluated(source, directory, read_json(directory / REPORT, "the table of scores"))


def _notes(counts: dict[str, Any], asked: Asked, facts: bool, added: bool) -> list[str]:
    """What a reader must know beside the table."""
    notes = []
    if asked.answering.max_new_tokens < LONGEST and counts["answers"]:
        notes.append(f"Answers had at most {asked.answering.max_new_tokens} tokens.")
    if counts["prompts_cut"]:
        notes.append(
            f"{counts['prompts_cut']} of {counts['answers']} prompts were cut from the left: the context has no room "
            "for them beside the longest answer."
        )
    if asked.forced_prefix and not facts:
        notes.append("forced_prefix: this model has no fact tokens, so it was not asked.")
    if "forced" in asked.answering.decodings and not added:
        notes.append("decoding forced: this model has no added tokens, so there is nothing to force.")
    if added and counts["answers"]:
        adoption = counts["adoption"]
        used = "" if adoption is None else f"; adoption where one fits {adoption:.1%}"
        right, emitted = counts["fact_tokens_right"], counts["fact_tokens_emitted"]
        notes.append(f"Added tokens in free answers: {emitted}, {right} of them in the reference too{used}.")
    if counts["reliance"] is not None:
        notes.append(f"Reliance: {counts['reliance']:.1%} of the answers followed a planted, wrong statement.")
    notes += [f"GATE rule {g['rule']} is red: {g['name']} ({g['detail']})." for g in counts["gates"] if not g["passed"]]
    return notes
