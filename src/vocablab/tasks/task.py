"""What a task is: items with a prompt, and a grade for a text."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


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
    """Candidate continuations of a multiple-choice item, else empty."""
    label: int = -1
    """Index of the right choice, or -1."""
    fact_key: str = ""
    """The fact the answer rests on (`Fact.key`), or empty."""


@dataclass(frozen=True)
class Grade:
    """What a grader says of one output."""

    strict: float
    """1 if the answer stands in the demanded place and is right, else 0."""
    flexible: float
    """1 if the answer found anywhere by the flexible rule is right, else 0."""
    extracted: str
    """The strict answer in normal form, else the flexible one, else empty. Empty equals nothing."""


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

    @abstractmethod
    def items(self, data: Path | None) -> list[Item]:
        """All items in a fixed order.

        Args:
            data: the data directory, or None for built-in data and the hub.
        """

    def examples(self, data: Path | None) -> list[Example]:
        """Training examples of the task for supervised fine-tuning; none unless a task has some."""
        return []

    def grade(self, item: Item, output: str) -> Grade:
        """Grade a rendered output (plain text, no token names) of a ``generate`` task."""
        raise TypeError(f"{self.name} is not graded by output")


USER = "User: "
ASSISTANT = "\nAssistant:"


def chat_prompt(question: str) -> str:
    """The declared prompt template: ``User: ...`` newline ``Assistant:``. A target starts with a space."""
    return f"{USER}{question}{ASSISTANT}"
