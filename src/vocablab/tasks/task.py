"""What a task is: items with a prompt, and a grade for a text."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from vocablab.tasks.answers import same_answer

T = TypeVar("T")

NORMALISERS = ("bytes", "characters", "tokens")
"""What a choice's log-likelihood may be divided by for ``acc_norm``."""


@dataclass(frozen=True)
class Item:
    """One question."""

    item_id: str
    """Stable and unique within its task."""
    cluster_id: str
    """Items that share this are not independent (phrasings of one fact); statistics sum them first."""
    split: str
    """Which part of the task the item belongs to; a claim may name ``task.split``."""
    prompt: str
    """The text the model reads."""
    gold: str
    """The reference continuation of the prompt, in plain text (before any intervention), without EOS."""
    answer: str
    """The final answer in normal form (`vocablab.tasks.answers`); empty where there is none."""
    choices: tuple[str, ...] = ()
    """Candidate continuations of a multiple-choice item. On an item of a ``generate`` task they are rival full
    continuations, `gold` among them, for the probability of the right one and its margin. Else empty."""
    label: int = -1
    """Index of the right choice, or -1."""
    fact_key: str = ""
    """The fact the answer rests on (`Fact.key`), or empty."""
    normaliser: str = "bytes"
    """What ``acc_norm`` divides a choice's log-likelihood by: ``bytes`` (UTF-8 of the choice), ``characters`` (of the
    choice without one leading space: lm-evaluation-harness) or ``tokens`` (the mean per token: build-nanogpt)."""


@dataclass(frozen=True)
class Grade:
    """What a grader says of one output."""

    strict: float
    """1 if the answer stands in the demanded place and is right, else 0."""
    flexible: float
    """1 if the answer found anywhere by the flexible rule is right, else 0."""
    extracted: str
    """The strict answer in normal form, else the flexible one, else empty. Empty equals nothing."""


def graded(strict: str, flexible: str, wanted: str) -> Grade:
    """The grade of two readings of one output, both in normal form or empty."""
    return Grade(float(same_answer(strict, wanted)), float(same_answer(flexible, wanted)), strict or flexible)


@dataclass(frozen=True)
class Example:
    """One supervised example: the model reads the prompt and learns the target, then EOS."""

    example_id: str
    """Stable and unique within its task."""
    prompt: str
    """Text that is read, never learned."""
    target: str
    """Text that is learned."""


@dataclass(frozen=True)
class Task(ABC):
    """A task's config; subclasses add their fields."""

    name: ClassVar[str]
    """What claims and score rows call it."""
    kind: ClassVar[str]
    """``generate`` (free answer), ``choose`` (likelihood of choices) or ``text`` (bits per byte of documents)."""
    bare: ClassVar[bool] = False
    """Whether the prompt is read without the end-of-text token before it, as lm-evaluation-harness reads GPT-2's."""

    limit: int | None = None
    """Number of items: evenly spaced over all of them; all if None."""

    @property
    def mode(self) -> str:
        """The way the task is asked, where there are several (``harness``, ``8-shot``); else empty."""
        return ""

    @abstractmethod
    def items(self, data: Path | None) -> list[Item]:
        """All items in a fixed order.

        Args:
            data: the data directory, or None for built-in data and the hub.
        """

    def examples(self, data: Path | None) -> list[Example]:
        """Training examples of the task for supervised fine-tuning; none unless a task has some."""
        return []

    def problems(self, data: Path | None) -> list[Item]:
        """Training problems with a final answer, for reinforcement learning; disjoint from `items`, except where a
        task says which of its splits are the unseen ones. None unless a task has some."""
        return []

    def grade(self, item: Item, output: str) -> Grade:
        """Grade a rendered output (plain text, no token names) of a ``generate`` task."""
        raise TypeError(f"{self.name} is not graded by output")


USER = "User: "
ASSISTANT = "\nAssistant:"


def chat_prompt(question: str) -> str:
    """The declared prompt template: ``User: ...`` newline ``Assistant:``. A target starts with a space."""
    return f"{USER}{question}{ASSISTANT}"


def evenly(values: Sequence[T], limit: int | None) -> list[tuple[int, T]]:
    """`limit` values at even distances from the first on, each with its index; all of them if `limit` is None."""
    if limit is None or limit >= len(values):
        return list(enumerate(values))
    return [(i * len(values) // limit, values[i * len(values) // limit]) for i in range(limit)]
