"""Chinese word problems: Ape210K (Zhao et al. 2020), Math23K (Wang et al. 2017), CMATH (Wei et al. 2023)."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vocablab.base.data import DataSet, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.answers import flexible_answer, single_answer, strict_answer, value
from vocablab.tasks.equations import work_out
from vocablab.tasks.task import Grade, Item, Task, chat_prompt, evenly, graded

PROMPT = "{question}\n请一步一步地计算，最后写“答案是”和得数。"
"""What is asked, inside the usual template."""
ANSWER = "答案是{answer}。"
"""How a solution ends."""
_SIGNS = {"*": "×", "/": "÷"}


@dataclass(frozen=True)
class Problem:
    """One row of a set, under the names they have here."""

    name: str
    """The item's id."""
    split: str
    """Part of the task."""
    question: str
    """The problem."""
    answer: str
    """The answer as the set writes it."""
    equation: str
    """The set's equation, or empty."""


@dataclass(frozen=True)
class ChineseProblems(Task):
    """Problems whose answer is a number: whole, decimal, percent, fraction or mixed number.

    The reference solution is the equation's steps where they give the answer, in the signs that 口诀 tokens read
    (``44×20=880，答案是880。``), else the answer alone.
    """

    kind: ClassVar[str] = "generate"
    source: ClassVar[DataSet]
    """The file."""

    @abstractmethod
    def _problem(self, index: int, row: dict[str, Any]) -> Problem:
        """A row under our names; may raise KeyError or TypeError."""

    def _problems(self, data: Path | None) -> list[Problem]:
        found = []
        for index, row in enumerate(read_rows(self.source, data)):
            try:
                problem = self._problem(index, row)
                if not all(isinstance(text, str) for text in (problem.question, problem.answer, problem.equation)):
                    raise TypeError("question, answer and equation must be texts")
            except (KeyError, TypeError) as error:
                raise UserError(f"{self.source.title}: row {index + 1} is malformed ({error!r}).") from None
            found.append(problem)
        return found

    def items(self, data: Path | None) -> list[Item]:
        readable = [problem for problem in self._problems(data) if single_answer(problem.answer)]
        return [_item(problem) for _, problem in evenly(readable, self.limit)]

    def left_out(self, data: Path | None) -> list[Problem]:
        """Problems that are not asked, because their answer is no number but an expression to write down."""
        return [problem for problem in self._problems(data) if not single_answer(problem.answer)]

    def grade(self, item: Item, output: str) -> Grade:
        return graded(strict_answer(output, fractions=True), flexible_answer(output, fractions=True), item.answer)


@dataclass(frozen=True)
class Ape210K(ChineseProblems):
    """The 5,000 test problems of Ape210K."""

    name: ClassVar[str] = "ape210k"
    source: ClassVar[DataSet] = DataSet("ape210k/test.ape.json", 5000, None, "Ape210K's test set")

    def _problem(self, index: int, row: dict[str, Any]) -> Problem:
        return Problem(f"test/{row['id']}", "test", row["original_text"], row["ans"], row["equation"])


@dataclass(frozen=True)
class Math23K(ChineseProblems):
    """The 1,000 test problems of Math23K."""

    name: ClassVar[str] = "math23k"
    source: ClassVar[DataSet] = DataSet("math23k/math23k_test.json", 1000, None, "Math23K's test set")

    def _problem(self, index: int, row: dict[str, Any]) -> Problem:
        return Problem(f"test/{row['id']}", "test", row["original_text"], row["ans"], row["equation"])


@dataclass(frozen=True)
class CMATH(ChineseProblems):
    """The 600 published development problems of CMATH; a split per school year, ``grade1`` to ``grade6``."""

    name: ClassVar[str] = "cmath"
    source: ClassVar[DataSet] = DataSet("cmath/cmath_dev.jsonl", 600, None, "CMATH's development set")

    def _problem(self, index: int, row: dict[str, Any]) -> Problem:
        return Problem(f"dev/{index}", f"grade{int(row['grade'])}", row["input"], row["golden"], "")


def solution(equation: str, answer: str) -> str:
    """The reference solution for an answer in normal form."""
    worked = work_out(equation)
    right = worked is not None and worked.value == value(answer)
    steps = worked.steps if worked is not None and right else ()
    written = [f"{step.left}{_SIGNS.get(step.sign, step.sign)}{step.right}={step.result}" for step in steps]
    return " " + "，".join([*written, ANSWER.format(answer=answer)])


def _item(problem: Problem) -> Item:
    answer = single_answer(problem.answer)
    return Item(
        item_id=problem.name,
        cluster_id=problem.name,
        split=problem.split,
        prompt=chat_prompt(PROMPT.format(question=problem.question)),
        gold=solution(problem.equation, answer),
        answer=answer,
    )
