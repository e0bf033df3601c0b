"""What an intervention is: the tokens it adds, and the rule that maps a raw text to the changed stream."""

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A stretch of raw text that an intervention replaces."""

    start: int
    """First character of the stretch in the raw text."""
    end: int
    """One past its last character."""
    replacement: str
    """What stands there instead: a token name if `is_token`, else plain text."""
    is_token: bool
    """Whether the replacement is one added token, or text to be tokenized like any other."""
    fact_key: str
    """Canonical key of the fact stated there (`Fact.key`)."""
    form: str
    """How the raw stretch was written, as far as the replacement does not say: enough, together with the
    replacement, to restore it (`Intervention.surface`). For a token that knows its fact this is a template
    such as ``{b}*{a}={c}``; it is what a lossy replacement loses, and is charged for in bits per byte."""


@dataclass(frozen=True)
class NearMiss:
    """A stretch of raw text that looks like a site and was left alone."""

    start: int
    """First character."""
    end: int
    """One past the last."""
    reason: str
    """Why, for an audit."""


@dataclass(frozen=True)
class Intervention(ABC):
    """A change of vocabulary plus the rule that maps text to the changed token stream."""

    @property
    def changes_text(self) -> bool:
        """Whether the arm is expected to change any text: false for a control (rule 3)."""
        return True

    @abstractmethod
    def tokens(self) -> tuple[str, ...]:
        """Names of the added tokens, in the order of their ids. Names are unique and hold no white space."""

    @abstractmethod
    def spans(self, text: str, document: str) -> list[Span]:
        """The stretches of `text` that are replaced, in order and without overlap.

        Args:
            text: any raw text.
            document: a stable name of the document; interventions that draw at random use it as their seed.
        """

    def may_change(self, data: bytes) -> bool:
        """A cheap look at a text in valid UTF-8: false only if `spans` would find nothing in it."""
        return True

    def near_misses(self, text: str) -> list[NearMiss]:
        """What looks like a site and was left alone, with the reason; none where nothing is ever refused."""
        return []

    @abstractmethod
    def neutral(self, token: str) -> str:
        """The plain text that a reader (and an answer extractor) sees for an added token.

        The same for the same fact in every arm; empty for a token that says nothing (a sham).
        """

    @abstractmethod
    def surface(self, replacement: str, form: str) -> str:
        """The raw text of a span, from its replacement and its form: the inverse of `spans`."""


@dataclass(frozen=True)
class NoChange(Intervention):
    """The control: no tokens, no spans."""

    @property
    def changes_text(self) -> bool:
        return False

    def tokens(self) -> tuple[str, ...]:
        return ()

    def may_change(self, data: bytes) -> bool:
        return False

    def spans(self, text: str, document: str) -> list[Span]:
        return []

    def neutral(self, token: str) -> str:
        raise KeyError(token)

    def surface(self, replacement: str, form: str) -> str:
        raise KeyError(replacement)
