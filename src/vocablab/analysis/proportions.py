"""Right and wrong answers of one seed: two models on the same items."""

from dataclasses import dataclass

from vocablab.analysis.arrays import Floats
from vocablab.base.proportions import exact_mcnemar


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test of two 0/1 scores on the same items (McNemar 1947)."""

    gained: int
    """Items right with the treatment and wrong without."""
    lost: int
    """Items wrong with the treatment and right without."""
    p_value: float
    """Two-sided exact binomial p-value of gained against lost; 1 where nothing differs."""


def mcnemar(treatment: Floats, control: Floats) -> McNemar:
    """Compare two 0/1 vectors of shape (N,) item by item, within one seed; items are taken as independent."""
    gained = int(((treatment > 0.5) & (control <= 0.5)).sum())
    lost = int(((treatment <= 0.5) & (control > 0.5)).sum())
    return McNemar(gained, lost, exact_mcnemar(gained, lost))
