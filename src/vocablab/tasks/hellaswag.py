"""HellaSwag: choose the ending of a story (Zellers et al. 2019)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vocablab.base.data import DataSet, HubFile, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.gsm8k import evenly
from vocablab.tasks.task import Item, Task

VALIDATION = DataSet(
    local="hellaswag/hellaswag_val.jsonl",
    rows=10042,
    hub=HubFile(
        "Rowan/hellaswag",
        "218ec52e09a7e7462a5400043bb9a69a41d06b76",
        "data/validation-00000-of-00001.parquet",
    ),
    title="HellaSwag's validation set",
)


@dataclass(frozen=True)
class HellaSwag(Task):
    """Context and four endings, as the file has them (no preprocessing)."""

    name: ClassVar[str] = "hellaswag"
    kind: ClassVar[str] = "choose"

    limit: int | None = None
    """Number of items: evenly spaced over the 10,042; all of them if None."""

    def items(self, data: Path | None) -> list[Item]:
        found = []
        for index, row in evenly(read_rows(VALIDATION, data), self.limit):
            try:
                choices = tuple(" " + ending for ending in row["endings"])
                context, label = row["ctx"], int(row["label"])
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"HellaSwag's row {index + 1} is malformed ({error!r}).") from None
            key = f"validation/{index}"
            found.append(Item(key, key, "validation", context, choices[label], str(label), choices, label))
        return found
