"""Evaluate one model on tasks: one row per item, written as Parquet."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vocablab.base.progress import Progress
from vocablab.evaluate.generation import generate
from vocablab.evaluate.likelihood import Scored, score_continuations, score_documents
from vocablab.evaluate.model import Loaded, load
from vocablab.tasks.answers import EXTRACTOR_VERSION
from vocablab.tasks.natural_text import TEXT_TASK, text_items
from vocablab.tasks.task import Item, Task
from vocablab.vocab.codec import Codec


@dataclass(frozen=True)
class Row:
    """One row of `scores.parquet`."""

    run_id: str
    """``study/arm/seedN``."""
    task: str
    """Name of the task."""
    item_id: str
    """The item, unique in its task."""
    cluster_id: str
    """Items that share it are not independent."""
    split: str
    """Part of the task."""
    metric: str
    """What `score` is: ``acc``, ``acc_norm`` or ``bits_per_byte``."""
    score: float | None
    """The score; None for text, whose measure is gold_bits over raw_bytes."""
    gold_bits: float
    """Bits of the reference, given the prompt, in the arm's own form, the lost form of replacements included."""
    raw_bytes: int
    """UTF-8 bytes of the reference."""
    n_tokens: int
    """Tokens of the reference that were scored."""
    prompt: str
    """What the model read."""
    output: str
    """What it answered, added tokens by name; empty where nothing is generated."""
    extracted: str
    """The answer read from the rendered output."""
    ended_eos: bool
    """Whether the answer ended by itself."""
    extractor_version: str
    """Version of the answer extractor."""
    secondary_metric: str = ""
    """What `secondary_score` is: ``acc_flexible``, or ``acc`` for choices."""
    secondary_score: float | None = None
    """A second score of the same item."""
    n_fact_tokens: int = 0
    """Added tokens in the answer."""
    n_fact_right: int = 0
    """Those of them that the reference has too."""
    fact_fits: bool = False
    """Whether an added token has a place in the reference."""


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "task", "item_id", "cluster_id", "split", "metric")),
        ("score", pa.float64()),
        ("gold_bits", pa.float64()),
        ("raw_bytes", pa.int64()),
        ("n_tokens", pa.int64()),
        *((name, pa.string()) for name in ("prompt", "output", "extracted")),
        ("ended_eos", pa.bool_()),
        ("extractor_version", pa.string()),
        ("secondary_metric", pa.string()),
        ("secondary_score", pa.float64()),
        ("n_fact_tokens", pa.int64()),
        ("n_fact_right", pa.int64()),
        ("fact_fits", pa.bool_()),
    ]
)
"""Column types of `scores.parquet`."""


def evaluate(
    pretrained: Path,
    corpus: Path,
    tuned: Path,
    tasks: list[Task],
    data: Path | None,
    texts: list[tuple[str, str]],
    run_id: str,
    out: Path,
    *,
    device: str,
    batch_size: int,
    max_new_tokens: int,
    progress: Progress,
) -> dict[str, Any]:
    """Ask a run's two models everything and write `scores.parquet` into `out`.

    Questions go to the fine-tuned model. Choices and documents go to the pretrained one: a few steps of
    fine-tuning on short answers wreck a small model's text, in every arm, and would be all that is measured.

    Args:
        pretrained: exported directory of the pretrained model.
        corpus: the prepared corpus it learned from.
        tuned: the same of the fine-tuned model.
        texts: held-out documents (name, raw text) for the task ``text``; may be empty.

    Returns:
        Counts for the record: rows, means, token use, and the gates of rules 8 and 9.
    """
    base, loaded = load(pretrained, corpus, device), load(tuned, tuned, device)
    rows: list[Row] = []
    seen: list[str] = []
    for number, task in enumerate(tasks):
        progress("evaluate", number, len(tasks) + 1, task.name)
        items = task.items(data)
        if task.kind == "choose":
            rows += score_choices(base, task, items, run_id, batch_size)
        else:
            rows += _answers(loaded, task, items, run_id, batch_size, max_new_tokens, seen)
    progress("evaluate", len(tasks), len(tasks) + 1, TEXT_TASK)
    rows += _documents(base, texts, run_id, batch_size)
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), out / "scores.parquet")
    return {**_summary(rows), "gates": _gates(loaded.codec, rows, seen)}


def _answers(
    loaded: Loaded, task: Task, items: list[Item], run_id: str, batch: int, longest: int, seen: list[str]
) -> list[Row]:
    key = [f"{task.name}/{item.item_id}" for item in items]
    gold = score_continuations(loaded, [(k, i.prompt, i.gold) for k, i in zip(key, items, strict=True)], batch)
    answers = generate(loaded, [(k, i.prompt) for k, i in zip(key, items, strict=True)], longest, batch)
    rows = []
    for name, item, cost, answer in zip(key, items, gold, answers, strict=True):
        rendered = loaded.codec.render(answer.ids)
        seen.append(rendered)
        grade = task.grade(item, rendered)
        wanted = {s.replacement for s in _token_spans(loaded.codec, item.prompt + item.gold, name, len(item.prompt))}
        emitted = _added_tokens(loaded.codec, answer.ids)
        rows.append(
            Row(
                **_common(run_id, task.name, item, cost),
                metric="acc",
                score=grade.strict,
                output=loaded.codec.decode(answer.ids),
                extracted=grade.extracted,
                ended_eos=answer.ended_eos,
                secondary_metric="acc_flexible",
                secondary_score=grade.flexible,
                n_fact_tokens=len(emitted),
                n_fact_right=sum(token in wanted for token in emitted),
                fact_fits=bool(wanted),
            )
        )
    return rows


def score_choices(loaded: Loaded, task: Task, items: list[Item], run_id: str, batch: int) -> list[Row]:
    pairs = [(f"{task.name}/{i.item_id}", i.prompt, choice) for i in items for choice in i.choices]
    costs = score_continuations(loaded, pairs, batch)
    rows, position = [], 0
    for item in items:
        mine = costs[position : position + len(item.choices)]
        position += len(item.choices)
        raw = _smallest([c.bits for c in mine])
        # acc_norm: log-likelihood per byte of the choice (lm-evaluation-harness's definition).
        per_byte = _smallest([c.bits / c.raw_bytes for c in mine])
        rows.append(
            Row(
                **_common(run_id, task.name, item, mine[item.label]),
                metric="acc_norm",
                score=float(per_byte == item.label),
                output="",
                extracted=str(per_byte),
                ended_eos=False,
                secondary_metric="acc",
                secondary_score=float(raw == item.label),
            )
        )
    return rows


def _documents(loaded: Loaded, texts: list[tuple[str, str]], run_id: str, batch: int) -> list[Row]:
    items = text_items(texts)
    costs = score_documents(loaded, texts, batch)
    return [
        Row(
            **_common(run_id, TEXT_TASK, item, cost),
            metric="bits_per_byte",
            score=None,
            output="",
            extracted="",
            ended_eos=False,
        )
        for item, cost in zip(items, costs, strict=True)
    ]


def _common(run_id: str, task: str, item: Item, cost: Scored) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "task": task,
        "item_id": item.item_id,
        "cluster_id": item.cluster_id,
        "split": item.split,
        "prompt": item.prompt,
        "gold_bits": cost.bits,
        "raw_bytes": cost.raw_bytes,
        "n_tokens": cost.n_tokens,
        "extractor_version": EXTRACTOR_VERSION,
    }


def _smallest(values: Sequence[float]) -> int:
    return min(range(len(values)), key=values.__getitem__)


def _token_spans(codec: Codec, text: str, name: str, start: int) -> list[Any]:
    return [s for s in codec.intervention.spans(text, name) if s.is_token and s.start >= start]


def _added_tokens(codec: Codec, ids: list[int]) -> list[str]:
    vocabulary = codec.vocabulary
    return [vocabulary.added[i - vocabulary.base_size] for i in ids if vocabulary.base_size <= i < vocabulary.size]


def _summary(rows: list[Row]) -> dict[str, Any]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[f"{row.task}.{row.split}"].append(row)
    means = {}
    for name, group in groups.items():
        scores = [row.score for row in group if row.score is not None]
        means[name] = {
            "n": len(group),
            group[0].metric: sum(scores) / len(scores) if scores else None,
            "gold_bits_per_byte": sum(r.gold_bits for r in group) / max(1, sum(r.raw_bytes for r in group)),
        }
    asked = [row for row in rows if row.metric == "acc"]
    return {
        "rows": len(rows),
        "means": means,
        "fact_tokens_emitted": sum(row.n_fact_tokens for row in rows),
        "fact_tokens_right": sum(row.n_fact_right for row in rows),
        "answers_ended": sum(row.ended_eos for row in asked) / max(1, len(asked)),
    }


def _gates(codec: Codec, rows: list[Row], extracted_from: list[str]) -> list[dict[str, Any]]:
    named = [text for text in extracted_from if any(token in text for token in codec.vocabulary.added)]
    empty = [row for row in rows if row.n_tokens == 0]
    unique = len({(row.task, row.item_id) for row in rows}) == len(rows)
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
