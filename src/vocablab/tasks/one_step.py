"""One-step word problems about products of one-digit numbers, made here, each either taught or asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from vocablab.base.errors import UserError
from vocablab.base.random_streams import unit_interval
from vocablab.facts.fact import Fact
from vocablab.tasks.answers import flexible_answer, strict_answer
from vocablab.tasks.arithmetic import Arithmetic, orders, product_item, solution
from vocablab.tasks.drills import Quantity
from vocablab.tasks.task import Example, Grade, Item, Task, chat_prompt, evenly, graded

T = TypeVar("T")

# Every number in a story is {a}, {b} or the distractor {d}: no "two friends", no "a dozen". {d} is never part of the
# answer, because it counts something else (an age, a page, minutes).
STORIES = {
    "boxes": "{name} has {a} {a:box|boxes} with {b} {b:%|%} in each. How many {things} does {name} have?",
    "gifts": "{name} gives {b} {b:%|%} to each of {a} {a:friend|friends}. How many {things} does {name} give away?",
    "rows": "{name} lays {things} in {a} {a:row|rows} of {b}. How many {things} are there?",
    "days": "{name} collects {b} {b:%|%} a day. How many {things} does {name} collect in {a} {a:day|days}?",
    "price": "Each {thing} costs {b} {b:dollar|dollars}. How many dollars does {name} pay for {a} {a:%|%}?",
    "walk": "{name} walks {b} {b:mile|miles} a day. How many miles does {name} walk in {a} {a:day|days}?",
    "wage": "{name} earns {b} {b:dollar|dollars} an hour. How many dollars does {name} earn in {a} {a:hour|hours}?",
    "pages": "{name} reads {b} {b:page|pages} every day for {a} {a:day|days}. How many pages does {name} read?",
    "teams": "{name} sees {a} {a:team|teams} with {b} {b:player|players} each. How many players does {name} see?",
    "legs": "A toy bug has {b} {b:leg|legs}. {name} has {a} such {a:bug|bugs}. How many legs do they have together?",
    "packs": "{name} buys {a} {a:pack|packs} of {b} {b:%|%}. How many {things} does {name} buy?",
    "times": "{name} has {b} {b:%|%}. A neighbor has {a} {a:time|times} as many. How many {things} has the neighbor?",
    "wall": "{name} paints a wall {a} {a:foot|feet} high and {b} {b:foot|feet} wide. How many square feet is it?",
    "recipe": "A cake needs {b} {b:egg|eggs}. How many eggs does {name} need for {a} {a:cake|cakes}?",
    "songs": "{name} sings {b} {b:song|songs} at each of {a} {a:party|parties}. How many songs does {name} sing?",
    "shelves": "{name} fills {a} {a:shelf|shelves}. Each takes {b} {b:%|%}. How many {things} does {name} put there?",
    "age": "{name} is {d} years old and has {a} {a:bag|bags} of {b} {b:%|%}. How many {things} does {name} have?",
    "street": "At {d} Main Street, {name} keeps {a} {a:tray|trays} of {b} {b:%|%}. How many {things} are there?",
    "minutes": "In {d} minutes {name} fills {a} {a:jar|jars} with {b} {b:%|%} each. How many {things} are in jars now?",
    "bus": "On bus {d}, {a} {a:bench|benches} {a:holds|hold} {b} {b:child|children} each. How many children can sit?",
}
"""Story templates: ``{a}`` and ``{b}`` are a `Quantity`, ``%|%`` becomes one and many of the story's things."""
NAMES = tuple("Ada Ben Carla Dan Emma Finn Gita Hugo Ines Kim Liam Mia Noah Olga Paul Rosa Sam Tara Zoe".split())
"""Who the stories are about. No name is also a word."""
THINGS = tuple(
    (word, word + "s")
    for word in "apple ball book button card coin cookie egg flower marble muffin orange pear pen shell stamp".split()
)
"""What they are about: one and many."""
DISTRACTORS = 60
"""How many numbers a distractor is drawn from."""


@dataclass(frozen=True)
class Problem:
    """One story with its numbers."""

    fact: Fact
    """What it asks for."""
    operands: tuple[int, ...]
    """Its operands as the story has them."""
    story: str
    """A key of `STORIES`."""

    @property
    def name(self) -> str:
        """Unique among the problems of a task."""
        a, b = self.operands
        return f"{a}*{b}/{self.story}"


@dataclass(frozen=True)
class OneStep(Task):
    """Word problems of one multiplication.

    A story with its two numbers in their order is in exactly one place, by a hash of the three: `examples`,
    `problems`, or `items`, which are split ``heldout_story`` (the fact and the story are taught, only not together;
    the story with the two numbers swapped may be) and split ``transfer`` (facts that are never taught).
    """

    name: ClassVar[str] = "one_step"
    kind: ClassVar[str] = "generate"

    core: Arithmetic = Arithmetic()
    """The table, the facts that are never taught (`Arithmetic.transfer_facts`) and the seed of all that is drawn."""
    supervised_share: float = 0.3
    """Share of the trained facts' stories that are `examples`."""
    problem_share: float = 0.5
    """Share of them that are `problems`; the rest is held out."""
    train_limit: int | None = None
    """Number of examples, evenly spaced; all if None."""
    problem_limit: int | None = None
    """Number of problems, evenly spaced; all if None."""

    def __post_init__(self) -> None:
        if min(self.supervised_share, self.problem_share) < 0 or self.supervised_share + self.problem_share >= 1:
            raise UserError(
                f"OneStep: supervised_share {self.supervised_share} and problem_share {self.problem_share} must not be "
                "negative, and leave some stories to hold out."
            )

    def items(self, data: Path | None) -> list[Item]:
        found = [*self._items("heldout_story", "heldout_story"), *self._items("transfer", "transfer")]
        return [item for _, item in evenly(found, self.limit)]

    def examples(self, data: Path | None) -> list[Example]:
        return [
            Example(f"one_step/{problem.name}", chat_prompt(self._text(problem)), solution(problem.fact))
            for _, problem in evenly(self._in_place("examples"), self.train_limit)
        ]

    def problems(self, data: Path | None) -> list[Item]:
        return [item for _, item in evenly(self._items("problems", "train"), self.problem_limit)]

    def grade(self, item: Item, output: str) -> Grade:
        return graded(strict_answer(output), flexible_answer(output), item.answer)

    def _items(self, place: str, split: str) -> list[Item]:
        return [
            product_item(problem.fact, split, problem.name, chat_prompt(self._text(problem)))
            for problem in self._in_place(place)
        ]

    def _in_place(self, place: str) -> list[Problem]:
        """The problems of one place: ``examples``, ``problems`` or a split of `items`."""
        left_out = self.core.transfer_facts()
        return [
            problem
            for fact in self.core.table.facts(ordered=False)
            for operands in orders(fact)
            for problem in (Problem(fact, operands, story) for story in STORIES)
            if place == ("transfer" if fact in left_out else self._place(problem))
        ]

    def _place(self, problem: Problem) -> str:
        """The one place of a problem about a trained fact."""
        drawn = unit_interval(self.core.split_seed, "one step", "place", problem.name)
        if drawn < self.supervised_share:
            return "examples"
        return "problems" if drawn < self.supervised_share + self.problem_share else "heldout_story"

    def _text(self, problem: Problem) -> str:
        a, b = (Quantity(number) for number in problem.operands)
        one, many = self._drawn("thing", THINGS, problem)
        # Beyond the table, so that it makes no fact with another number; and never the answer.
        first = self.core.table.high + 12
        distractors = [number for number in range(first, first + DISTRACTORS) if number != problem.fact.answer]
        d = self._drawn("distractor", distractors, problem)
        name = self._drawn("name", NAMES, problem)
        form = STORIES[problem.story].replace("%|%", f"{one}|{many}")
        return form.format(a=a, b=b, d=d, name=name, thing=one, things=many)

    def _drawn(self, purpose: str, values: Sequence[T], problem: Problem) -> T:
        return values[int(len(values) * unit_interval(self.core.split_seed, "one step", purpose, problem.name))]
