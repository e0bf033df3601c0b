"""An intervention applied to plain text, and taken back exactly."""

from dataclasses import dataclass
from typing import Any

from vocablab.base.errors import UserError
from vocablab.vocab.intervention import Intervention, Span


@dataclass(frozen=True)
class Injected:
    """A text after an intervention."""

    text: str
    """The changed text, tokens by name."""
    spans: list[Span]
    """What was replaced, with positions in the raw text."""


def inject(text: str, intervention: Intervention, document: str = "") -> Injected:
    """Apply an intervention to a raw text."""
    spans = intervention.spans(text, document)
    out, position = [], 0
    for span in spans:
        out += [text[position : span.start], span.replacement]
        position = span.end
    return Injected("".join([*out, text[position:]]), spans)


def side_record(injected: Injected) -> list[list[Any]]:
    """What makes the replacements reversible: per site its position in the changed text, replacement and form."""
    shift, record = 0, []
    for span in injected.spans:
        record.append([span.start + shift, span.replacement, span.form])
        shift += len(span.replacement) - (span.end - span.start)
    return record


def restore(text: str, intervention: Intervention, replacements: list[list[Any]]) -> str:
    """Take an intervention back with its side record (`side_record`): byte for byte the raw text.

    Raises:
        UserError: if the record does not belong to this text.
    """
    out: list[str] = []
    position = 0
    for start, replacement, form in replacements:
        if text[start : start + len(replacement)] != replacement:
            raise UserError(f"the side record does not belong to this text: no {replacement} at character {start}.")
        out += [text[position:start], intervention.surface(replacement, form)]
        position = start + len(replacement)
    return "".join([*out, text[position:]])


def restore_canonical(text: str, intervention: Intervention) -> tuple[str, int]:
    """Without a side record: each token by its neutral text, and how many there were."""
    number = 0
    for token in intervention.tokens():
        number += text.count(token)
        text = text.replace(token, intervention.neutral(token))
    return text, number
