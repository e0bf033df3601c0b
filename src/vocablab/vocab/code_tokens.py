"""One token per frequent idiom of a code corpus: calls such as ``np.zeros(`` and signatures such as ``def main():``."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from vocablab.base.errors import UserError
from vocablab.vocab.intervention import Intervention, Span

_CALL = r"(?<![\w.])(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*\("
_SIGNATURE = r"(?<!\w)def [A-Za-z_]\w*\([^()\n]{0,60}\):"
_IDIOM = re.compile(f"{_SIGNATURE}|{_CALL}", re.ASCII)


@dataclass(frozen=True)
class CodeTokens(Intervention):
    """One token per idiom, wherever it stands as a whole: lossless, since an idiom has one spelling."""

    idioms: tuple[str, ...]
    """The idioms, in the order of their ids; `mine_idioms` finds them."""

    def __post_init__(self) -> None:
        if not self.idioms or "" in self.idioms or len(set(self.idioms)) != len(self.idioms):
            raise UserError("CodeTokens: the idioms are empty, or one of them stands twice.")

    def tokens(self) -> tuple[str, ...]:
        return tuple(_by_token(self.idioms))

    def spans(self, text: str, document: str) -> list[Span]:
        names = _by_idiom(self.idioms)
        return [
            Span(*match.span(), names[match.group()], True, f"CODE:{match.group()}", "")
            for match in _pattern(self.idioms).finditer(text)
        ]

    def neutral(self, token: str) -> str:
        return _by_token(self.idioms)[token]

    def surface(self, replacement: str, form: str) -> str:
        return _by_token(self.idioms)[replacement]


def mine_idioms(texts: Iterable[str], *, number: int, minimum: int) -> tuple[str, ...]:
    """The idioms that save most characters in a code corpus.

    Args:
        texts: training files only: what is mined on evaluation files leaks them into the vocabulary.
        number: how many at most.
        minimum: fewest occurrences.

    Raises:
        UserError: if no idiom is frequent enough.
    """
    counts = Counter(match for text in texts for match in _IDIOM.findall(text))
    frequent = [(count * (len(idiom) - 1), idiom) for idiom, count in counts.items() if count >= minimum]
    if not frequent:
        raise UserError(f"no call or signature stands {minimum} times or more in these files.")
    return tuple(idiom for _, idiom in sorted(frequent, key=lambda pair: (-pair[0], pair[1]))[:number])


def code_coverage(texts: Iterable[str], idioms: tuple[str, ...]) -> float:
    """Share of the characters of `texts` that `idioms` cover."""
    covered = total = 0
    for text in texts:
        total += len(text)
        covered += sum(len(match.group()) for match in _pattern(idioms).finditer(text))
    return covered / max(1, total)


@lru_cache(maxsize=64)
def _by_token(idioms: tuple[str, ...]) -> dict[str, str]:
    return {f"<CODE_{i}_{re.sub('[^A-Za-z0-9.]+', '_', idiom).strip('_')}>": idiom for i, idiom in enumerate(idioms)}


@lru_cache(maxsize=64)
def _by_idiom(idioms: tuple[str, ...]) -> dict[str, str]:
    return {idiom: token for token, idiom in _by_token(idioms).items()}


@lru_cache(maxsize=64)
def _pattern(idioms: tuple[str, ...]) -> re.Pattern[str]:
    """Longest first. A name before or inside another name (``mynp.zeros(``, a token's own name) is no idiom."""
    longest_first = sorted(idioms, key=len, reverse=True)
    parts = [re.escape(i) + (r"(?!\w)" if i[-1].isalnum() else "") for i in longest_first]
    return re.compile(rf"(?<![\w.:>])(?:{'|'.join(parts)})")
