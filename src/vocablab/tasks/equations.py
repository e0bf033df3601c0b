"""Equations of word problems, worked step by step without running them as code.

Reads ``x=120*80%*15%``, ``(3000-750)/15``, ``2.75-1(5/6)``: numbers, percents, fractions, mixed numbers, the four
operations, powers and brackets.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+\([0-9]+/[0-9]+\)|\([0-9]+/[0-9]+\)|[0-9]+(?:\.[0-9]+)?%?)|(?P<sign>[-+*/:^()\[\]]))"
)
_BRACKETS = {"(": ")", "[": "]"}
_DEEPEST = 20


@dataclass(frozen=True)
class Step:
    """One operation: ``44 * 20 = 880``."""

    left: str
    """Left operand, as the equation writes it or as an earlier step gave it."""
    sign: str
    """``+``, ``-``, ``*``, ``/`` or ``^``."""
    right: str
    """Right operand."""
    result: str
    """What it gives, exactly: a decimal if it ends, else a fraction in brackets."""


@dataclass(frozen=True)
class Worked:
    """An equation worked out."""

    value: Fraction
    """Its value."""
    steps: tuple[Step, ...]
    """Its operations in order; none if it is a plain number."""


def work_out(equation: str) -> Worked | None:
    """The value and the steps of an equation; None if it is not of the kind above or divides by zero."""
    try:
        reader = _Reader(re.sub(r"^\s*x\s*=", "", equation))
        value, _ = reader.total(0)
        reader.end()
    except (ValueError, ZeroDivisionError):
        return None
    return Worked(value, tuple(reader.steps))


def written(number: Fraction) -> str:
    """``2250``, ``0.15`` if the decimal ends within six places, else ``(2/3)``."""
    if (number * 10**6).denominator == 1:
        return f"{float(number):.6f}".rstrip("0").rstrip(".") if abs(number) < 10**9 else str(number)
    return f"({number.numerator}/{number.denominator})"


class _Reader:
    """Reads an equation from left to right and notes each operation it carries out."""

    def __init__(self, text: str) -> None:
        self.steps: list[Step] = []
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise ValueError(text)
            self._tokens += _tokens_of(found)
            place = found.end()

    def end(self) -> None:
        if self._tokens:
            raise ValueError("something is left over")

    def total(self, depth: int) -> tuple[Fraction, str]:
        left = self._product(depth)
        while self._next() in ("+", "-"):
            left = self._apply(left, self._take(), self._product(depth))
        return left

    def _product(self, depth: int) -> tuple[Fraction, str]:
        left = self._power(depth)
        while self._next() in ("*", "/", ":"):
            left = self._apply(left, self._take().replace(":", "/"), self._power(depth))
        return left

    def _power(self, depth: int) -> tuple[Fraction, str]:
        base = self._atom(depth)
        return self._apply(base, self._take(), self._atom(depth)) if self._next() == "^" else base

    def _atom(self, depth: int) -> tuple[Fraction, str]:
        if depth > _DEEPEST or not self._tokens:
            raise ValueError("no number here")
        kind, text = self._tokens.pop(0)
        if kind == "number":
            return _number(text), text
        if text not in _BRACKETS:
            raise ValueError(text)
        inner = self.total(depth + 1)
        if self._take() != _BRACKETS[text]:
            raise ValueError("brackets do not match")
        return inner

    def _apply(self, left: tuple[Fraction, str], sign: str, right: tuple[Fraction, str]) -> tuple[Fraction, str]:
        (a, first), (b, second) = left, right
        if sign == "^" and (b.denominator != 1 or not 0 <= b <= 9):
            raise ValueError("a large power")
        results = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}
        result = a ** int(b) if sign == "^" else results[sign]()
        self.steps.append(Step(first, sign, second, written(result)))
        return result, written(result)

    def _next(self) -> str:
        return self._tokens[0][1] if self._tokens else ""

    def _take(self) -> str:
        if not self._tokens:
            raise ValueError("the equation ends early")
        return self._tokens.pop(0)[1]


def _tokens_of(found: re.Match[str]) -> list[tuple[str, str]]:
    text = found["number"] or found["sign"]
    # (12/4) is a division in brackets, (3/4) a fraction.
    if found["number"] and text.startswith("(") and _number(text).denominator == 1:
        over, under = text[1:-1].split("/")
        return [("sign", "("), ("number", over), ("sign", "/"), ("number", under), ("sign", ")")]
    return [("number" if found["number"] else "sign", text)]


def _number(text: str) -> Fraction:
    if text.endswith("%"):
        return Fraction(text[:-1]) / 100
    whole, _, fraction = text.rstrip(")").partition("(")
    return Fraction(whole or "0") + (Fraction(fraction) if fraction else 0)
