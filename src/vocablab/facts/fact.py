"""One fact, independent of how a text writes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """A relation with operands and an answer: ``MUL(6, 9) = 54``."""

    relation: str
    """Upper-case name of the relation, as in token names: ``MUL``."""
    operands: tuple[int, ...]
    """The operands, in the order the text has them or in canonical order."""
    answer: int
    """The right answer; a wrong equation is not a fact."""

    @property
    def key(self) -> str:
        """Canonical spelling, the same for both operand orders of a commutative relation: ``MUL:6,9=54``."""
        operands = sorted(self.operands) if self.relation in COMMUTATIVE else list(self.operands)
        return f"{self.relation}:{','.join(map(str, operands))}={self.answer}"


COMMUTATIVE = frozenset({"MUL", "ADD"})
"""Relations whose operands may be swapped."""
