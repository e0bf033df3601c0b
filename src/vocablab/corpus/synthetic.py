"""Documents that state facts, written by templates: which fact stands how often is exact.

Drills (lines of facts), questions with answers, stories and word problems, all deterministic in seed and number, so any
worker can write any of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from vocablab.base.errors import UserError
from vocablab.base.random_streams import numpy_stream
from vocablab.corpus.prose import COLOURS, HOLDERS, MOODS, NAMES, PLACES, PLAIN, THINGS, TIMES
from vocablab.corpus.sources import Source, Written
from vocablab.facts.fact import COMMUTATIVE, Fact
from vocablab.facts.families import Family, Multiplication
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.finder import Finder
from vocablab.vocab.forms import surface_forms, swapped_fact, write_form
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.meaning import family_of

KINDS = ("drill", "question", "story", "problem")
"""What documents there are."""
_STORIES = (
    "{name} wrote {fact} on a {colour} card.",
    "{time} {name} learned that {fact}.",
    "{friend} asked, and {name} said that {fact}.",
    "The teacher drew a table: {fact}.",
    "{name} was {mood} to see that {fact}.",
)
_PROBLEMS = {
    "MUL": "{name} has {a} {holder} with {b} {thing} in each. How many {thing} are there? {fact}, so there are {c}.",
    "ADD": "{name} has {a} {thing} and finds {b} more. How many {thing} are there now? {fact}, so there are {c}.",
    "SUB": "{name} had {a} {thing} and gave {b} to {friend}. How many {thing} are left? {fact}, so {c} are left.",
    "DIV": "{name} puts {a} {thing} into {b} {holder}, the same number in each. How many are in one? {fact}, so {c}.",
}
_QUESTIONS = {
    "MUL": ("What is {a} times {b}?", "Compute {a} × {b}.", "How much is {a} multiplied by {b}?"),
    "ADD": ("What is {a} plus {b}?", "Compute the sum of {a} and {b}."),
    "SUB": ("What is {a} minus {b}?", "Take {b} from {a}."),
    "DIV": ("What is {a} divided by {b}?", "How often does {b} go into {a}?"),
}
_DRAWS = 16
"""At most so many random numbers are needed for a line."""
_ANSWERS = ("A: {fact}.", "Answer: {fact}.", "We know that {fact}.", "{fact}.")


@dataclass(frozen=True)
class SyntheticArithmetic(Written):
    """Generated documents about the facts of a family, each fact as often as the next, or exactly as often as told."""

    documents_count: int = 1000
    """How many documents; with `counts`, at most."""
    family: Family = Multiplication()
    """Which facts."""
    facts_per_document: int = 8
    """How many facts a document states."""
    kinds: tuple[str, ...] = KINDS
    """What documents there are, each as likely: ``drill``, ``question``, ``story``, ``problem``."""
    held_out: tuple[str, ...] = ()
    """Keys of facts that are never written (`Fact.key`)."""
    counts: tuple[tuple[str, int], ...] = ()
    """Exactly how often each fact is stated, by key; none: all equally often, plus or minus one."""
    name: str = "arithmetic"
    """What records call it."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or not self.kinds:
            raise UserError(f"SyntheticArithmetic.kinds: {unknown or 'none'}; there is {', '.join(KINDS)}.")
        if self.facts_per_document < 1 or self.documents_count < 1:
            raise UserError("SyntheticArithmetic: at least one document with at least one fact.")
        known = {fact.key for fact in self.family.facts(ordered=False)}
        strange = sorted({*self.held_out, *dict(self.counts)} - known)
        if strange:
            raise UserError(f"SyntheticArithmetic: {strange[0]} is no fact of the family, such as {min(known)}.")
        if not self.facts:
            raise UserError("SyntheticArithmetic: every fact of the family is held out.")

    @property
    def label(self) -> str:
        return self.name

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """The facts that may be written."""
        return tuple(fact for fact in self.family.facts(ordered=False) if fact.key not in self.held_out)

    @cached_property
    def _told(self) -> np.ndarray:
        """With `counts`: number of the fact for every mention, unshuffled."""
        number = {fact.key: index for index, fact in enumerate(self.facts)}
        held = [key for key, count in self.counts if count and key not in number]
        if held:
            raise UserError(f"SyntheticArithmetic.counts: {held[0]} is held out.")
        wanted = [(number[key], count) for key, count in self.counts if count]
        return np.repeat([n for n, _ in wanted], [c for _, c in wanted])

    @property
    def number(self) -> int:
        if not self.counts:
            return self.documents_count
        return min(self.documents_count, -(-len(self._told) // self.facts_per_document))

    def stated(self, seed: int, index: int) -> list[Fact]:
        """The facts that a document states, in order."""
        first = index * self.facts_per_document
        mentions = range(first, first + self.facts_per_document)
        if self.counts:
            order = _permutation(seed, "told", 0, len(self._told))
            return [self.facts[int(self._told[order[m]])] for m in mentions if m < len(self._told)]
        size = len(self.facts)
        # Every pass over the facts has an order of its own, so each fact is stated once per pass.
        return [self.facts[_permutation(seed, "pass", m // size, size)[m % size]] for m in mentions]

    def write(self, seed: int, index: int) -> str:
        facts = self.stated(seed, index)
        rng = numpy_stream(seed, "synthetic arithmetic", self.name, index)
        # All of a document's random numbers at once: one by one they take longer than everything else.
        draw = iter(rng.random(1 + _DRAWS * len(facts)).tolist()).__next__
        kind = _choose(draw, self.kinds)
        lines = [self._line(draw, kind, fact) for fact in facts]
        return ("\n" if kind != "story" else " ").join(lines) + "\n"

    def _line(self, draw: Callable[[], float], kind: str, fact: Fact) -> str:
        if fact.relation in COMMUTATIVE and draw() < 0.5:
            fact = swapped_fact(fact)
        ways = statements(self.family, fact)
        # The canonical form half of the time; the others share the rest.
        statement = ways[0] if draw() < 0.5 else _choose(draw, ways)
        if "zh" in self.family.scripts:
            return f"{statement}。"
        words = {
            "name": _choose(draw, NAMES), "friend": _choose(draw, NAMES), "thing": _choose(draw, THINGS),
            "holder": _choose(draw, HOLDERS), "place": _choose(draw, PLACES), "time": _choose(draw, TIMES),
            "mood": _choose(draw, MOODS), "colour": _choose(draw, COLOURS), "fact": statement,
        }  # fmt: skip
        if len(fact.operands) == 2:
            words |= {"a": str(fact.operands[0]), "b": str(fact.operands[1]), "c": str(fact.answer)}
        if kind == "drill":
            return words["fact"]
        if kind == "question" and fact.relation in _QUESTIONS:
            question, answer = _choose(draw, _QUESTIONS[fact.relation]), _choose(draw, _ANSWERS)
            return f"Q: {question} {answer}".format(**words)
        if kind == "problem" and fact.relation in _PROBLEMS:
            return _PROBLEMS[fact.relation].format(**words)
        return f"{_choose(draw, PLAIN)} {_choose(draw, _STORIES)}".format(**words)


@lru_cache(maxsize=100_000)
def statements(family: Family, fact: Fact) -> tuple[str, ...]:
    """How a fact can be stated so that it is found again: ``6 * 9 = 54``, ``6 times 9 is 54``; the canonical way
    first."""
    finder = Finder.of(family)
    texts = [write_form(fact, form) for form in surface_forms(family)]
    return tuple(text for text in texts if [site.fact.key for site in finder.sites(text)] == [fact.key])


def _choose(draw: Callable[[], float], options: Sequence[str]) -> str:
    return options[int(draw() * len(options))]


@lru_cache(maxsize=64)
def _permutation(seed: int, name: str, number: int, size: int) -> list[int]:
    order: list[int] = numpy_stream(seed, "synthetic arithmetic", name, number).permutation(size).tolist()
    return order


@dataclass(frozen=True)
class TargetDose:
    """A share of training tokens that shall be an intervention's tokens, reached by adding documents of its facts."""

    share: float
    """The share, over 0 and under 1: 0.01 is one percent."""
    intervention: Intervention = FactTokens()
    """Whose tokens are counted: one that has a family of facts."""
    facts_per_document: int = 8
    """As in `SyntheticArithmetic`."""
    kinds: tuple[str, ...] = KINDS
    """As in `SyntheticArithmetic`."""
    held_out: tuple[str, ...] = ()
    """Keys of facts that are never written (`Fact.key`)."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"--target-dose {self.share}: it is a share of tokens, over 0 and under 1.")

    def documents(self) -> Source:
        """The documents to add: as many as it takes.

        Raises:
            UserError: if the intervention has no facts to write.
        """
        family = family_of(self.intervention)
        if family is None:
            raise UserError(f"a target dose needs an intervention about facts, not {type(self.intervention).__name__}.")
        return SyntheticArithmetic(
            10**8, family, self.facts_per_document, self.kinds, self.held_out, name="synthetic facts"
        )
