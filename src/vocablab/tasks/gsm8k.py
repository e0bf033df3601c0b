"""GSM8K: grade-school word problems (Cobbe et al. 2021, github.com/openai/grade-school-math)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vocablab.base.data import DataSet, HubFile, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.answers import flexible_answer, strict_answer
from vocablab.tasks.task import USER, Example, Grade, Item, Task, chat_prompt, evenly, graded

REPOSITORY, REVISION = "openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866"


def data_set(part: str, rows: int) -> DataSet:
    """One part of GSM8K, locally as OpenAI published it, on the hub as `openai/gsm8k`."""
    hub = HubFile(REPOSITORY, REVISION, f"main/{part}-00000-of-00001.parquet")
    return DataSet(f"gsm8k/{part}.jsonl", rows, hub, f"GSM8K's {part} set")


TRAIN, TEST = data_set("train", 7473), data_set("test", 1319)
MOST_SHOTS = 64
"""More than this fit in no context that is trained here."""


@dataclass(frozen=True)
class GSM8K(Task):
    """Test problems to solve; training problems to learn from, calculator annotations left in the targets."""

    name: ClassVar[str] = "gsm8k"
    kind: ClassVar[str] = "generate"

    train_limit: int | None = None
    """Number of training examples, and of problems: evenly spaced over the 7,473; all of them if None."""
    shots: int = 0
    """Worked examples before each question: training problems, evenly spaced, never among `examples` or `problems`."""

    def __post_init__(self) -> None:
        if not 0 <= self.shots <= MOST_SHOTS:
            raise UserError(f"gsm8k: shots {self.shots} is not from 0 to {MOST_SHOTS}.")

    @property
    def mode(self) -> str:
        return f"{self.shots}-shot" if self.shots else ""

    def items(self, data: Path | None) -> list[Item]:
        before = "".join(example.prompt + example.target + "\n\n" for example in self.worked_examples(data))
        return [_item("test", index, row, before) for index, row in evenly(rows(TEST, data), self.limit)]

    def worked_examples(self, data: Path | None) -> list[Example]:
        """The training problems that stand before each question."""
        if not self.shots:
            return []
        return [_example(index, row) for index, row in evenly(rows(TRAIN, data), self.shots)]

    def examples(self, data: Path | None) -> list[Example]:
        return [_example(index, row) for index, row in self._training(data)]

    def problems(self, data: Path | None) -> list[Item]:
        """The problems of `examples`, to be solved: with no worked examples before them, as `examples` has none."""
        return [_item("train", index, row) for index, row in self._training(data)]

    def grade(self, item: Item, output: str) -> Grade:
        # A base model that has seen worked examples goes on with a question of its own, and an answer to it.
        output = output.split(f"\n{USER}", maxsplit=1)[0] if self.shots else output
        return graded(strict_answer(output), flexible_answer(output), item.answer)

    def _training(self, data: Path | None) -> list[tuple[int, dict[str, Any]]]:
        """The training problems that are taught, each with its index."""
        training = rows(TRAIN, data)
        shown = {index for index, _ in evenly(training, self.shots)}
        return [(index, row) for index, row in evenly(training, self.train_limit) if index not in shown]


def _item(split: str, index: int, row: dict[str, Any], before: str = "") -> Item:
    name = f"{split}/{index}"
    prompt = before + chat_prompt(row["question"])
    return Item(name, name, split, prompt, " " + row["answer"], strict_answer(row["answer"]))


def _example(index: int, row: dict[str, Any]) -> Example:
    return Example(f"gsm8k/train/{index}", chat_prompt(row["question"]), " " + row["answer"])


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
