"""GSM8K: grade-school word problems (Cobbe et al. 2021, github.com/openai/grade-school-math)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vocablab.base.data import DataSet, HubFile, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.answers import flexible_answer, same_answer, strict_answer
from vocablab.tasks.task import Example, Grade, Item, Task, chat_prompt

REPOSITORY, REVISION = "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866"


def data_set(part: str, rows: int) -> DataSet:
    """One part of GSM8K, locally as OpenAI published it, on the hub as `openai/gsm8k`."""
    hub = HubFile(REPOSITORY, REVISION, f"main/{part}-00000-of-00001.parquet")
    return DataSet(f"gsm8k/{part}.jsonl", rows, hub, f"GSM8K's {part} set")


TRAIN, TEST = data_set("train", 7473), data_set("test", 1319)


@dataclass(frozen=True)
class GSM8K(Task):
    """Test problems to solve; training problems to learn from, calculator annotations left in the targets."""

    name: ClassVar[str] = "gsm8k"
    kind: ClassVar[str] = "generate"

    limit: int | None = None
    """Number of test items: evenly spaced over the 1,319; all of them if None."""
    train_limit: int | None = None
    """Number of training examples: evenly spaced over the 7,473; all of them if None."""

    def items(self, data: Path | None) -> list[Item]:
        return [
            Item(
                item_id=f"test/{index}",
                cluster_id=f"test/{index}",
                split="test",
                prompt=chat_prompt(row["question"]),
                gold=" " + row["answer"],
                answer=strict_answer(row["answer"]),
            )
            for index, row in evenly(rows(TEST, data), self.limit)
        ]

    def examples(self, data: Path | None) -> list[Example]:
        return [
            Example(f"gsm8k/train/{index}", chat_prompt(row["question"]), " " + row["answer"])
            for index, row in evenly(rows(TRAIN, data), self.train_limit)
        ]

    def grade(self, item: Item, output: str) -> Grade:
        strict, flexible = strict_answer(output), flexible_answer(output)
        return Grade(
            float(same_answer(strict, item.answer)),
            float(same_answer(flexible, item.answer)),
            strict or flexible,
        )


def evenly(rows: list[dict[str, Any]], limit: int | None) -> list[tuple[int, dict[str, Any]]]:
    """`limit` rows at even distances from the first on, each with its index; all of them if `limit` is None."""
    if limit is None or limit >= len(rows):
        return list(enumerate(rows))
    return [(i * len(rows) // limit, rows[i * len(rows) // limit]) for i in range(limit)]


def rows(part: DataSet, data: Path | None) -> list[dict[str, Any]]:
    """All rows of one part, each with a ``question`` and a worked ``answer``.

    Raises:
        UserError: if the part is missing or incomplete, or a row has not both.
    """
    found = read_rows(part, data)
    for number, row in enumerate(found, 1):
        if not isinstance(row.get("question"), str) or not isinstance(row.get("answer"), str):
            raise UserError(f"{part.title}: row {number} has no question or no answer.")
    return found
