"""Facts that are held out by what they have in common, so that a neighbour of theirs does not give them away."""

from dataclasses import dataclass

from vocablab.base.errors import UserError
from vocablab.facts.fact import Fact

WAYS = ("operand", "result", "row")


@dataclass(frozen=True)
class HeldOutFacts:
    """The facts with one of some numbers in one place."""

    by: str
    """``operand``: in any place among the operands. ``result``: as the answer. ``row``: as the first operand, a row of
    the table (of unordered products, the smaller one)."""
    values: tuple[int, ...]
    """The numbers."""

    def __post_init__(self) -> None:
        if self.by not in WAYS:
            raise UserError(f"HeldOutFacts.by: {self.by!r} is none of {', '.join(WAYS)}.")
        if not self.values:
            raise UserError("HeldOutFacts.values: give at least one number.")

    def __contains__(self, fact: Fact) -> bool:
        places = {"operand": fact.operands, "result": (fact.answer,), "row": fact.operands[:1]}[self.by]
        return not set(places).isdisjoint(self.values)
