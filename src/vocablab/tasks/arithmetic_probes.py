"""Arithmetic asked in every way: the table in several forms, larger numbers, other operations, two steps."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import Fact
from vocablab.facts.numerals import write_english
from vocablab.tasks.answers import (
    first_answer,
    first_spelled,
    flexible_answer,
    leading_answer,
    leading_spelled,
    strict_answer,
)
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.rivals import choices, near_answers, table_neighbours
from vocablab.tasks.task import ASSISTANT, Example, Grade, Item, Task, chat_prompt, evenly, graded

TABLE_FORMS = {
    "equation": "{a} * {b} =",
    "times_sign": "{a} × {b} =",
    "question": "Question: What is {a} × {b}?\nAnswer:",
    "words": "{a_words} times {b_words} is",
}
"""Splits that ask the whole table, in both operand orders, with no chat template."""
WORDS = "words"
"""The split whose answers are words."""
SURFACE = {
    "rows": "Rows of trees: {a}. Trees in each row: {b}. How many trees stand there?",
    "unknown": "Which number gives {b} when it is divided by {a}?",
}
"""Phrasings that no fine-tuning example, no generated document and no form of a family uses."""
SIGNS: dict[str, tuple[str, Callable[[int, int], int]]] = {
    "MUL": ("*", operator.mul),
    "ADD": ("+", operator.add),
    "SUB": ("-", operator.sub),
    "DIV": ("/", operator.floordiv),
}
"""Sign and operation of each relation."""


@dataclass(frozen=True)
class Problem:
    """A calculation of one or two steps."""

    key: str
    """What its phrasings share: the fact's key, or the expression of two steps."""
    expression: str
    """``(3 * 4) + 5``."""
    steps: tuple[str, ...]
    """What stands before the last ``=`` of the worked solution's last step, earlier steps complete."""
    answer: int
    """The result."""
    neighbours: tuple[int, ...]
    """Near results, as rivals."""
    fact_key: str
    """The fact, if it is one step."""


@dataclass(frozen=True)
class ArithmeticProbes(Task):
    """All that ``--tasks arithmetic`` asks: the splits of `Arithmetic`, and probes of what the facts are good for.

    Splits: ``table``, ``transfer`` (held out by fact) and ``heldout`` (by operand) are `Arithmetic`'s. ``equation``,
    ``times_sign``, ``question`` and ``words`` ask the table, both operand orders, as a base model reads it.
    ``surface`` asks it in phrasings that nothing trains on (held out by form). ``product_2x1``, ``product_2x2``,
    ``sum``, ``difference``, ``quotient`` (exact, within the table) and ``two_steps`` ask each problem as a bare
    expression and as a question. Phrasings of one fact share a cluster. Every item has four choices.
    """

    name: ClassVar[str] = "arithmetic"
    kind: ClassVar[str] = "generate"

    core: Arithmetic = Arithmetic()
    """The questions that studies fine-tune for."""
    problems_per_split: int = 40
    """Number of problems of each split beyond the table; each is asked twice."""

    def items(self, data: Path | None) -> list[Item]:
        found = [*self.core.items(data), *self._table(), *self._surface(), *self._beyond()]
        return [item for _, item in evenly(found, self.limit)]

    def examples(self, data: Path | None) -> list[Example]:
        return self.core.examples(data)

    def problems(self, data: Path | None) -> list[Item]:
        """Those of `core`."""
        return self.core.problems(data)

    def grade(self, item: Item, output: str) -> Grade:
        """A chat answer is read at its mark, else its last number; a bare continuation at its start, else its first
        number (`vocablab.tasks.answers`)."""
        if item.prompt.endswith(ASSISTANT):
            return graded(strict_answer(output), flexible_answer(output), item.answer)
        if item.split == WORDS:
            return graded(leading_spelled(output), first_spelled(output), item.answer)
        return graded(leading_answer(output), first_answer(output), item.answer)

    def _table(self) -> Iterator[Item]:
        for split, form in TABLE_FORMS.items():
            write = _bare_words if split == WORDS else _bare
            for fact in self.core.table.facts(ordered=True):
                a, b = fact.operands
                prompt = form.format(a=a, b=b, a_words=write_english(a), b_words=write_english(b))
                yield _item(split, f"{a}*{b}", prompt, _one_step(fact), write)

    def _surface(self) -> Iterator[Item]:
        for fact in self.core.table.facts(ordered=False):
            a, b = fact.operands
            for key, form in SURFACE.items():
                problem = _one_step(fact)
                prompt = chat_prompt(form.format(a=a, b=b))
                yield _item("surface", f"{a}*{b}/{key}", prompt, problem, problem_solution(problem))

    def _beyond(self) -> Iterator[Item]:
        large, table = range(21, 100), range(2, 10)  # 11 to 19 are the held-out operands
        drawn = {
            "product_2x1": self._facts("MUL", large, table),
            "product_2x2": self._facts("MUL", large, large),
            "sum": self._facts("ADD", range(10, 1000), range(10, 1000)),
            "difference": self._facts("SUB", range(10, 1000), range(10, 1000)),
            "quotient": self._facts("DIV", table, table),
            "two_steps": self._two_steps(),
        }
        for split, problems in drawn.items():
            for problem in problems:
                yield _item(split, f"{problem.expression}/equation", f"{problem.expression} =", problem, _bare)
                question = chat_prompt(f"What is {problem.expression}?")
                yield _item(split, f"{problem.expression}/what-is", question, problem, problem_solution(problem))

    def _facts(self, relation: str, first: range, second: range) -> list[Problem]:
        random = numpy_stream(self.core.split_seed, "arithmetic probes", relation, len(first), len(second))
        found: dict[tuple[int, int], Problem] = {}
        while len(found) < min(self.problems_per_split, len(first) * len(second) // 2):
            a, b = first[int(random.integers(len(first)))], second[int(random.integers(len(second)))]
            if relation == "DIV":
                a = a * b
            elif relation == "SUB":
                a, b = max(a, b), min(a, b)
            found.setdefault((a, b), _one_step(Fact(relation, (a, b), SIGNS[relation][1](a, b))))
        return list(found.values())

    def _two_steps(self) -> list[Problem]:
        random = numpy_stream(self.core.split_seed, "arithmetic probes", "two steps")
        found: dict[str, Problem] = {}
        while len(found) < self.problems_per_split:
            a, b, c = (int(number) for number in random.integers(2, 10, 3))
            problem = _two_step(a, b, c, "ADD" if int(random.integers(2)) else "SUB")
            if problem.answer >= 0:
                found.setdefault(problem.expression, problem)
        return list(found.values())


def problem_solution(problem: Problem) -> Callable[[int], str]:
    """Writes the worked solution that ends in a given answer: `` 3 * 4 = 12. 12 + 5 = 17. The answer is 17.``"""
    return lambda answer: f" {'. '.join(problem.steps)} = {answer}. The answer is {answer}."


def _bare(answer: int) -> str:
    # The full stop keeps one choice from being the start of another (5 of 54).
    return f" {answer}."


def _bare_words(answer: int) -> str:
    return f" {write_english(answer)}."


def _one_step(fact: Fact) -> Problem:
    (a, b), (sign, apply) = fact.operands, SIGNS[fact.relation]
    if fact.relation == "MUL":
        neighbours = table_neighbours(a, b)
    else:
        neighbours = (apply(a, b + 1), apply(a + 1, b), a - b if fact.relation == "ADD" else a + b)
    expression = f"{a} {sign} {b}"
    return Problem(fact.key, expression, (expression,), fact.answer, neighbours, fact.key)


def _two_step(a: int, b: int, c: int, relation: str) -> Problem:
    sign, apply = SIGNS[relation]
    expression = f"({a} * {b}) {sign} {c}"
    steps = (f"{a} * {b} = {a * b}", f"{a * b} {sign} {c}")
    neighbours = tuple(apply(product, c) for product in table_neighbours(a, b))
    return Problem(expression, expression, steps, apply(a * b, c), neighbours, "")


def _item(split: str, name: str, prompt: str, problem: Problem, write: Callable[[int], str]) -> Item:
    item_id = f"{split}/{name}"
    rivals = near_answers(problem.answer, problem.neighbours, problem.key)
    continuations, label = choices(write, problem.answer, rivals, item_id)
    return Item(
        item_id=item_id,
        cluster_id=problem.key,
        split=split,
        prompt=prompt,
        gold=write(problem.answer),
        answer=str(problem.answer),
        choices=continuations,
        label=label,
        fact_key=problem.fact_key,
    )
