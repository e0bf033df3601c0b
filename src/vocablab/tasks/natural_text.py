"""Held-out documents, scored in bits per byte."""

from vocablab.tasks.task import Item

TEXT_TASK = "text"
"""What score rows call it."""


def text_items(documents: list[tuple[str, str]]) -> list[Item]:
    """One item per document, from (name, text) pairs."""
    return [Item(name, name, "validation", "", text, "") for name, text in documents]
