"""Families: enumerable sets of facts, each with a token name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from vocablab.base.errors import UserError
from vocablab.facts.fact import Fact


@dataclass(frozen=True)
class Family(ABC):
    """A set of facts that can be listed."""

    @abstractmethod
    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        """All facts: each unordered pair of operands once (smaller first), or every order if `ordered`."""

    def token_name(self, fact: Fact) -> str:
        """Name of a fact's token: ``<MUL_6_9_54>``."""
        return f"<{fact.relation}_{'_'.join(map(str, fact.operands))}_{fact.answer}>"


@dataclass(frozen=True)
class Multiplication(Family):
    """Products of whole numbers from `low` to `high`: the table of 九九 is 1 to 9."""

    low: int = 1
    """Smallest operand."""
    high: int = 9
    """Largest operand."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise UserError(f"multiplication: low {self.low} and high {self.high} are no range.")

    def facts(self, *, ordered: bool) -> tuple[Fact, ...]:
        numbers = range(self.low, self.high + 1)
        return tuple(Fact("MUL", (a, b), a * b) for a in numbers for b in numbers if ordered or a <= b)


def multiplication(low: int, high: int) -> Multiplication:
    """The products of `low` to `high`."""
    return Multiplication(low, high)
