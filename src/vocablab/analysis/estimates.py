"""Treatment minus control of one study: effect, error, interval, p-values, and what the study could detect.

Shapes: S seeds, N items.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vocablab.analysis.arrays import Floats
from vocablab.analysis.contrasts import contrasts, student_interval
from vocablab.analysis.randomisation import exchanged
from vocablab.analysis.variance_components import Variance, minimum_detectable, t_quantile, variance_to_plan_with
from vocablab.base.errors import RunError
from vocablab.base.sign_flips import sign_flip


@dataclass(frozen=True)
class Estimate:
    """Treatment minus control on one measure, in the metric's own units."""

    effect: float
    """Treatment minus control: a difference of means, or of ratios of sums."""
    standard_error: float
    """Standard error of `effect` over new seeds and new items; NaN where it cannot be had (1 x 1)."""
    degrees_of_freedom: float
    treatment_mean: float
    control_mean: float
    n_seeds: int
    """Seeds per arm; the smaller number where unpaired arms have different ones."""
    n_items: int
    n_clusters: int
    per_seed: tuple[float, ...]
    """The same difference within each seed; unpaired: each treatment seed minus the mean of the control's seeds."""
    sign_flip_p: float
    """Exact two-sided p-value over seeds alone: of flipped signs, or of exchanged arms where unpaired. Cannot be below
    2 / 2^S, unpaired 2 / (2S choose S)."""
    variance: Variance
    floor: float
    """Smallest standard error allowed (see `contrasts`)."""
    paired: bool = True
    """Whether seed s of one arm belongs to seed s of the other."""
    growth: float = 0.0
    """See `Contrasts`; it moves the far end of the interval of 0/1 scores."""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided interval at `level`; each end is a one-sided bound at (1 + level) / 2. Swapping the arms mirrors it
        exactly."""
        if not self.degrees_of_freedom > 0:
            return math.nan, math.nan
        t = t_quantile(0.5 + level / 2, self.degrees_of_freedom)
        low, high = student_interval(self.effect, self.standard_error, self.growth, t)
        return float(low), float(high)

    @property
    def p_value(self) -> float:
        """Two-sided p-value of "no effect"; 1 where the effect is exactly 0."""
        if self.effect == 0:
            return 1.0
        if not self.standard_error > 0:
            return math.nan if math.isnan(self.standard_error) else 0.0
        return float(2 * stats.t.sf(abs(self.effect) / self.standard_error, self.degrees_of_freedom))

    def p_beyond(self, distance: float) -> float:
        """One-sided p-value of a null value that lies so far below (or by symmetry above) the effect."""
        if not self.standard_error > 0:
            return math.nan if math.isnan(self.standard_error) else float(distance <= 0)
        return float(stats.t.sf(distance / self.standard_error, self.degrees_of_freedom))

    def mde(self, alpha: float = 0.05, *, sides: int = 2) -> float:
        """Minimum detectable effect at 80 % power of the study as it was done (see `minimum_detectable`)."""
        return minimum_detectable(self.standard_error, self.degrees_of_freedom, alpha, sides)

    def seeds_needed(self, size: float, alpha: float = 0.05, *, sides: int = 2) -> int | None:
        """Fewest seeds, on the same items, whose MDE is at most `size`; None if items alone forbid it."""
        return self.variance.seeds_needed(size, alpha, sides=sides, floor=self.floor)


def estimate(
    treatment: Floats,
    control: Floats,
    clusters: Sequence[str] | None = None,
    treatment_weights: Floats | None = None,
    control_weights: Floats | None = None,
    *,
    paired: bool = True,
) -> Estimate:
    """Estimate treatment minus control from scores on the same items (see `contrasts`).

    Args:
        treatment: numerators, shape (S, N); row s and column i are the same seed and item in `control`.
        control: the same for the control arm; unpaired it may have another number of rows.
        clusters: cluster name per item, length N; None makes every item its own cluster.
        treatment_weights: denominators (S, N), positive; None is 1 each.
        control_weights: the same for the control arm.
        paired: whether the arms share their seeds. Unpaired the variances between seeds of both arms add; items are
            crossed with both arms all the same.

    Raises:
        RunError: for shapes that do not pair, an empty sample, or a number that is not finite.
    """
    treatment, control = np.asarray(treatment, dtype=np.float64), np.asarray(control, dtype=np.float64)
    same = treatment.shape == control.shape if paired else treatment.shape[-1:] == control.shape[-1:]
    if not same or treatment.ndim != 2 or control.ndim != 2 or 0 in (*treatment.shape, *control.shape):
        raise RunError(f"Scores do not pair: treatment has shape {treatment.shape}, control {control.shape}.")
    weights = [None if w is None else np.asarray(w, dtype=np.float64) for w in (treatment_weights, control_weights)]
    if not all(np.isfinite(x).all() for x in (treatment, control, *weights) if x is not None):
        raise RunError("A score that a claim rests on is not a finite number.")
    found = contrasts(treatment, control, clusters, *weights, paired=paired)
    means_t, means_c = _seed_means(treatment, weights[0]), _seed_means(control, weights[1])
    per_seed = means_t - (means_c if paired else means_c.mean())
    parts = found.seed, found.item, found.residual, found.seed_degrees
    return Estimate(
        effect=float(found.effect),
        standard_error=float(found.standard_error),
        degrees_of_freedom=float(found.degrees_of_freedom),
        treatment_mean=float(found.treatment_mean),
        control_mean=float(found.control_mean),
        n_seeds=found.n_seeds,
        n_items=treatment.shape[1],
        n_clusters=found.n_clusters,
        per_seed=tuple(float(x) for x in per_seed),
        sign_flip_p=sign_flip(per_seed) if paired else exchanged(means_t, means_c),
        variance=variance_to_plan_with(*parts, found.n_seeds, found.n_clusters),
        floor=float(found.floor),
        paired=paired,
        growth=float(found.growth),
    )


def _seed_means(scores: Floats, weights: Floats | None) -> Floats:
    below = scores.shape[1] if weights is None else weights.sum(axis=1)
    return np.asarray(scores.sum(axis=1) / below, dtype=np.float64)
