"""Facts stated anywhere in a text, in whatever order and operation: 6 * 9 = 54, 54 / 9 = 6 and 9 times 6 are one fact.

For the leak scan (rule 10): it must miss none of them and may be generous, so nothing is refused for what stands
around it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.facts.numerals import read
from vocablab.vocab.forms import Found, compiled

_NEAR = 40
"""How many characters after a question its answer may stand: ``What is 95 times 45?`` line break ``Answer: 4275``."""
_SIGNS = {
    "MUL": r"(*|×|·|⋅|∙|x|X|✕|✖|\times|\cdot|times|multiplied by)",
    "DIV": r"(/|÷|:|\div|divided by|over)",
    "ADD": "(+|＋|plus|added to)",
    "SUB": "(-|−|–|－|minus)",
}
_NOUNS = {"MUL": "product", "DIV": "quotient", "ADD": "sum", "SUB": "difference"}


@dataclass(frozen=True)
class _Operation(Family):
    """Every statement of one operation, whatever the numbers: only for its patterns."""

    relation: str = "MUL"

    @property
    def canonical(self) -> str:
        return "{a} + {b} = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ()

    @property
    def questions(self) -> tuple[str, ...]:
        noun = _NOUNS[self.relation]
        return (
            f"{{a}} {_SIGNS[self.relation]} {{b}}",
            f"(the {noun} of|{noun} of|the {noun} between|{noun} between) {{a}} and {{b}}",
        )

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return ()


def fact_keys(text: str, *, stated: bool = True) -> set[str]:
    """Canonical keys of the facts in a text.

    A product and the quotients that undo it have one key, ``MUL:6,9=54``; a sum and its differences too,
    ``ADD:6,9=15``.

    Args:
        text: any text.
        stated: only those whose answer stands beside them, before or after; False: a question is enough.
    """
    return {key for relation in _SIGNS for key, near in _in(text, relation) if near or not stated}


def may_state(data: bytes) -> bool:
    """A cheap look at a text in valid UTF-8: false only if no fact is in it."""
    return any(compiled(_Operation(relation), weak=True).search.may_match(data) for relation in _SIGNS)


def _in(text: str, relation: str) -> Iterator[tuple[str, bool]]:
    for found in compiled(_Operation(relation), weak=True).candidates(text):
        values = [_value(text[first:last]) for _, first, last in found.numbers]
        if len(values) != 2 or values[0] is None or values[1] is None:
            continue
        solved = _solved(relation, values[0], values[1])
        if solved is not None:
            key, answer = solved
            yield key, _stands_near(text, found, answer)


@lru_cache(maxsize=65536)
def _value(raw: str) -> int | None:
    return read(raw)


def _solved(relation: str, a: int, b: int) -> tuple[str, int] | None:
    """Canonical key and answer of a question; None if the answer is no whole number."""
    if relation == "MUL":
        return canonical_key("MUL", a, b, a * b), a * b
    if relation == "ADD":
        return canonical_key("ADD", a, b, a + b), a + b
    if relation == "SUB":
        return (canonical_key("ADD", b, a - b, a), a - b) if a >= b else None
    return (canonical_key("MUL", b, a // b, a), a // b) if b and a % b == 0 else None


def canonical_key(relation: str, a: int, b: int, c: int) -> str:
    """The one spelling of a fact: `Fact.key` of the product or the sum."""
    return f"{relation}:{min(a, b)},{max(a, b)}={c}"


def undone(fact: Fact) -> str:
    """The canonical key of any fact of two operands: that of the product for a quotient, of the sum for a
    difference."""
    a, b = fact.operands
    if fact.relation == "DIV":
        return canonical_key("MUL", b, fact.answer, a)
    if fact.relation == "SUB":
        return canonical_key("ADD", b, fact.answer, a)
    return fact.key


def _stands_near(text: str, found: Found, answer: int) -> bool:
    digits = str(answer)
    after = text[found.end : found.end + _NEAR + len(digits)].replace(",", "")
    before = text[max(0, found.start - 16 - len(digits)) : found.start].replace(",", "")
    if _holds(after, digits) or _holds(before, digits):
        return True
    return answer in _words_near(text[found.end : found.end + _NEAR])


def _holds(text: str, digits: str) -> bool:
    position = text.find(digits)
    while position >= 0:
        end = position + len(digits)
        if not text[position - 1 : position].isdigit() and not text[end : end + 1].isdigit():
            return True
        position = text.find(digits, position + 1)
    return False


def _words_near(text: str) -> set[int]:
    """Numbers in words among the first of `text`: ``six times nine is fifty-four``."""
    words = text.replace(".", " ").replace(",", " ").split()
    found = set()
    for first in range(min(4, len(words))):
        for last in range(first + 1, min(first + 5, len(words)) + 1):
            value = _value(" ".join(words[first:last]))
            if value is not None:
                found.add(value)
    return found
