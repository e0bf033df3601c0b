"""An intervention applied to plain text, with an audit, and taken back exactly."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from vocablab.base.errors import UserError
from vocablab.vocab.intervention import Intervention, Span

SAMPLES = 20
"""How many replacements an audit shows with their surroundings."""
CONTEXT = 30
"""Characters of text shown on each side of a sample."""


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


def counts(spans: list[Span]) -> dict[str, Any]:
    """Number of sites, by form and by replacement."""
    return {
        "sites": len(spans),
        "by_form": dict(Counter(span.form for span in spans).most_common()),
        "by_token": dict(Counter(span.replacement for span in spans).most_common()),
    }


def audit(raw: str, injected: Injected) -> dict[str, Any]:
    """Counts, samples with context, and the side record that makes the replacements reversible.

    ``replacements`` holds, per site, the position in the *changed* text, the replacement and the form.
    """
    shift, replacements = 0, []
    for span in injected.spans:
        replacements.append([span.start + shift, span.replacement, span.form])
        shift += len(span.replacement) - (span.end - span.start)
    samples = [
        {
            "before": raw[max(0, s.start - CONTEXT) : s.start],
            "raw": raw[s.start : s.end],
            "replacement": s.replacement,
            "after": raw[s.end : s.end + CONTEXT],
        }
        for s in injected.spans[:SAMPLES]
    ]
    return {"counts": counts(injected.spans), "samples": samples, "replacements": replacements}


def restore(text: str, intervention: Intervention, replacements: list[list[Any]]) -> str:
    """Take an intervention back with the side record of its audit: byte for byte the raw text.

    Raises:
        UserError: if the record does not belong to this text.
    """
    out, position = [], 0
    for start, replacement, form in replacements:
        if text[start : start + len(replacement)] != replacement:
            raise UserError(f"the audit file does not belong to this text: no {replacement} at character {start}.")
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
