"""Evaluate a model on tasks: one row per item."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vocablab.base.progress import Progress
from vocablab.evaluate.answering import COUNTERFACTUAL, FORCED, Answering, score_answers
from vocablab.evaluate.choosing import score_choices
from vocablab.evaluate.documents import NATIVE, TEXT_MODES, score_texts
from vocablab.evaluate.forced_prefix import score_forced_prefix
from vocablab.evaluate.model import Loaded, load
from vocablab.evaluate.rows import Row, write_rows
from vocablab.tasks.natural_text import TEXT_TASK
from vocablab.tasks.task import Task
from vocablab.vocab.codec import Codec

BATCH = 32
"""Prompts per forward pass; on a GPU more fit, and `vocablab.evaluate.packing` bounds their tokens."""


@dataclass(frozen=True)
class Asked:
    """What a model is asked."""

    tasks: tuple[Task, ...] = ()
    """Tasks with choices or answers."""
    answering: Answering = Answering()
    """How answers are made."""
    texts: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Held-out documents, (name, raw text)."""
    text_modes: tuple[str, ...] = (NATIVE,)
    """How they are read."""
    forced_prefix: bool = False
    """Whether to ask for the fact tokens themselves (`vocablab.evaluate.forced_prefix`)."""


@dataclass(frozen=True)
class Scores:
    """What came of it."""

    rows: list[Row]
    """One per item, mode and decoding."""
    counts: dict[str, Any]
    """For the record: rows, means, token use, the gates of rules 8 and 9."""


def evaluate(
    loaded: Loaded, asked: Asked, data: Path | None, run_id: str, progress: Progress, batch_size: int = BATCH
) -> Scores:
    """Ask a model everything.

    Args:
        loaded: the model.
        asked: what.
        data: the data directory, or None.
        run_id: for the rows.
        progress: called with steps done, all steps, and what is being asked.
        batch_size: prompts per forward pass; does not change a result.
    """
    rows: list[Row] = []
    seen: list[str] = []
    steps = len(asked.tasks) + 1
    for number, task in enumerate(asked.tasks):
        progress("evaluate", number, steps, f"{task.name} {task.mode}".strip())
        items = task.items(data)
        if task.kind == "choose":
            rows += score_choices(loaded, task, items, run_id, batch_size)
        else:
            rows += score_answers(loaded, task, items, run_id, batch_size, asked.answering, seen)
    progress("evaluate", len(asked.tasks), steps, TEXT_TASK)
    if asked.forced_prefix:
        rows += score_forced_prefix(loaded, run_id, batch_size)
    rows += score_texts(loaded, asked.texts, run_id, batch_size, asked.text_modes)
    progress("evaluate", steps, steps, "")
    return Scores(rows, {**summary(rows), "gates": gates(loaded.codec, rows, seen)})


def evaluate_run(
    pretrained: Path, tuned: Path, asked: Asked, data: Path | None, run_id: str, out: Path, device: str,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Ask the two models of a study's run, and write `scores.parquet` into `out`.

    Questions go to the fine-tuned model. Choices and documents go to the pretrained one: a few steps of
    fine-tuning on short answers wreck a small model's text, in every arm, and would be all that is measured.

    Args:
        pretrained: exported directory of the pretrained model.
        tuned: the same of the fine-tuned model.
        asked: what they are asked.
        data: the data directory, or None.
        run_id: ``study/arm/seedN``.
        out: where the scores go.
        device: where the models go.
        progress: called with steps done, all steps, and what is being asked.

    Returns:
        Counts for the record.
    """
    choices = tuple(task for task in asked.tasks if task.kind == "choose")
    answers = tuple(task for task in asked.tasks if task.kind != "choose")
    tuned_scores = evaluate(
        load(tuned, device), Asked(answers, asked.answering, forced_prefix=asked.forced_prefix), data, run_id, progress
    )
    base_scores = evaluate(
        load(pretrained, device), Asked(choices, texts=asked.texts, text_modes=asked.text_modes), data, run_id, progress
    )
    rows = tuned_scores.rows + base_scores.rows
    write_rows(rows, out / "scores.parquet")
    # Rendered answers come from the fine-tuned model alone, so its gate of rule 9 is the one.
    own, other = tuned_scores.counts["gates"], base_scores.counts["gates"]
    both = [mine | {"passed": mine["passed"] and theirs["passed"]} for mine, theirs in zip(own, other, strict=True)]
    return {**summary(rows), "gates": both}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Means by task, and how added tokens were used."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[".".join(part for part in (row.task, row.mode, row.decoding, row.split) if part)].append(row)
    means = {}
    for name, group in groups.items():
        scores = [row.score for row in group if row.score is not None]
        means[name] = {
            "n": len(group),
            group[0].metric: sum(scores) / len(scores) if scores else None,
            "gold_bits_per_byte": sum(r.gold_bits for r in group) / max(1, sum(r.raw_bytes for r in group)),
        }
    return {"rows": len(rows), "means": means, **token_use(rows)}


def token_use(rows: Sequence[Row]) -> dict[str, Any]:
    """How added tokens were used where nothing made the model use them.

    Emitted and right (the reference has it too), in all and by token; adoption: of the items whose reference has a
    place for one, the share whose answer has a right one.
    """
    free = [row for row in rows if row.decoding and row.decoding not in (FORCED, COUNTERFACTUAL)]
    fits = [row for row in free if row.fact_fits]
    misled = [row for row in rows if row.decoding == COUNTERFACTUAL]
    emitted: Counter[str] = Counter(token for row in free for token in row.fact_tokens)
    right: Counter[str] = Counter(token for row in free for token in row.fact_tokens_right)
    return {
        "answers": len(free),
        "answers_ended": sum(row.ended_eos for row in free) / len(free) if free else None,
        "repetition": sum(row.repetition or 0.0 for row in free) / len(free) if free else None,
        "prompts_cut": sum(row.prompt_cut for row in free),
        "fact_tokens_emitted": sum(row.n_fact_tokens for row in free),
        "fact_tokens_right": sum(row.n_fact_right for row in free),
        "fact_tokens_by_name": {name: {"emitted": n, "right": right[name]} for name, n in emitted.most_common()},
        "adoption": sum(row.n_fact_right > 0 for row in fits) / len(fits) if fits else None,
        "reliance": sum(row.reliance or 0.0 for row in misled) / len(misled) if misled else None,
    }


def gates(codec: Codec, rows: Sequence[Row], extracted_from: Sequence[str]) -> list[dict[str, Any]]:
    """Rules 8 and 9 on what was scored."""
    named = [text for text in extracted_from if any(token in text for token in codec.vocabulary.added)]
    # Outside what is replaced a document may have nothing; everywhere else something is scored.
    empty = [row for row in rows if row.n_tokens == 0 and row.mode not in TEXT_MODES[1:]]
    unique = len({(row.task, row.mode, row.decoding, row.item_id) for row in rows}) == len(rows)
    return [
        {
            "rule": 8,
            "name": "Every reference is scored on at least one token",
            "passed": not empty,
            "detail": f"{len(rows)} rows, {len(empty)} of them empty",
        },
        {
            "rule": 9,
            "name": "No token name reaches the answer extractor",
            "passed": not named,
            "detail": f"{len(extracted_from)} rendered answers, {len(named)} with a token name",
        },
        {
            "rule": 9,
            "name": "One row per item",
            "passed": unique,
            "detail": f"{len(rows)} rows",
        },
    ]
