"""HellaSwag: choose the ending of a story (Zellers et al. 2019), asked as the two usual programs ask it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vocablab.base.data import DataSet, HubFile, read_rows
from vocablab.base.errors import UserError
from vocablab.tasks.task import Item, Task, evenly

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
HARNESS, KARPATHY = "harness", "karpathy"
MODES = (HARNESS, KARPATHY)
"""The ways to ask; the first is the usual one."""
_SENTENCE_END = re.compile(r"""[.!?]["')\]]*(?=\s|$)""")


@dataclass(frozen=True)
class HellaSwag(Task):
    """Context and four endings.

    Modes: ``harness`` asks as lm-evaluation-harness 0.4 does (the activity's label before the story, WikiHow's marks
    taken out, ``acc_norm`` per character); ``karpathy`` asks as build-nanogpt's ``hellaswag.py`` does (the context as
    it is, ``acc_norm`` per token). Both read the context with no end-of-text token before it. An item has the same
    id in both.
    """

    name: ClassVar[str] = "hellaswag"
    kind: ClassVar[str] = "choose"
    bare: ClassVar[bool] = True

    mode: str = HARNESS
    """``harness`` or ``karpathy``."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"hellaswag: mode '{self.mode}' is not one of {', '.join(MODES)}.")

    def items(self, data: Path | None) -> list[Item]:
        return [self._item(index, row) for index, row in evenly(read_rows(VALIDATION, data), self.limit)]

    def _item(self, index: int, row: dict[str, Any]) -> Item:
        try:
            prompt, endings = as_harness(row) if self.mode == HARNESS else as_karpathy(row)
            choices = tuple(" " + ending for ending in endings)
            label = int(row["label"])
            if not 0 <= label < len(choices):
                raise ValueError(f"label {label} of {len(choices)} endings")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{VALIDATION.title}: row {index + 1} is malformed ({error!r}).") from None
        if not isinstance(row["endings"], list):
            raise UserError(f"{VALIDATION.title}: row {index + 1} has no list of endings.")
        return Item(
            item_id=f"validation/{index}",
            cluster_id=f"validation/{index}",
            split="validation",
            prompt=prompt,
            gold=choices[label],
            answer=str(label),
            choices=choices,
            label=label,
            normaliser="characters" if self.mode == HARNESS else "tokens",
        )


def as_harness(row: dict[str, Any]) -> tuple[str, list[str]]:
    """Query and endings of a row as lm-evaluation-harness makes them (``lm_eval/tasks/hellaswag/utils.py``).

    Raises:
        AttributeError, KeyError, TypeError: for a row that is no HellaSwag item.
    """
    if isinstance(row.get("ctx_a"), str) and isinstance(row.get("ctx_b"), str):
        start, begun = row["ctx_a"], row["ctx_b"]
    else:
        start, begun = split_context(row["ctx"])
    query = preprocess(f"{row['activity_label']}: {start} {begun.capitalize()}")
    return query, [preprocess(ending) for ending in row["endings"]]


def as_karpathy(row: dict[str, Any]) -> tuple[str, list[str]]:
    """Context and endings of a row as they are, as build-nanogpt's ``hellaswag.py`` reads them.

    Raises:
        KeyError, TypeError: for a row that is no HellaSwag item.
    """
    if not isinstance(row["ctx"], str):
        raise TypeError("ctx is no text")
    return row["ctx"], [str(ending) for ending in row["endings"]]


def preprocess(text: str) -> str:
    """Take WikiHow's marks out of a text, exactly as lm-evaluation-harness does."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")


def split_context(context: str) -> tuple[str, str]:
    """The raw set's ``ctx_a`` and ``ctx_b``, recovered from ``ctx`` where a copy of the set has only that.

    ``ctx_b`` is the unfinished last sentence, empty where the context ends a sentence:
    ``A man is sitting on a roof. he`` is ``A man is sitting on a roof.`` and ``he``. In the validation set that
    klosax/hellaswag_text_data publishes, 6,799 contexts end a sentence (all of WikiHow's) and 3,243 do not (all of
    ActivityNet's); each of these has a sentence before, and starts small, as the raw set has it. What can still differ
    from the raw set is what that copy lost: WikiHow's ``[header]``, ``[title]`` and ``[step]`` marks are gone, and
    with them ``. `` where a title followed without a full stop, and doubled spaces.
    """
    ends = [found.end() for found in _SENTENCE_END.finditer(context.rstrip())]
    place = ends[-1] if ends else 0
    return context[:place].strip(), context[place:].strip()
