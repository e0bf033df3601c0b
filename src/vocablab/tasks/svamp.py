"""SVAMP: one-step word problems, varied so that a shallow reading fails (Patel et al. 2021, github.com/arkilpatel)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vocablab.base.data import DataSet, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.answers import flexible_answer, normalise, strict_answer, value
from vocablab.tasks.equations import work_out
from vocablab.tasks.task import Grade, Item, Task, chat_prompt, evenly, graded

# The hub's copy (ChilleD/SVAMP) is cut into two files, so the published one must be local.
PROBLEMS = DataSet("svamp/SVAMP.json", 1000, None, "SVAMP")
_UNFINISHED = re.compile(r"(?:If|When|After|Since|Because)\b[^.?!]*$")


@dataclass(frozen=True)
class SVAMP(Task):
    """The 1,000 challenge problems. An item's id is the problem's (``chal-1``)."""

    name: ClassVar[str] = "svamp"
    kind: ClassVar[str] = "generate"

    def items(self, data: Path | None) -> list[Item]:
        return [_item(index, row) for index, row in evenly(read_rows(PROBLEMS, data), self.limit)]

    def grade(self, item: Item, output: str) -> Grade:
        return graded(strict_answer(output), flexible_answer(output), item.answer)


def _item(index: int, row: dict[str, Any]) -> Item:
    try:
        question = joined(row["Body"], row["Question"])
        answer = normalise(str(float(row["Answer"])))
        gold, name = solution(row["Equation"], answer), str(row["ID"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{PROBLEMS.title}: row {index + 1} is malformed ({error!r}).") from None
    return Item(name, name, "test", chat_prompt(question), gold, answer)


def joined(body: str, question: str) -> str:
    """Body and question as running text.

    A third of the bodies have no full stop: ``If ...`` goes on as one sentence, anything else gets its full stop.
    """
    body, question = body.strip(), question.strip()
    if body[-1:] in (".", "?", "!", ","):
        return f"{body} {question}"
    if _UNFINISHED.search(body):
        return f"{body}, {question[:1].lower()}{question[1:]}"
    return f"{body}. {question}"


def solution(equation: str, answer: str) -> str:
    """The steps of the equation where it gives the answer, and the answer: `` 76 - 25 = 51. The answer is 51.``"""
    worked = work_out(re.sub(r"([0-9])\.0\b", r"\1", equation))
    right = worked is not None and worked.value == value(answer)
    steps = worked.steps if worked is not None and right else ()
    lines = [f"{step.left} {step.sign} {step.right} = {step.result}." for step in steps]
    return " " + " ".join([*lines, f"The answer is {answer}."])
