"""Synthetic drills of the one-digit table: each fact asked in many ways, the answer stated as an equation.

Plain text only: an arm's codec turns ``6 * 9 = 54`` into ``<MUL_6_9_54>``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vocablab.base.errors import UserError
from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import Fact
from vocablab.facts.numerals import write_english
from vocablab.tasks.answers import flexible_answer, strict_answer
from vocablab.tasks.arithmetic import TRAINED_PHRASINGS, Arithmetic, orders, product_item
from vocablab.tasks.task import Example, Grade, Item, Task, chat_prompt, evenly, graded

# None of them is a phrasing that other tasks keep for evaluation ("What is the product of 6 and 9?").
PHRASINGS = {
    "bare": "{a} * {b} = ?",
    "cross": "{a} × {b} = ?",
    "bare-words": "{a:Word} times {b:word}?",
    "what-is": "What is {a} times {b}?",
    "what-is-words": "What is {a:word} times {b:word}?",
    "what-sign": "What is {a} * {b}?",
    "how-much": "How much is {a} multiplied by {b}?",
    "how-much-words": "How much is {a:word} multiplied by {b:word}?",
    "compute": "Compute {a} * {b}.",
    "calculate": "Calculate {a} times {b}.",
    "multiply": "Multiply {a} by {b}.",
    "multiply-words": "Multiply {a:word} and {b:word}.",
    "find-product": "Find the product of {a} and {b}.",
    "product-words": "Give the product of {a:word} and {b:word}.",
    "result": "What do you get when you multiply {a} by {b}?",
    "tell": "Please tell me {a} times {b}.",
    "factors": "The factors are {a} and {b}. Which number do they make when multiplied?",
    "boxes": "{a} {a:box|boxes} {a:holds|hold} {b} {b:pen|pens} each. How many pens?",
    "bags": "There {a:is|are} {a} {a:bag|bags} with {b} {b:apple|apples} in each. How many apples are there?",
    "shelves": "{a:Word} {a:shelf|shelves} {a:carries|carry} {b:word} {b:book|books} each. How many books?",
    "coins": "I put {b} {b:coin|coins} in a jar, and do so {a} {a:time|times}. How many coins are in it?",
    "tables": "At {a} {a:table|tables} {b} {b:guest|guests} can sit each. How many guests can sit?",
    "days": "A cat eats {b} {b:fish|fish} a day. How many fish in {a} {a:day|days}?",
    "price": "A pencil costs {b:word} {b:cent|cents}. How many cents do {a:word} such pencils cost?",
}
"""Ways to ask; ``{a}`` and ``{b}`` are a `Quantity`."""
_MAY_BE_HELD_OUT = [key for key, phrasing in PHRASINGS.items() if phrasing not in TRAINED_PHRASINGS.values()]
# A model may be fine-tuned on `Arithmetic` too, so its phrasings are never held out here.
ANSWERS = (
    " {a} * {b} = {c}. The answer is {c}.",
    " We multiply: {a} * {b} = {c}. The answer is {c}.",
    " Since {a} * {b} = {c}, it is {c}. The answer is {c}.",
    " From the table, {a} * {b} = {c}. The answer is {c}.",
)
"""Ways to answer. The first is how `solution` writes the reference answer."""
TEMPLATES = {"qa": "Q: {} A:", "chat": chat_prompt("{}")}
"""What stands around a question."""


class Quantity(int):
    """A number in a story: ``{a}`` is ``6``, ``{a:word}`` is ``six``, ``{a:box|boxes}`` is the noun that fits it."""

    def __format__(self, style: str) -> str:
        if "|" in style:
            one, many = style.split("|")
            return one if self == 1 else many
        if style in ("word", "Word"):
            word = write_english(int(self))
            return word.capitalize() if style == "Word" else word
        return str(int(self))


@dataclass(frozen=True)
class Drill:
    """One way to ask for one fact."""

    fact: Fact
    """What is asked."""
    operands: tuple[int, ...]
    """Its operands as the question has them; the answer always states them in the fact's own order."""
    phrasing: str
    """A key of `PHRASINGS`."""
    template: str
    """A key of `TEMPLATES`."""

    @property
    def name(self) -> str:
        """Unique among drills."""
        a, b = self.operands
        return f"{a}*{b}/{self.phrasing}/{self.template}"

    @property
    def prompt(self) -> str:
        """The question within its template."""
        a, b = (Quantity(number) for number in self.operands)
        return TEMPLATES[self.template].format(PHRASINGS[self.phrasing].format(a=a, b=b))


@dataclass(frozen=True)
class Drills(Task):
    """Drills of the table.

    Splits: ``trained`` (trained facts in trained phrasings), ``phrasing`` (trained facts in phrasings that nothing
    trains on) and ``transfer`` (facts that nothing trains on, in trained phrasings). A question of split ``trained``
    may also be among the examples, because that split measures whether the drill was learned; it is never among
    `problems`. The other two splits are unseen.
    """

    name: ClassVar[str] = "drills"
    kind: ClassVar[str] = "generate"

    core: Arithmetic = Arithmetic()
    """The table, the facts that are never drilled (`Arithmetic.transfer_facts`) and the seed of all that is drawn."""
    templates: str = "both"
    """What stands around a question: ``qa`` (``Q: ... A:``), ``chat`` (`chat_prompt`) or ``both``."""
    examples_count: int = 4000
    """How many examples: each trained fact equally often up to one. By default a fact has 320 different ones and a
    square 160; beyond them they repeat. Fewer examples are always among more."""
    held_out_phrasings: int = 4
    """How many phrasings, drawn at random, are never trained on."""
    questions_per_fact: int = 8
    """How often a fact is asked in each split, or as often as there are ways to ask it."""

    def __post_init__(self) -> None:
        if self.templates not in (*TEMPLATES, "both"):
            raise UserError(f"Drills.templates: {self.templates!r} is none of {', '.join(TEMPLATES)}, both.")
        if not 0 <= self.held_out_phrasings <= len(_MAY_BE_HELD_OUT):
            most = len(_MAY_BE_HELD_OUT)
            raise UserError(f"Drills.held_out_phrasings: {self.held_out_phrasings} is not from 0 to {most}.")
        if self.examples_count < 0 or self.questions_per_fact < 1:
            raise UserError("Drills: examples_count must be 0 or more, and questions_per_fact 1 or more.")

    def phrasings(self) -> tuple[list[str], list[str]]:
        """The trained phrasings and the held-out ones."""
        order = numpy_stream(self.core.split_seed, "drills", "held-out phrasings").permutation(len(_MAY_BE_HELD_OUT))
        held_out = {_MAY_BE_HELD_OUT[int(i)] for i in order[: self.held_out_phrasings]}
        return [key for key in PHRASINGS if key not in held_out], [key for key in PHRASINGS if key in held_out]

    def items(self, data: Path | None) -> list[Item]:
        trained, held_out = self.phrasings()
        left_out = self.core.transfer_facts()
        transfer = [fact for fact in self.core.table.facts(ordered=False) if fact in left_out]
        found = [
            *self._asked(),
            *self._items("phrasing", self.core.trained_facts(), held_out),
            *self._items("transfer", transfer, trained),
        ]
        return [item for _, item in evenly(found, self.limit)]

    def examples(self, data: Path | None) -> list[Example]:
        facts, seed = self.core.trained_facts(), self.core.split_seed
        each, rest = divmod(self.examples_count, len(facts))
        found: list[Example] = []
        for place, number in enumerate(numpy_stream(seed, "drills", "facts").permutation(len(facts))):
            fact = facts[int(number)]
            found += self._fact_examples(fact, each + (place < rest))
        return [found[int(i)] for i in numpy_stream(seed, "drills", "examples").permutation(len(found))]

    def problems(self, data: Path | None) -> list[Item]:
        """Every question about a trained fact in a trained phrasing that `items` does not ask, whatever its limit."""
        asked = {item.prompt for item in self._asked()}
        trained, _ = self.phrasings()
        drills = [drill for fact in self.core.trained_facts() for drill in self._drills(fact, trained, "problems")]
        return [_item("train", drill) for drill in drills if drill.prompt not in asked]

    def grade(self, item: Item, output: str) -> Grade:
        return graded(strict_answer(output), flexible_answer(output), item.answer)

    def _asked(self) -> Iterator[Item]:
        yield from self._items("trained", self.core.trained_facts(), self.phrasings()[0])

    def _items(self, split: str, facts: Sequence[Fact], phrasings: list[str]) -> Iterator[Item]:
        for fact in facts:
            for drill in self._drills(fact, phrasings, split)[: self.questions_per_fact]:
                yield _item(split, drill)

    def _fact_examples(self, fact: Fact, count: int) -> Iterator[Example]:
        """The first `count` examples of a fact: every drill once before any twice, then with another answer."""
        drills = self._drills(fact, self.phrasings()[0], "examples")
        first = numpy_stream(self.core.split_seed, "drills", "answers", fact.key).integers(
            len(ANSWERS), size=len(drills)
        )
        a, b = fact.operands
        for k in range(count):
            again, i = divmod(k, len(drills))
            answer = ANSWERS[(int(first[i]) + again) % len(ANSWERS)].format(a=a, b=b, c=fact.answer)
            yield Example(f"drills/{k}/{drills[i].name}", drills[i].prompt, answer)

    def _drills(self, fact: Fact, phrasings: list[str], purpose: str) -> list[Drill]:
        """Every way to ask for a fact, in an order whose every start is spread evenly over the phrasings, and over
        the operand orders and templates."""
        random = numpy_stream(self.core.split_seed, "drills", purpose, fact.key)
        keys = [phrasings[int(i)] for i in random.permutation(len(phrasings))]
        templates = list(TEMPLATES) if self.templates == "both" else [self.templates]
        sides = [(order, template) for order in orders(fact) for template in templates]
        sides = [sides[int(i)] for i in random.permutation(len(sides))]
        # The next phrasing with the next side; each round begins one side later, so no pair comes twice.
        return [
            Drill(fact, order, key, template)
            for turn in range(len(sides))
            for i, key in enumerate(keys)
            for order, template in [sides[(i + turn) % len(sides)]]
        ]


def _item(split: str, drill: Drill) -> Item:
    return product_item(drill.fact, split, drill.name, drill.prompt)
