"""Facts stated anywhere in a text, in whatever order and operation: 6 * 9 = 54, 54 / 9 = 6 and 9 times 6 are one fact.

For the leak scan (rule 10): it must miss none of them and may be generous, so nothing is refused for what stands
around it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from vocablab.facts.fact import Fact
from vocablab.facts.families import Family
from vocablab.facts.numerals import read, write_english
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
class _Operations(Family):
    """Every question of the four operations, whatever the numbers: only for its patterns."""

    @property
    def canonical(self) -> str:
        return "{a} + {b} = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ()

    @property
    def questions(self) -> tuple[str, ...]:
        return tuple(_RELATIONS)

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return ()


_RELATIONS = {f"{{a}} {signs} {{b}}": relation for relation, signs in _SIGNS.items()} | {
    f"(the {noun} of|{noun} of|the {noun} between|{noun} between) {{a}} and {{b}}": relation
    for relation, noun in _NOUNS.items()
}
"""The operation of each form."""


def fact_keys(text: str, *, stated: bool = True) -> set[str]:
    """Canonical keys of the facts in a text.

    A product and the quotients that undo it have one key, ``MUL:6,9=54``; a sum and its differences too,
    ``ADD:6,9=15``.

    Args:
        text: any text.
        stated: only those whose answer stands beside them, before or after; False: a question is enough.
    """
    found = set()
    for start in compiled(_Operations(), weak=True).candidates(text):
        values = [_value(text[first:last]) for _, first, last in start.numbers]
        if len(values) != 2 or values[0] is None or values[1] is None:
            continue
        solved = _solved(_RELATIONS[start.form], values[0], values[1])
        if solved is not None and (not stated or _stands_near(text, start, solved[1])):
            found.add(solved[0])
    return found


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


def canonical(fact: Fact) -> str:
    """The canonical key of any fact: that of the product for a quotient, of the sum for a difference."""
    if fact.relation == "DIV":
        return canonical_key("MUL", fact.operands[1], fact.answer, fact.operands[0])
    if fact.relation == "SUB":
        return canonical_key("ADD", fact.operands[1], fact.answer, fact.operands[0])
    return fact.key


def _stands_near(text: str, found: Found, answer: int) -> bool:
    digits = str(answer)
    after = text[found.end : found.end + _NEAR + len(digits)].replace(",", "")
    before = text[max(0, found.start - 16 - len(digits)) : found.start].replace(",", "")
    if _holds(after, digits) or _holds(before, digits):
        return True
    return answer < 1_000_000 and _in_words(answer) in _spoken(text[found.end : found.end + _NEAR + 40])


def _holds(text: str, digits: str) -> bool:
    position = text.find(digits)
    while position >= 0:
        end = position + len(digits)
        if not text[position - 1 : position].isdigit() and not text[end : end + 1].isdigit():
            return True
        position = text.find(digits, position + 1)
    return False


@lru_cache(maxsize=65536)
def _in_words(value: int) -> str:
    return f" {write_english(value).replace('-', ' ')} "


def _spoken(text: str) -> str:
    """Words in lower case with one blank around each, for ``six times nine is fifty-four``."""
    return f" {' '.join(re.findall('[a-z]+', text.lower())).replace(' and ', ' ')} "
