"""Finds where a text states a right product of two whole numbers.

It would rather miss a site than take a wrong one (rule 2): a candidate whose surroundings make it part of
something else, such as a longer number, a chain, a unit or an identifier, is left alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SPACE = r"[ \t]*"
_TIMES = rf"(?:{_SPACE}(?:\*|×|·|⋅|x|\\times){_SPACE}|[ \t]+times[ \t]+)"
_EQUALS = rf"(?:{_SPACE}={_SPACE}|[ \t]+(?:is|equals)[ \t]+)"
_PRODUCT = rf"([0-9]+){_TIMES}([0-9]+){_EQUALS}([0-9]+)"
_CANDIDATE = re.compile(rf"<<([0-9]+)\*([0-9]+)=([0-9]+)>>\3(?![0-9])|(?<![0-9]){_PRODUCT}(?![0-9])")
"""GSM8K's calculator annotation with the answer it repeats, or a product as people write it."""

_OPERATORS = frozenset("+-*/×·⋅÷^=%−–—∙±≈≠:√!°")
_GLUE_BEFORE = frozenset(".,$€£¥₩₹#@\\_'’\"~&|")
_GLUE_AFTER = frozenset("$€£¥₩₹#@\\_&|([{°")
_WORDS_BEFORE = re.compile(r"(?:times|plus|minus|by|of|over|divided|multiplied|squared|negative|point|x)[ \t]*\Z", re.I)
_WORDS_AFTER = re.compile(
    r"[ \t]*(?:times|plus|minus|divided|multiplied|mod|over|percent|point|hundred|thousand|million|billion|x)\b"
    r"|[ \t]*x[0-9]",
    re.I,
)


@dataclass(frozen=True)
class Site:
    """A right product in a text."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    left: int
    """The operand that stands first."""
    right: int
    """The other one."""
    answer: int
    """Their product."""
    pattern: tuple[str, ...]
    """The raw text around the numbers: before left, between, before the answer, and (annotation) before its repeat."""


def find_products(text: str, low: int, high: int) -> Iterator[Site]:
    """Yield the right products of two numbers from `low` to `high` that stand by themselves, in order."""
    for match in _CANDIDATE.finditer(text):
        annotation = match.group(1) is not None
        first = 1 if annotation else 4
        numbers = match.group(first, first + 1, first + 2)
        if any(n != str(int(n)) for n in numbers if len(n) < 20) or any(len(n) >= 20 for n in numbers):
            continue
        a, b, c = map(int, numbers)
        if a * b != c or not (low <= a <= high and low <= b <= high):
            continue
        start, end = match.span()
        if not (
            _free_after(text, end) and (annotation_start_free(text, start) if annotation else _free_before(text, start))
        ):
            continue
        if annotation:
            pattern: tuple[str, ...] = ("<<", "*", "=", ">>")
        else:
            pattern = (
                "",
                text[match.end(first) : match.start(first + 1)],
                text[match.end(first + 1) : match.start(first + 2)],
            )
        yield Site(start, end, a, b, c, pattern)


def annotation_start_free(text: str, start: int) -> bool:
    """Whether ``<<`` at `start` opens an annotation rather than continuing a run of ``<``."""
    return start == 0 or text[start - 1] != "<"


def _free_before(text: str, start: int) -> bool:
    line = text[max(0, start - 40) : start]
    line = line[line.rfind("\n") + 1 :]
    if not line:
        return True
    near = line[-1]
    if near.isalnum() or near in _GLUE_BEFORE or line.endswith("<<"):
        return False
    if near in "([{":
        # f(6*9=54) is code or a function, a parenthesis after a space is prose.
        before = line[:-1]
        return not before or before[-1] in " \t"
    stripped = line.rstrip(" \t")
    if stripped and stripped[-1] in _OPERATORS and not _ends_a_clause(stripped):
        return False
    return not _WORDS_BEFORE.search(line)


def _ends_a_clause(line: str) -> bool:
    """A colon after a word introduces a product; a time or a ratio has a digit before it."""
    return line[-1] == ":" and len(line) > 1 and line[-2].isalpha()


def _free_after(text: str, end: int) -> bool:
    rest = text[end : end + 40].split("\n", 1)[0]
    if not rest:
        return True
    near = rest[0]
    if near.isalnum() or near in _GLUE_AFTER or rest.startswith(">>"):
        return False
    if near in ".,'’:" and len(rest) > 1 and rest[1].isalnum():
        return False
    if near in ":!":
        return True
    stripped = rest.lstrip(" \t")
    if stripped and stripped[0] in _OPERATORS:
        return False
    return not _WORDS_AFTER.match(rest)
