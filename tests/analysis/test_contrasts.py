"""Many studies at once are the same studies; sums within clusters."""

import numpy as np

from vocablab.analysis.contrasts import cluster_sums, contrasts
from vocablab.analysis.estimates import estimate


def test_cluster_sums_keep_the_order_of_first_appearance() -> None:
    sums = cluster_sums(np.array([[1.0, 2.0, 4.0]]), ["b", "a", "b"])
    assert sums.tolist() == [[5.0, 2.0]]


def test_many_studies_at_once_are_the_same_studies() -> None:
    rng = np.random.default_rng(17)
    a, b = rng.normal(0, 1, (3, 5, 12)), rng.normal(0, 1, (3, 5, 12))
    names = [str(i // 3) for i in range(12)]
    for paired in (True, False):
        many = contrasts(a, b, names, paired=paired)
        for i in range(3):
            one = estimate(a[i], b[i], names, paired=paired)
            assert one.interval() == tuple(float(end[i]) for end in many.interval())
