"""How long to train, with the unit in the type."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget(ABC):
    """An amount of training that every arm gets."""

    amount: float
    """How much, in the unit the class names."""

    @abstractmethod
    def tokens(self, tokens_per_byte: float, flops_per_token: float) -> int:
        """The number of training tokens this budget buys an arm.

        Args:
            tokens_per_byte: tokens of the arm's shard per raw source byte.
            flops_per_token: training FLOPs per token, the head included.
        """


@dataclass(frozen=True)
class SourceBytes(Budget):
    """Raw bytes of source text: every arm reads the same documents; a denser vocabulary takes fewer steps."""

    def tokens(self, tokens_per_byte: float, flops_per_token: float) -> int:
        return round(self.amount * tokens_per_byte)


@dataclass(frozen=True)
class Tokens(Budget):
    """Tokens: every arm takes the same steps; a denser vocabulary reads more text."""

    def tokens(self, tokens_per_byte: float, flops_per_token: float) -> int:
        return round(self.amount)


@dataclass(frozen=True)
class Flops(Budget):
    """Training FLOPs, forward and backward, the head included."""

    def tokens(self, tokens_per_byte: float, flops_per_token: float) -> int:
        return round(self.amount / flops_per_token)
