"""Tasks with choices: which continuation is the most probable."""

import math
from collections.abc import Sequence
from typing import Any

from vocablab.evaluate.likelihood import Scored, score_continuations
from vocablab.evaluate.model import Loaded
from vocablab.evaluate.rows import Row
from vocablab.tasks.answers import EXTRACTOR_VERSION
from vocablab.tasks.task import Item, Task


def score_choices(loaded: Loaded, task: Task, items: Sequence[Item], run_id: str, batch_size: int) -> list[Row]:
    """One row per item of a task with choices."""
    rows = []
    for item, costs in zip(items, choice_costs(loaded, task, items, batch_size), strict=True):
        lengths = {
            "bytes": [c.raw_bytes for c in costs],
            # The space between prompt and choice is the harness's, not the choice's.
            "characters": [len(choice.removeprefix(" ")) for choice in item.choices],
            "tokens": [c.n_tokens for c in costs],
        }
        per = {
            unit: _chosen([c.bits / max(1, n) for c, n in zip(costs, ns, strict=True)]) for unit, ns in lengths.items()
        }
        norm = per[item.normaliser]
        rows.append(
            Row(
                **common(run_id, task.name, task.mode, item, costs[item.label]),
                metric="acc_norm",
                score=float(norm == item.label),
                output="",
                extracted=str(norm),
                ended_eos=False,
                acc=float(_chosen([c.bits for c in costs]) == item.label),
                acc_norm=float(norm == item.label),
                acc_bytes=float(per["bytes"] == item.label),
                acc_tokens=float(per["tokens"] == item.label),
                **certainty(costs, item.label),
            )
        )
    return rows


def choice_costs(loaded: Loaded, task: Task, items: Sequence[Item], batch_size: int) -> list[list[Scored]]:
    """What each choice of each item costs."""
    pairs = [(key(task, item), item.prompt, choice) for item in items for choice in item.choices]
    costs = iter(score_continuations(loaded, pairs, batch_size, bare=task.bare))
    return [[next(costs) for _ in item.choices] for item in items]


def certainty(costs: Sequence[Scored], label: int) -> dict[str, Any]:
    """Probability of the right choice among all, and the bits by which it beats the best wrong one."""
    right, least = costs[label].bits, min(c.bits for c in costs)
    shares = [2.0 ** (least - c.bits) for c in costs]
    others = [c.bits for i, c in enumerate(costs) if i != label]
    margin = min(others) - right if others else math.nan
    return {"p_correct": shares[label] / sum(shares), "margin_bits": margin}


def key(task: Task, item: Item) -> str:
    """The document name of an item."""
    return f"{task.name}/{item.item_id}"


def common(run_id: str, task: str, mode: str, item: Item, cost: Scored) -> dict[str, Any]:
    """The columns that every row has."""
    return {
        "run_id": run_id,
        "task": task,
        "mode": mode,
        "item_id": item.item_id,
        "cluster_id": item.cluster_id,
        "split": item.split,
        "prompt": item.prompt,
        "gold_bits": cost.bits,
        "raw_bytes": cost.raw_bytes,
        "n_tokens": cost.n_tokens,
        "extractor_version": EXTRACTOR_VERSION,
    }


def _chosen(costs: Sequence[float]) -> int:
    # Of equals the first, as numpy's argmax and so lm-evaluation-harness.
    return min(range(len(costs)), key=costs.__getitem__)
