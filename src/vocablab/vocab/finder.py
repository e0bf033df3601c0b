"""Finds where a text states a fact of a family: candidates by shape, then the facts among them that stand alone."""

from collections.abc import Mapping
from dataclasses import dataclass

from vocablab.facts.fact import Fact
from vocablab.facts.families import ANSWER, OPERANDS, Family
from vocablab.vocab.forms import Forms, Found, compiled, facts_by_operands, read_cached
from vocablab.vocab.intervention import NearMiss
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


_NO_FACT: tuple[None, bool] = (None, False)


@dataclass(frozen=True)
class Finder:
    """Where texts state the facts of one family."""

    forms: Forms
    """The shapes of a fact."""
    table: Mapping[tuple[int, ...], tuple[Fact | None, bool]]
    """The facts by the operands in text order (`facts_by_operands`)."""

    @staticmethod
    def of(family: Family, *, ordered: bool = False, weak: bool = False) -> "Finder":
        """Make one.

        Args:
            family: which facts.
            ordered: whether both operand orders are facts of their own.
            weak: whether bare operands (``6 * 9``) are candidates too.
        """
        return Finder(compiled(family, weak), facts_by_operands(family, ordered))

    def examine(self, text: str) -> list[Site | NearMiss]:
        """All candidates in a text, in order: the sites and what was left alone."""
        return [self._judged(text, found) for found in self.forms.candidates(text)]

    def sites(self, text: str) -> list[Site]:
        """The sites among `examine`'s candidates."""
        return [found for found in self.examine(text) if isinstance(found, Site)]

    def _judged(self, text: str, found: Found) -> Site | NearMiss:
        values: dict[str, int] = {}
        for letter, first, last in found.numbers:
            value = read_cached(text[first:last])
            if value is None:
                return NearMiss(found.start, found.end, "a number that nobody writes so")
            values[letter] = value
        fact, swapped = self.table.get(tuple(values[x] for x in OPERANDS if x in values), _NO_FACT)
        if fact is None:
            return NearMiss(found.start, found.end, "outside the family")
        if values.get(ANSWER, fact.answer) != fact.answer:
            return NearMiss(found.start, found.end, "a wrong answer")
        reason = refusal(
            text, found.start, found.end, is_annotation=found.form.startswith("<<"), is_question=found.is_question
        )
        if reason is not None:
            return NearMiss(found.start, found.end, reason)
        return Site(found.start, found.end, found.question_end, fact, swapped, found.numbers)
