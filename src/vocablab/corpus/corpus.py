"""What a corpus is made of."""

from dataclasses import dataclass

from vocablab.corpus.sources import Source
from vocablab.corpus.synthetic import TargetDose


@dataclass(frozen=True)
class Corpus:
    """Sources put together, shuffled by seed, with a validation part split off by a hash of each document's text."""

    sources: tuple[Source, ...]
    """Where the documents come from."""
    validation_share: float
    """Share of documents held out for validation. Equal texts are on the same side."""
    weights: tuple[float, ...] = ()
    """Share of each source in tokens of the base vocabulary; none: every document of every source."""
    target_tokens: int | None = None
    """How many training tokens of the base vocabulary to take; None: as many as sources and weights allow."""
    dose: TargetDose | None = None
    """A share of training tokens that shall be an intervention's: documents of its facts are added on top."""
