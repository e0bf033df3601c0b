"""Sources by name, and mixtures of them: what `--source` takes besides a path."""

import re
from pathlib import Path

from vocablab.base.errors import UserError
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.mathematics import MathematicsProblems
from vocablab.corpus.sources import Files, GeneratedProse, GSM8KText, Public, Source
from vocablab.corpus.synthetic import SyntheticArithmetic

FINEWEB_EDU = Public(
    "fineweb-edu",
    "HuggingFaceFW/fineweb-edu",
    "sample/10BT/*.parquet",
    "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9",
    "text",
)
"""The 10-billion-token sample of FineWeb-Edu (Lozhkov et al. 2024)."""
OPENWEBMATH = Public(
    "openwebmath",
    "open-web-math/open-web-math",
    "data/*.parquet",
    "fde8ef8de2300f5e778f56261843dab89f230815",
    "text",
)
"""OpenWebMath (Paster et al. 2023): 14.7 billion tokens of mathematical web pages."""
ENOUGH = 100_000_000
"""Documents of a generated source in a mixture: its weight decides how many are taken."""


def named_sources() -> dict[str, Source]:
    """The sources by name."""
    return {
        "fineweb-edu": FINEWEB_EDU,
        "openwebmath": OPENWEBMATH,
        "gsm8k": GSM8KText(),
        "mathematics": MathematicsProblems(ENOUGH),
        "arithmetic": SyntheticArithmetic(ENOUGH),
        "prose": GeneratedProse(ENOUGH, 0.0),
    }


def named_mixtures() -> dict[str, tuple[tuple[str, float], ...]]:
    """Math-heavy mixtures: sources and their shares of the tokens."""
    return {
        "math-light": (("fineweb-edu", 0.9), ("openwebmath", 0.1)),
        "math-heavy": (("fineweb-edu", 0.5), ("openwebmath", 0.4), ("mathematics", 0.1)),
        "math-only": (("openwebmath", 0.8), ("mathematics", 0.2)),
        "offline-math": (("prose", 0.5), ("arithmetic", 0.3), ("mathematics", 0.2)),
    }


_HUB = re.compile(r"hub:(?P<repository>[^/@]+/[^/@]+)(?:/(?P<pattern>[^@]+))?(?:@(?P<revision>.+))?\Z")
_GENERATED = ("mathematics", "arithmetic", "prose")


def declared_corpus(
    wanted: list[str], *, field: str | None, validation_share: float, target_tokens: int | None
) -> Corpus:
    """The corpus that a user named.

    Args:
        wanted: each a name, a path, ``hub:owner/name[/pattern][@revision]``, or a mixture; with ``:WEIGHT`` if several.
        field: the field of a row that holds the text, for paths and hub data sets.
        validation_share: as in `Corpus`.
        target_tokens: as in `Corpus`.

    Raises:
        UserError: if there is no such source, or weights and targets do not go together.
    """
    mixtures = named_mixtures()
    if len(wanted) == 1 and wanted[0] in mixtures:
        wanted = [f"{name}:{weight}" for name, weight in mixtures[wanted[0]]]
    pairs = [_weighed(one) for one in wanted]
    sources = tuple(_source(name, field) for name, _ in pairs)
    weights = [weight for _, weight in pairs]
    given = [weight for weight in weights if weight is not None]
    if given and len(given) != len(weights):
        raise UserError("--source: give every source a weight (NAME:WEIGHT), or none.")
    endless = [name for name, _ in pairs if name in _GENERATED]
    if endless and target_tokens is None:
        raise UserError(f"--source {endless[0]} never ends: say how much with --target-tokens.")
    if len(sources) > 1 and target_tokens is not None and not given:
        raise UserError("--target-tokens: several sources need weights: --source NAME:WEIGHT.")
    return Corpus(sources, validation_share, tuple(given), target_tokens)


def _weighed(text: str) -> tuple[str, float | None]:
    name, colon, weight = text.rpartition(":")
    if colon and not Path(text).exists():
        try:
            return name, float(weight)
        except ValueError:
            pass
    return text, None


def _source(name: str, field: str | None) -> Source:
    known = named_sources()
    if name in known:
        return known[name]
    if name.startswith("hub:"):
        found = _HUB.match(name)
        if found is None:
            raise UserError(f"--source {name}: write hub:owner/name, hub:owner/name/data/*.parquet or ...@revision.")
        repository, pattern, revision = found["repository"], found["pattern"] or "*", found["revision"] or "main"
        return Public(repository.replace("/", "--"), repository, pattern, revision, field)
    path = Path(name)
    if path.exists():
        return Files(path.resolve().name, str(path), field)
    mixtures = ", ".join(named_mixtures())
    raise UserError(
        f"--source {name}: there is no such path; known sources: {', '.join(known)}; mixtures, each alone: {mixtures}; "
        "any data set of the hub: hub:owner/name."
    )
