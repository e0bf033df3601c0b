"""What the models wrote: fact-token adoption by arm, and the same items side by side."""

import math
import re
from typing import Any

import pyarrow as pa

from vocablab.analysis.scores import StudyFiles, column, usual_ways, ways
from vocablab.base.random_streams import stream_seed

PER_SPLIT = 3
"""Samples of each kind (drawn blind, arms differ) per task and split."""
_LONGEST = 4000
"""Characters of a prompt or output that the report keeps."""
_FACT_TOKEN = re.compile(r"<[A-Z][A-Z0-9]*(?:_[A-Za-z0-9.+\-]+)+>")


def token_pieces(text: str) -> list[tuple[str, str]]:
    """Cut `text` into (kind, piece), kind being ``text``, ``fact`` or ``sham``; the pieces join to `text`."""
    pieces, at = [], 0
    for match in _FACT_TOKEN.finditer(text):
        if match.start() > at:
            pieces.append(("text", text[at : match.start()]))
        pieces.append(("sham" if match.group().startswith("<SHAM_") else "fact", match.group()))
        at = match.end()
    if at < len(text):
        pieces.append(("text", text[at:]))
    return pieces


def adoption(study: StudyFiles) -> list[dict[str, Any]]:
    """How fact tokens are used, per generated task and split and arm, over all seeds.

    ``per_answer``: fact tokens per answer. ``right``: share of them that state a true fact (None if there
    are none). ``adopted``: share of the answers where a fact fits that hold at least one token (None if a
    fact fits nowhere).
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for (arm, _), run in study.runs.items():
        if run.scores is None or "n_fact_tokens" not in run.scores.column_names:
            continue
        names = ("task", "split", "output", "n_fact_tokens", "n_fact_right", "fact_fits", "ended_eos")
        usual = usual_ways(run.scores)
        for way, task, split, output, tokens, right, fits, ended in zip(
            ways(run.scores), *(column(run.scores, name) for name in names), strict=True
        ):
            # A likelihood task generates nothing; a forced answer says nothing about what the model would have used.
            if not output or way != usual[task]:
                continue
            row = rows.setdefault(
                (task, split, arm),
                {"answers": 0, "fact_tokens": 0, "fact_right": 0, "fits": 0, "fits_used": 0, "ended": 0},
            )
            row["answers"] += 1
            row["fact_tokens"] += tokens or 0
            row["fact_right"] += right or 0
            row["fits"] += bool(fits)
            row["fits_used"] += bool(fits) and (tokens or 0) > 0
            row["ended"] += bool(ended)
    order = {name: index for index, name in enumerate(study.arm_names)}
    return [
        {"target": f"{task}.{split}" if split else task, "arm": arm, **row}
        | {
            "per_answer": row["fact_tokens"] / row["answers"],
            "right": row["fact_right"] / row["fact_tokens"] if row["fact_tokens"] else None,
            "adopted": row["fits_used"] / row["fits"] if row["fits"] else None,
            "ended_share": row["ended"] / row["answers"],
        }
        for (task, split, arm), row in sorted(rows.items(), key=lambda kv: (kv[0][:2], order[kv[0][2]]))
    ]


def side_by_side(study: StudyFiles) -> list[dict[str, Any]]:
    """The same generated items for every arm, from the first seed that control and treatment both have.

    Of each task and split some items are drawn blind (by a hash of the item's id) and some because
    control and treatment differ on them; each says which.
    """
    seed = next((s for s in study.seeds if _scored(study, s)), None)
    if seed is None:
        return []
    by_arm = {}
    for arm in study.arm_names:
        table = study.runs[(arm, seed)].scores
        if table is not None:
            by_arm[arm] = _generated(table)
    control, treatment = by_arm[study.control], by_arm[study.treatment]
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for key in sorted(set(control) & set(treatment), key=lambda k: stream_seed(0, "samples", *k)):
        groups.setdefault(key[:2], []).append(key)
    found = []
    for group in sorted(groups):
        keys = groups[group]
        differ = [key for key in keys[PER_SPLIT:] if _score(control[key]) != _score(treatment[key])][:PER_SPLIT]
        for why, chosen in (("drawn blind", keys[:PER_SPLIT]), ("control and treatment differ", differ)):
            for key in chosen:
                arms = {arm: _answer(rows[key]) for arm, rows in by_arm.items() if key in rows}
                found.append(
                    {
                        "task": key[0],
                        "split": key[1],
                        "item_id": key[2],
                        "seed": seed,
                        "why": why,
                        "arms": arms,
                    }
                    | {"prompt": _cut(control[key].get("prompt"))}
                )
    return found


def _scored(study: StudyFiles, seed: int) -> bool:
    return all(study.runs[(arm, seed)].scores is not None for arm in (study.control, study.treatment))


def _generated(table: pa.Table) -> dict[tuple[str, str, str], dict[str, Any]]:
    names = ("task", "split", "item_id", "metric", "score", "prompt", "output", "extracted", "ended_eos")
    rows = (dict(zip(names, row, strict=True)) for row in zip(*(column(table, n) for n in names), strict=True))
    usual = usual_ways(table)
    return {
        (row["task"], row["split"], str(row["item_id"])): row
        for way, row in zip(ways(table), rows, strict=True)
        if row["output"] and way == usual[row["task"]]
    }


def _score(row: dict[str, Any]) -> float | None:
    score = row["score"]
    return None if score is None or math.isnan(score) else float(score)


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "output": _cut(row["output"]),
        "extracted": row["extracted"],
        "score": _score(row),
        "ended_eos": row["ended_eos"],
    }


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
