"""The arithmetic prompts of the GPT-3 paper (Brown et al. 2020, github.com/openai/gpt-3/tree/master/data)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vocablab.base.data import DataSet, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.answers import first_answer, leading_answer
from vocablab.tasks.task import Grade, Item, Task, evenly, graded

SPLITS = (
    "two_digit_addition",
    "two_digit_subtraction",
    "three_digit_addition",
    "three_digit_subtraction",
    "four_digit_addition",
    "five_digit_addition",
    "two_digit_multiplication",
    "single_digit_three_ops",
)
"""The published files, which are the splits."""


def data_set(split: str) -> DataSet:
    """One of the published files."""
    return DataSet(f"gpt3_arithmetic/{split}.jsonl", 2000, None, f"GPT-3's arithmetic prompts ({split})")


@dataclass(frozen=True)
class GPT3Arithmetic(Task):
    """2,000 prompts in each of eight splits, as published, and read as published: nothing before the prompt."""

    name: ClassVar[str] = "gpt3_arithmetic"
    kind: ClassVar[str] = "generate"
    bare: ClassVar[bool] = True

    def items(self, data: Path | None) -> list[Item]:
        found = [
            _item(split, index, row)
            for split in SPLITS
            for index, row in enumerate(read_rows(data_set(split), data))
        ]  # fmt: skip
        return [item for _, item in evenly(found, self.limit)]

    def grade(self, item: Item, output: str) -> Grade:
        """Strict: the continuation starts with the right number. Flexible: its first number is right, or the result
        of an equation it starts with; never its last, because a base model goes on with the next question."""
        return graded(leading_answer(output), first_answer(output), item.answer)


def _item(split: str, index: int, row: dict[str, Any]) -> Item:
    context, completion = row.get("context"), row.get("completion")
    if not isinstance(context, str) or not isinstance(completion, str) or not leading_answer(completion):
        raise UserError(f"{data_set(split).title}: row {index + 1} has no context or no number for a completion.")
    key = f"{split}/{index}"
    return Item(key, key, split, context, completion, leading_answer(completion))
