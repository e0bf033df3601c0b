"""Questions about products of two numbers, split by what a model can have learned them from."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from vocablab.base.random_streams import numpy_stream
from vocablab.facts.fact import Fact
from vocablab.facts.families import Multiplication
from vocablab.tasks.answers import flexible_answer, strict_answer
from vocablab.tasks.rivals import choices, near_answers, table_neighbours
from vocablab.tasks.task import Example, Grade, Item, Task, chat_prompt, evenly, graded

TRAINED_PHRASINGS = {
    "what-is": "What is {a} times {b}?",
    "compute": "Compute {a} * {b}.",
    "how-much": "How much is {a} multiplied by {b}?",
}
"""Phrasings that fine-tuning uses."""
EVALUATION_PHRASING = ("product-of", "What is the product of {a} and {b}?")
"""A phrasing that only evaluation uses."""
PHRASINGS = dict([*TRAINED_PHRASINGS.items(), EVALUATION_PHRASING])
"""All of them by name."""
HELD_OUT_OPERANDS = range(11, 20)


@dataclass(frozen=True)
class Arithmetic(Task):
    """One-digit products and beyond.

    Splits: ``table`` (facts that fine-tuning asks for), ``transfer`` (facts of the table that fine-tuning never
    asks for; a model can know them from pretraining only), ``heldout`` (11..19 times 2..9: in no vocabulary,
    corpus or fine-tuning example).
    """

    name: ClassVar[str] = "arithmetic"
    kind: ClassVar[str] = "generate"

    table: Multiplication = Multiplication()
    """The table."""
    transfer_share: float = 0.3
    """Share of its unordered facts kept out of fine-tuning."""
    held_out_items: int = 48
    """Number of items beyond the table."""
    split_seed: int = 0
    """Seed of the split: the same in every run, so that items are comparable."""

    def transfer_facts(self) -> frozenset[Fact]:
        """The unordered facts that fine-tuning leaves out."""
        facts = self.table.facts(ordered=False)
        order = numpy_stream(self.split_seed, "transfer facts").permutation(len(facts))
        return frozenset(facts[int(i)] for i in order[: round(self.transfer_share * len(facts))])

    def trained_facts(self) -> tuple[Fact, ...]:
        """The unordered facts that fine-tuning asks for, in the order of the table."""
        left_out = self.transfer_facts()
        return tuple(fact for fact in self.table.facts(ordered=False) if fact not in left_out)

    def held_out_facts(self) -> tuple[Fact, ...]:
        """The facts beyond the table, smaller operand first."""
        facts = [Fact("MUL", (b, a), a * b) for a in HELD_OUT_OPERANDS for b in range(2, 10)]
        order = numpy_stream(self.split_seed, "held-out facts").permutation(len(facts))
        return tuple(facts[int(i)] for i in order[: self.held_out_items])

    def items(self, data: Path | None) -> list[Item]:
        left_out = self.transfer_facts()
        found: list[Item] = []
        for fact in self.table.facts(ordered=False):
            split = "transfer" if fact in left_out else "table"
            # Transfer facts are few, so they are asked in every phrasing; the others in two.
            kept = list(TRAINED_PHRASINGS) if split == "transfer" else ["what-is"]
            for key in [*kept, EVALUATION_PHRASING[0]]:
                found.extend(_item(fact, split, key, order) for order in orders(fact))
        found.extend(_item(fact, "heldout", "what-is", fact.operands) for fact in self.held_out_facts())
        return [item for _, item in evenly(found, self.limit)]

    def examples(self, data: Path | None) -> list[Example]:
        return [
            Example(f"arithmetic/{a}*{b}/{key}", chat_prompt(phrasing.format(a=a, b=b)), solution(fact))
            for fact in self.trained_facts()
            for a, b in orders(fact)
            for key, phrasing in TRAINED_PHRASINGS.items()
        ]

    def problems(self, data: Path | None) -> list[Item]:
        """The questions of `examples`, as items.

        The items of split ``table`` ask some of the same questions, because that split measures what was trained;
        ``transfer`` and ``heldout`` are the unseen ones.
        """
        return [
            _item(fact, "train", key, order)
            for fact in self.trained_facts()
            for order in orders(fact)
            for key in TRAINED_PHRASINGS
        ]

    def grade(self, item: Item, output: str) -> Grade:
        return graded(strict_answer(output), flexible_answer(output), item.answer)


def orders(fact: Fact) -> list[tuple[int, ...]]:
    """The operands in every order: two, or one of a square."""
    return list(dict.fromkeys([fact.operands, fact.operands[::-1]]))


def solution(fact: Fact, answer: int | None = None) -> str:
    """The worked answer; with another `answer`, that of a rival."""
    a, b = fact.operands
    result = fact.answer if answer is None else answer
    return f" {a} * {b} = {result}. The answer is {result}."


def product_item(fact: Fact, split: str, name: str, prompt: str) -> Item:
    """An item that asks for a product, with rival answers from around it in the table.

    Args:
        name: what follows the split in the item's id.
    """
    item_id = f"{split}/{name}"
    rivals = near_answers(fact.answer, table_neighbours(*fact.operands), fact.key)
    continuations, label = choices(partial(solution, fact), fact.answer, rivals, item_id)
    return Item(
        item_id=item_id,
        cluster_id=fact.key,
        split=split,
        prompt=prompt,
        gold=solution(fact),
        answer=str(fact.answer),
        choices=continuations,
        label=label,
        fact_key=fact.key,
    )


def _item(fact: Fact, split: str, key: str, operands: tuple[int, ...]) -> Item:
    a, b = operands
    phrasing = PHRASINGS[key]
    return product_item(fact, split, f"{a}*{b}/{key}", chat_prompt(phrasing.format(a=a, b=b)))
