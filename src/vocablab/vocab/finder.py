"""Finds where a text states a fact of a family: candidates by shape, then the facts among them that stand alone."""

from dataclasses import dataclass

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.vocab.forms import compiled, facts_by_operands, read_cached
from vocablab.vocab.surroundings import refusal


@dataclass(frozen=True)
class Site:
    """A right fact in a text."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    question_end: int
    """One past the part that names the operands."""
    fact: Fact
    """The fact as its token has it."""
    swapped: bool
    """Whether the text has the two operands the other way round."""
    numbers: tuple[tuple[str, int, int], ...]
    """Placeholder letter, start and end of each number, in text order."""


@dataclass(frozen=True)
class NearMiss:
    """A stretch with the shape of a fact that was left alone."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    reason: str
    """Why, for an audit."""


def examine(text: str, family: Family, *, ordered: bool = False, weak: bool = False) -> list[Site | NearMiss]:
    """All candidates of a family in a text, in order: the sites and what was left alone.

    Args:
        text: any raw text.
        family: which facts.
        ordered: whether both operand orders are facts of their own.
        weak: whether bare operands (``6 * 9``) are candidates too.
    """
    table = facts_by_operands(family, ordered)
    out: list[Site | NearMiss] = []
    for found in compiled(family, weak).candidates(text):
        values: dict[str, int] = {}
        malformed = False
        for letter, first, last in found.numbers:
            value = read_cached(text[first:last])
            malformed |= value is None
            values[letter] = -1 if value is None else value
        operands = tuple(value for letter, value in sorted(values.items()) if letter != "c")
        fact, swapped = table.get(operands, (None, False))
        reason: str | None
        if malformed:
            reason = "a number that nobody writes so"
        elif fact is None:
            reason = "outside the family"
        elif values.get("c", fact.answer) != fact.answer:
            reason = "a wrong answer"
        else:
            reason = refusal(
                text, found.start, found.end, is_annotation=found.form.startswith("<<"), is_question=found.is_question
            )
        if reason is None and fact is not None:
            out.append(Site(found.start, found.end, found.question_end, fact, swapped, found.numbers))
        else:
            out.append(NearMiss(found.start, found.end, reason or ""))
    return out


def find_facts(text: str, family: Family, *, ordered: bool = False, weak: bool = False) -> list[Site]:
    """The sites among `examine`'s candidates."""
    return [found for found in examine(text, family, ordered=ordered, weak=weak) if isinstance(found, Site)]
