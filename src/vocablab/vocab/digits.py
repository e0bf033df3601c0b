"""Numbers as digits with their place, or as chunks of digits; and facts and digits together.

Both are lossless: the tokens of a number say all of it. Numbers inside the name of a token (``<MUL_6_9_54>``,
``[5:tens]``) are left alone, so that a second pass changes nothing more.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from vocablab.base.errors import UserError
from vocablab.vocab.intervention import Intervention, NearMiss, Span

PLACES = tuple(
    "ones tens hundreds thousands ten_thousands hundred_thousands millions ten_millions hundred_millions "
    "billions ten_billions hundred_billions".split()
)
"""Places of a digit, from the right."""

_NUMBER = re.compile(
    r"<[A-Z][^\s<>]*>|\[[0-9]:[a-z_]+\]"  # a token's name
    r"|[.][0-9]+"  # the fraction of a decimal
    r"|(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
)


def _numbers(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of every whole number in ASCII digits, thousands separators included."""
    for match in _NUMBER.finditer(text):
        if match.lastgroup:
            yield match.span()


@dataclass(frozen=True)
class DigitTokens(Intervention):
    """One token per digit and place: ``54`` becomes ``[5:tens][4:ones]``. The fraction of a decimal stays text."""

    places: int = 9
    """Longest number, in digits; a longer one stays text."""

    def __post_init__(self) -> None:
        if not 1 <= self.places <= len(PLACES):
            raise UserError(f"DigitTokens.places: {self.places} is not from 1 to {len(PLACES)}.")

    def tokens(self) -> tuple[str, ...]:
        return tuple(f"[{digit}:{place}]" for place in PLACES[: self.places] for digit in range(10))

    def spans(self, text: str, document: str) -> list[Span]:
        spans = []
        for start, end in _numbers(text):
            at = [i for i in range(start, end) if text[i] != ","]
            if len(at) <= self.places:
                spans += [
                    Span(i, i + 1, f"[{text[i]}:{PLACES[len(at) - 1 - k]}]", True, "", "") for k, i in enumerate(at)
                ]
        return spans

    def neutral(self, token: str) -> str:
        return token[1]

    def surface(self, replacement: str, form: str) -> str:
        return replacement[1]


@dataclass(frozen=True)
class Chunked(Intervention):
    """One token per chunk of digits: ``1234567`` becomes 1 234 567 from the right, 123 456 7 from the left.

    Which side the chunks are counted from changes the arithmetic a model can do (Singh and Strouse 2024).
    """

    size: int = 3
    """Digits per chunk, from 1 to 4."""
    right_to_left: bool = True
    """Whether chunks are counted from the ones."""

    def __post_init__(self) -> None:
        if not 1 <= self.size <= 4:
            raise UserError(f"Chunked.size: {self.size} is not from 1 to 4.")

    def tokens(self) -> tuple[str, ...]:
        return tuple(f"<N_{value:0{width}d}>" for width in range(1, self.size + 1) for value in range(10**width))

    def spans(self, text: str, document: str) -> list[Span]:
        spans = []
        for start, end in _numbers(text):
            # A separator already cuts a number: each group is chunked by itself.
            for group in re.finditer("[0-9]+", text[start:end]):
                first, last = start + group.start(), start + group.end()
                head = (last - first) % self.size if self.right_to_left else 0
                cuts = [first, *range(first + (head or self.size), last, self.size), last]
                spans += [Span(a, b, f"<N_{text[a:b]}>", True, "", "") for a, b in pairwise(cuts)]
        return spans

    def neutral(self, token: str) -> str:
        return token[3:-1]

    def surface(self, replacement: str, form: str) -> str:
        return replacement[3:-1]


@dataclass(frozen=True)
class Hybrid(Intervention):
    """Two interventions together: the first wins where both apply. Facts inside the table, digits elsewhere.

    Plain text that one puts in (`PlainTextFacts`, mode operands) is left as it is: numbers in it stay text. Only a
    second pass would let the other find its sites there.
    """

    first: Intervention
    """Takes its sites first."""
    second: Intervention
    """Takes what the first left."""

    def __post_init__(self) -> None:
        clash = set(self.first.tokens()) & set(self.second.tokens())
        if clash:
            raise UserError(f"Hybrid: both interventions have the token {min(clash)}.")

    def tokens(self) -> tuple[str, ...]:
        return (*self.first.tokens(), *self.second.tokens())

    def spans(self, text: str, document: str) -> list[Span]:
        taken = self.first.spans(text, document)
        out, position = [], 0
        rest = iter([*self.second.spans(text, document), None])
        other = next(rest)
        for span in taken:
            while other is not None and other.end <= span.start:
                if other.start >= position:
                    out.append(_marked(other, "2"))
                other = next(rest)
            out.append(_marked(span, "1"))
            position = max(position, span.end)
        while other is not None:
            if other.start >= position:
                out.append(_marked(other, "2"))
            other = next(rest)
        return out

    def may_change(self, data: bytes) -> bool:
        return self.first.may_change(data) or self.second.may_change(data)

    def near_misses(self, text: str) -> list[NearMiss]:
        found = [*self.first.near_misses(text), *self.second.near_misses(text)]
        return sorted(found, key=lambda miss: miss.start)

    def neutral(self, token: str) -> str:
        return self._owner(token).neutral(token)

    def surface(self, replacement: str, form: str) -> str:
        if replacement in _token_set(self):
            return self._owner(replacement).surface(replacement, form)
        return (self.first if form[0] == "1" else self.second).surface(replacement, form[2:])

    def _owner(self, token: str) -> Intervention:
        return self.second if token in _token_set(self.second) else self.first


def _marked(span: Span, owner: str) -> Span:
    """A plain replacement has no name that would say whose it is, so its form does: ``2:`` for the second."""
    return span if span.is_token else replace(span, form=f"{owner}:{span.form}")


@lru_cache(maxsize=64)
def _token_set(intervention: Intervention) -> frozenset[str]:
    return frozenset(intervention.tokens())
