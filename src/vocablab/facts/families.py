"""Families: enumerable sets of facts, each with a token name and the ways a text states it.

A form is a template: ``{a}``, ``{b}``, ... are operands, ``{c}`` is the answer, ``(=|is|equals)`` are alternatives, and
a space is up to eight spaces or tabs, which may be missing beside a symbol but not beside a word.
"""

import inspect
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from vocablab.base.errors import UserError
from vocablab.facts.fact import COMMUTATIVE, Fact
from vocablab.facts.numerals import SCRIPTS

ANSWER = "c"
"""The placeholder of the answer."""
OPERANDS = "abdefgh"
"""The placeholders of operands, in order."""
_PLACEHOLDER = re.compile(r"\{(\w*)(?::(\w*))?\}")
EQUALS = "(=|is|equals)"
TIMES = r"(*|×|·|⋅|x|\times|\cdot|times|multiplied by)"


@dataclass(frozen=True)
class Family(ABC):
    """A set of facts that can be listed."""

    @property
    @abstractmethod
    def canonical(self) -> str:
        """The form in which every arm reads a fact: ``{a} * {b} = {c}``."""

    @property
    @abstractmethod
    def forms(self) -> tuple[str, ...]:
        """How a text states a fact with its answer."""

    @property
    def questions(self) -> tuple[str, ...]:
        """How a text writes the operands alone; what weak mode also replaces."""
        return ()

    @property
    def scripts(self) -> tuple[str, ...]:
        """In which scripts (`vocablab.facts.numerals.SCRIPTS`) its numbers may be written."""
        return ("digits", "words")

    @abstractmethod
    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        """All facts: each unordered pair of operands once (smaller first), or every order if `ordered`.

        Where the relation does not commute, the two are the same.
        """

    def token_name(self, fact: Fact) -> str:
        """Name of a fact's token: ``<MUL_6_9_54>``."""
        return f"<{fact.relation}_{'_'.join(map(str, fact.operands))}_{fact.answer}>"

    def question_name(self, fact: Fact) -> str:
        """Name of a token that carries the operands only: ``<MUL_6_9>``."""
        return f"<{fact.relation}_{'_'.join(map(str, fact.operands))}>"


@dataclass(frozen=True)
class _Table(Family):
    """Facts over whole numbers from `low` to `high`."""

    low: int = 1
    """Smallest operand."""
    high: int = 9
    """Largest operand."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise UserError(f"{type(self).__name__}: low {self.low} and high {self.high} are no range.")

    @property
    def numbers(self) -> range:
        """The operands."""
        return range(self.low, self.high + 1)

    def _commuting(self, relation: str, answer: Callable[[int, int], int], ordered: bool) -> tuple[Fact, ...]:
        return tuple(
            Fact(relation, (a, b), answer(a, b)) for a in self.numbers for b in self.numbers if ordered or a <= b
        )


@dataclass(frozen=True)
class Multiplication(_Table):
    """Products of whole numbers from `low` to `high`: the table of 九九 is 1 to 9."""

    @property
    def canonical(self) -> str:
        return "{a} * {b} = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ("<<{a}*{b}={c}>>{c}", f"{{a}} {TIMES} {{b}} {EQUALS} {{c}}")

    @property
    def questions(self) -> tuple[str, ...]:
        # Never the letter x: 4 x 4 is a dimension.
        return (r"{a} (*|×|·|⋅|\times|\cdot) {b}",)

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return self._commuting("MUL", operator.mul, ordered)


@dataclass(frozen=True)
class Addition(_Table):
    """Sums of whole numbers from `low` to `high`."""

    @property
    def canonical(self) -> str:
        return "{a} + {b} = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ("<<{a}+{b}={c}>>{c}", f"{{a}} (+|plus) {{b}} {EQUALS} {{c}}")

    @property
    def questions(self) -> tuple[str, ...]:
        return ("{a} + {b}",)

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return self._commuting("ADD", operator.add, ordered)


@dataclass(frozen=True)
class Subtraction(_Table):
    """Differences that undo the sums of `low` to `high`: ``15 - 6 = 9``. Never negative, never bare: 6-9 is a range."""

    @property
    def canonical(self) -> str:
        return "{a} - {b} = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ("<<{a}-{b}={c}>>{c}", f"{{a}} (-|−|–|minus) {{b}} {EQUALS} {{c}}")

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return tuple(Fact("SUB", (b + c, b), c) for b in self.numbers for c in self.numbers)


@dataclass(frozen=True)
class Division(_Table):
    """Quotients that undo the products of `low` to `high`: ``54 / 9 = 6``. Never by zero, never with a rest."""

    @property
    def canonical(self) -> str:
        return "{a} / {b} = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ("<<{a}/{b}={c}>>{c}", rf"{{a}} (/|÷|\div|divided by) {{b}} {EQUALS} {{c}}")

    @property
    def questions(self) -> tuple[str, ...]:
        # Not the slash: 6/9 is a fraction or a date.
        return (r"{a} (÷|\div) {b}",)

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return tuple(Fact("DIV", (b * c, b), c) for b in self.numbers if b for c in self.numbers)


@dataclass(frozen=True)
class Squares(_Table):
    """Squares of whole numbers from `low` to `high`."""

    high: int = 20
    """Largest operand."""

    @property
    def canonical(self) -> str:
        return "{a}^2 = {c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return ("{a} (^2|²|**2|^{2}|squared) " + EQUALS + " {c}", "the square of {a} " + EQUALS + " {c}")

    @property
    def questions(self) -> tuple[str, ...]:
        return ("{a}(^2|²)",)

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return tuple(Fact("SQUARE", (a,), a * a) for a in self.numbers)


@dataclass(frozen=True)
class CircleArea(_Table):
    """Areas of circles with whole radii, as multiples of pi: ``π * 5^2 = 25π`` is ``<AREA_CIRCLE_5_25>``."""

    high: int = 20
    """Largest radius."""

    @property
    def canonical(self) -> str:
        return "π * {a}^2 = {c}π"

    @property
    def forms(self) -> tuple[str, ...]:
        pi, square = r"(π|pi|\pi)", "(^2|²|**2|^{2})"
        return (
            f"{pi} (*|×|·|) {{a}}{square} = {{c}} (*|×|·|) {pi}",
            f"area of a circle (with|of) radius {{a}} {EQUALS} {{c}} (*|×|·|) {pi}",
        )

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return tuple(Fact("AREA_CIRCLE", (a,), a * a) for a in self.numbers)


@dataclass(frozen=True)
class Rhyme(_Table):
    """The rhyme of 九九: products 1 to 9 as Chinese texts state them.

    ``六九五十四``, ``二三得六``, ``六乘九等于五十四``, ``6×9=54``, also with full-width digits and signs.
    """

    @property
    def canonical(self) -> str:
        return "{a}×{b}={c}"

    @property
    def forms(self) -> tuple[str, ...]:
        return (
            "{a:zh_digit}{b:zh_digit}得{c:zh}",
            "{a:zh_digit}{b:zh_digit}{c:zh_ten}",
            "{a} (×|*|·|x|＊|乘以|乘) {b} (=|＝|等于|得|是) {c}",
        )

    @property
    def scripts(self) -> tuple[str, ...]:
        return ("digits", "full", "zh")

    @property
    def questions(self) -> tuple[str, ...]:
        return ("{a} (×|*|·|＊|乘以|乘) {b}",)

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        if self.high > 9:
            raise UserError(f"Rhyme: high {self.high} is above 9, where the rhyme ends.")
        return self._commuting("MUL", operator.mul, ordered)

    def token_name(self, fact: Fact) -> str:
        return f"<RHYME_{fact.operands[0]}_{fact.operands[1]}_{fact.answer}>"

    def question_name(self, fact: Fact) -> str:
        return f"<RHYME_{fact.operands[0]}_{fact.operands[1]}>"


@dataclass(frozen=True)
class Formula(Family):
    """A family that a user declared (see `formula`): a table of facts and the forms that state them.

    The table, not the function that filled it, is the identity: it goes into the fingerprint and into an exported
    model, which needs no user code to be read again.
    """

    table: tuple[Fact, ...]
    """The facts."""
    written: tuple[str, ...]
    """The forms; the first is the canonical one."""
    asked: tuple[str, ...] = ()
    """The questions of weak mode."""

    def __post_init__(self) -> None:
        names = {f.relation for f in self.table}
        if len(names) != 1 or not re.fullmatch("[A-Z][A-Z0-9_]*", next(iter(names))):
            raise UserError(f"formula: the name {sorted(names)} must be one word in capitals, such as CUBE.")
        if len({f.operands for f in self.table}) != len(self.table):
            raise UserError(f"formula {self.table[0].relation}: the same operands stand twice in its table.")
        operands = set(OPERANDS[: len(self.table[0].operands)])
        for form in (*self.written, *self.asked):
            self._check(form, operands | {ANSWER} if form in self.written else operands)
        if not self.written or "(" in self.written[0] or any(s for _, s in _PLACEHOLDER.findall(self.written[0])):
            raise UserError(
                f"formula {self.table[0].relation}: the first form is canonical: digits only, no alternatives."
            )

    def _check(self, form: str, letters: set[str]) -> None:
        name = self.table[0].relation
        found = _PLACEHOLDER.findall(form)
        if {letter for letter, _ in found} != letters:
            raise UserError(f"formula {name}: {form!r} must name {', '.join(sorted(letters))}.")
        unknown = [script for _, script in found if script and script not in SCRIPTS]
        if unknown:
            known = ", ".join(SCRIPTS)
            raise UserError(f"formula {name}: {form!r}: no script is called {unknown[0]}; there is {known}.")
        rest = _PLACEHOLDER.sub("", form)
        if re.search(r"[{}()\n\r]", re.sub(r"\([^()]*\)", "", rest)):
            raise UserError(f"formula {name}: {form!r} has a brace, bracket or line break that has no meaning there.")

    @property
    def canonical(self) -> str:
        return self.written[0]

    @property
    def forms(self) -> tuple[str, ...]:
        return self.written

    @property
    def questions(self) -> tuple[str, ...]:
        return self.asked

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        return self.table


def formula(
    name: str,
    operands: Sequence[Sequence[int]],
    answer: Callable[..., int | None],
    forms: Sequence[str],
    questions: Sequence[str] = (),
) -> Formula:
    """Declare a family of facts.

    Args:
        name: of the relation, in capitals: the head of its token names.
        operands: the values of each operand; ``{a}`` is the first, ``{b}`` the second, then ``{d}``, ``{e}``...
        answer: the answer for given operands, a whole number from 0, or None where there is no fact.
        forms: how a text states a fact (see the module); the first is canonical.
        questions: how a text writes the operands alone, for weak mode.

    Raises:
        UserError: if a name, a form or an answer is not usable.
    """
    if not 1 <= len(operands) <= len(OPERANDS):
        raise UserError(f"formula {name}: it has {len(operands)} operands; 1 to {len(OPERANDS)} are possible.")
    try:
        inspect.signature(answer).bind(*operands)
    except TypeError:
        raise UserError(f"formula {name}: its answer does not take the {len(operands)} operands given.") from None
    except ValueError:
        pass  # some built-in functions, such as max, do not tell their parameters
    if name in COMMUTATIVE or name == "RHYME":
        raise UserError(f"formula {name}: the name is taken by a built-in family.")
    table = []
    for values in product(*operands):
        if not all(isinstance(value, int) and value >= 0 for value in values):
            raise UserError(f"formula {name}: the operands {values} are not whole numbers from 0.")
        try:
            found = answer(*values)
        except Exception as error:  # a user's function can fail in any way
            raise UserError(f"formula {name}: its answer fails on {values}: {type(error).__name__}: {error}.") from None
        if found is None:
            continue
        if not isinstance(found, int) or found < 0:
            raise UserError(f"formula {name}: {values} gives {found!r}; answers are whole numbers from 0.")
        table.append(Fact(name, tuple(values), found))
    if not table:
        raise UserError(f"formula {name}: its table is empty.")
    return Formula(tuple(table), tuple(forms), tuple(questions))


def multiplication(low: int, high: int) -> Multiplication:
    """The products of `low` to `high`."""
    return Multiplication(low, high)
