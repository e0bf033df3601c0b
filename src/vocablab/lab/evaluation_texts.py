"""Evaluation items as the leak scan reads them (rule 10)."""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from vocablab.base.data import iterate_rows
from vocablab.corpus.accounting import gate
from vocablab.corpus.fact_scan import canonical, fact_keys
from vocablab.corpus.files import row_text
from vocablab.corpus.leaks import EvaluationText
from vocablab.tasks.arithmetic_probes import ArithmeticProbes
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.hellaswag import KARPATHY, HellaSwag
from vocablab.tasks.task import ASSISTANT, USER, Item, Task
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.meaning import family_of

HELD_OUT = "heldout"
"""Items of this split ask for facts that stand in no training document."""
FILES = {
    "svamp": "svamp/*.json",
    "gpt3_arithmetic": "gpt3_arithmetic/*.jsonl",
    "aqua": "aqua/*.json",
    "ape210k": "ape210k/*.json",
    "math23k": "math23k/*.json",
    "cmath": "cmath/*.jsonl",
}
"""Evaluation sets that are files of rows in the data directory."""
SINGLE_FACTS = ("gpt3_arithmetic",)
"""Sets whose items ask for a fact each: a document that states it is a leak."""


def evaluation_texts(tasks: Iterable[Task], data: Path | None) -> list[EvaluationText]:
    """Question, answer and right choice of every item of every task, and the facts that are held out."""
    return [text for task in tasks for item in task.items(data) for text in _of(task, item)]


def _of(task: Task, item: Item) -> list[EvaluationText]:
    # Worked examples before the question are training data, not part of the item.
    chat = item.prompt.startswith(USER)
    question = item.prompt.rpartition(USER)[2].removesuffix(ASSISTANT) if chat else item.prompt
    held_out = item.split == HELD_OUT
    facts = tuple(sorted(fact_keys(question, stated=False) | fact_keys(item.gold))) if held_out else ()
    texts = [question, item.gold]
    if task.kind == "choose":
        texts.append(f"{question} {item.choices[item.label]}")
    return [
        EvaluationText(task.name, item.item_id, text, facts if i == 0 else ()) for i, text in enumerate(texts) if text
    ]


def held_out_keys(texts: Iterable[EvaluationText]) -> tuple[str, ...]:
    """The facts that no training document may state."""
    return tuple(sorted({key for text in texts for key in text.facts}))


def held_out_tokens(rule: Intervention, keys: Container[str]) -> list[str]:
    """The tokens of an intervention that stand for facts which nothing may state (rule 10)."""
    family = family_of(rule)
    if family is None or not rule.tokens():
        return []
    tokens = set(rule.tokens())
    return [
        name for fact in family.facts(ordered=False)
        if canonical(fact) in keys and (name := family.token_name(fact)) in tokens
    ]  # fmt: skip


def leak_gates(rule: Intervention, texts: list[EvaluationText], dropped: Mapping[str, int]) -> list[dict[str, Any]]:
    """Rule 10 for one arm of a study."""
    known = held_out_tokens(rule, set(held_out_keys(texts)))
    left_out = sum(count for reason, count in dropped.items() if reason.startswith("leak: "))
    return [
        gate(10, "No evaluation item in training documents", True, f"{left_out} documents that hold one left out"),
        gate(10, "No token for a held-out fact", not known, ", ".join(known[:5]) or "none"),
    ]


def named_evaluation_sets(data: Path | None) -> dict[str, Callable[[], list[EvaluationText]]]:
    """The evaluation sets that are here: vocablab's own, and those of the data directory."""
    found: dict[str, Callable[[], list[EvaluationText]]] = {
        "arithmetic": partial(evaluation_texts, [ArithmeticProbes()], None)
    }
    # HellaSwag's contexts as they are: the harness puts words before them.
    for task in (GSM8K(), HellaSwag(mode=KARPATHY)):
        if data is not None and (data / task.name).exists():
            found[task.name] = partial(evaluation_texts, [task], data)
    for name, pattern in FILES.items():
        files = sorted(data.glob(pattern)) if data is not None else []
        if files:
            found[name] = partial(_rows, name, files)
    return found


def _rows(name: str, files: list[Path]) -> list[EvaluationText]:
    found = []
    for file in files:
        for number, row in enumerate(iterate_rows(file)):
            text = row_text(row) or ""
            # An item of several operations asks for no single fact.
            single = name in SINGLE_FACTS and len(re.findall("[0-9][0-9,]*", text)) <= 3
            facts = tuple(sorted(fact_keys(text, stated=False))) if single else ()
            found.append(EvaluationText(name, f"{file.name}/{number}", text, facts))
    return found
