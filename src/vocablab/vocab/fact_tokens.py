"""One token per fact."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

from vocablab.base.errors import UserError
from vocablab.base.random_streams import unit_interval
from vocablab.facts.fact import Fact
from vocablab.facts.families import Family, Multiplication, Rhyme
from vocablab.facts.held_out import HeldOutFacts
from vocablab.vocab.finder import Finder, Site
from vocablab.vocab.forms import (
    answer_comes_last,
    answer_text,
    canonical_text,
    form_of,
    question_text,
    write_form,
)
from vocablab.vocab.intervention import Intervention, NearMiss, Span

MODES = ("replace", "annotate", "operands")


@dataclass(frozen=True)
class FactTokens(Intervention):
    """One token per fact, at every place where a text states it rightly."""

    family: Family = Multiplication()
    """Which facts."""
    ordered: bool = False
    """One token per operand order instead of one per unordered pair."""
    mode: str = "replace"
    """``replace``: the token instead of the text. ``annotate``: the token after the text, which stays. ``operands``: a
    token that carries the question only, instead of the operands: ``<MUL_6_9> = 54``."""
    weak: bool = False
    """Also bare operands (``6 * 9``). In mode replace the token then says the answer, which the text did not: such an
    arm is compared with `PlainTextFacts`, never with the bare control alone."""
    dose: float = 1.0
    """Probability that a site is taken, drawn by document and position: over 0, at most 1."""
    untaught: HeldOutFacts | None = None
    """Facts whose tokens exist but stand in no text: their sites keep their characters. What a row is worth that was
    composed and never seen is asked of these (`vocablab.probe.untaught`)."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"FactTokens.mode: {self.mode!r} is none of {', '.join(MODES)}.")
        if not 0 < self.dose <= 1:
            raise UserError(
                f"FactTokens.dose: {self.dose} is not over 0 and at most 1; an arm without facts is NoChange."
            )

        turned = [form for form in self.family.forms if not answer_comes_last(form)]
        if self.mode == "operands" and turned:
            raise UserError(
                f"FactTokens: mode operands has no question to replace in {turned[0]!r}: its answer is first."
            )
        if self.untaught is not None and self.taught in (0, len(self.tokens())):
            count = len(self.tokens())
            raise UserError(
                f"FactTokens.untaught: {count - self.taught} of {count} facts; it must leave some to learn from, and "
                "name some."
            )

    @cached_property
    def _finder(self) -> Finder:
        return Finder.of(self.family, ordered=self.ordered, weak=self.weak)

    def tokens(self) -> tuple[str, ...]:
        return tuple(facts_by_token(self.family, self.ordered, self.mode == "operands"))

    @cached_property
    def taught(self) -> int:
        """How many of its tokens may stand in texts."""
        facts = facts_by_token(self.family, self.ordered, self.mode == "operands").values()
        return sum(self.untaught is None or fact not in self.untaught for fact in facts)

    def sites(self, text: str, document: str) -> list[Site]:
        """The sites of `text` that are taken."""
        found = self._finder.sites(text)
        if self.dose < 1:
            found = [site for site in found if unit_interval(0, "dose", document, site.start) < self.dose]
        if self.untaught is not None:
            found = [site for site in found if site.fact not in self.untaught]
        return found

    def may_change(self, data: bytes) -> bool:
        return self._finder.forms.search.may_match(data)

    def near_misses(self, text: str) -> list[NearMiss]:
        return [miss for miss in self._finder.examine(text) if isinstance(miss, NearMiss)]

    def spans(self, text: str, document: str) -> list[Span]:
        return [span for site in self.sites(text, document) for span in self._spans(text, site)]

    def neutral(self, token: str) -> str:
        asks = self.mode == "operands"
        fact = facts_by_token(self.family, self.ordered, asks)[token]
        return question_text(self.family, fact) if asks else canonical_text(self.family, fact)

    def surface(self, replacement: str, form: str) -> str:
        known = facts_by_token(self.family, self.ordered, self.mode == "operands")
        if replacement in known:
            return write_form(known[replacement], form)
        # The rest of a calculator annotation in mode operands: " = 54" stands for "=54>>54".
        answer = re.search("[0-9]+", replacement)
        assert answer is not None
        return write_form(Fact("", (), int(answer.group())), form)

    def _name(self, fact: Fact) -> str:
        return self.family.question_name(fact) if self.mode == "operands" else self.family.token_name(fact)

    def _spans(self, text: str, site: Site) -> list[Span]:
        name, key = self._name(site.fact), site.fact.key
        if self.mode == "annotate":
            return [Span(site.end, site.end, name, True, key, "")]
        end = site.question_end if self.mode == "operands" else site.end
        spans = [Span(site.start, end, name, True, key, form_of(text, site.start, end, site.numbers, site.swapped))]
        if self.mode == "operands" and text.startswith("<<", site.start):
            form = form_of(text, end, site.end, site.numbers, site.swapped)
            spans.append(Span(end, site.end, answer_text(self.family, site.fact), False, key, form))
        return spans


@dataclass(frozen=True)
class RhymeTokens(FactTokens):
    """One token per line of 九九, the multiplication rhyme, as Chinese texts state it."""

    family: Family = Rhyme()
    """The rhyme."""


@lru_cache(maxsize=64)
def facts_by_token(family: Family, ordered: bool, asks: bool) -> dict[str, Fact]:
    """The facts of a family by token name, in the order of the tokens' ids."""
    name = family.question_name if asks else family.token_name
    return {name(fact): fact for fact in family.facts(ordered=ordered)}
