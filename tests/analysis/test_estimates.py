"""The two-way estimate against simulation, other tests and hand-made cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from vocablab.analysis.contrasts import cluster_sums
from vocablab.analysis.estimates import estimate
from vocablab.base.errors import RunError


def _simulate(rng: np.random.Generator, seeds: int, items: int, effect: float) -> tuple[np.ndarray, np.ndarray]:
    seed, item = rng.normal(0, 0.3, (seeds, 1)), rng.normal(0, 1.0, (1, items))
    difference = effect + seed + item + rng.normal(0, 1.0, (seeds, items))
    control = rng.normal(0, 1, (seeds, items))
    return control + difference, control


@pytest.mark.parametrize(("seeds", "items"), [(5, 60), (8, 30), (5, 200)])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds: int, items: int) -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        low, high = estimate(*_simulate(rng, seeds, items, 0.5)).interval(0.95)
        covered += low <= 0.5 <= high
    assert 0.91 <= covered / 400 <= 0.99


def test_an_interval_over_items_alone_would_be_too_narrow() -> None:
    """The reason for two-way errors: with the seeds pooled the nominal 95 % covers far less."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        treatment, control = _simulate(rng, 5, 200, 0.5)
        by_item = (treatment - control).mean(axis=0)
        half = 1.96 * by_item.std(ddof=1) / math.sqrt(200)
        covered += abs(by_item.mean() - 0.5) <= half
    assert covered / 300 < 0.85


def test_swapping_the_arms_negates_everything_exactly() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(5, 1, (6, 23)), rng.normal(4, 1, (6, 23))
    weights = rng.integers(10, 99, (6, 23)).astype(float)
    names = [f"c{i % 9}" for i in range(23)]
    one, two = estimate(a, b, names, weights, weights), estimate(b, a, names, weights, weights)
    assert two.effect == -one.effect
    assert two.interval() == tuple(-x for x in reversed(one.interval()))
    assert (two.p_value, two.standard_error, two.sign_flip_p) == (
        one.p_value,
        one.standard_error,
        one.sign_flip_p,
    )


def test_a_ratio_is_the_ratio_of_sums_and_not_the_mean_of_ratios() -> None:
    bits_t, bits_c = np.array([[8.0, 400.0]] * 2), np.array([[10.0, 500.0]] * 2)
    size = np.array([[1.0, 500.0]] * 2)
    found = estimate(bits_t, bits_c, None, size, size)
    assert found.treatment_mean == pytest.approx(408 / 501)
    assert found.effect == pytest.approx(-102 / 501)


def test_the_error_of_a_ratio_matches_the_bootstrap() -> None:
    rng = np.random.default_rng(5)
    size = rng.integers(20, 400, 300).astype(float)
    control = size * rng.normal(1.0, 0.1, 300)
    treatment = control - size * rng.normal(0.05, 0.2, 300)
    stack = lambda x: np.stack([x] * 1)  # noqa: E731
    found = estimate(stack(treatment), stack(control), None, stack(size), stack(size))
    draws = rng.integers(0, 300, (4000, 300))
    boot = treatment[draws].sum(1) / size[draws].sum(1) - control[draws].sum(1) / size[draws].sum(1)
    assert found.standard_error == pytest.approx(boot.std(), rel=0.08)


def test_copies_of_an_item_add_nothing_once_they_are_one_cluster() -> None:
    rng = np.random.default_rng(6)
    treatment, control = rng.normal(1, 1, (5, 20)), rng.normal(0, 1, (5, 20))
    alone = estimate(treatment, control)
    names = [str(i % 20) for i in range(80)]
    copied = estimate(np.tile(treatment, 4), np.tile(control, 4), names)
    assert copied.standard_error == pytest.approx(alone.standard_error, rel=1e-9)
    assert (copied.n_items, copied.n_clusters) == (80, 20)
    assert estimate(np.tile(treatment, 4), np.tile(control, 4)).standard_error < alone.standard_error


def test_scores_that_never_differ_are_not_certainty() -> None:
    zeros = np.zeros((5, 20))
    found = estimate(zeros, zeros)
    assert found.effect == 0
    assert found.standard_error == pytest.approx(1 / 20)
    assert found.p_value == 1
    assert found.interval()[1] > 0.1


def test_one_seed_gives_an_interval_over_items_and_one_cell_gives_none() -> None:
    rng = np.random.default_rng(8)
    assert estimate(rng.normal(0, 1, (1, 30)), rng.normal(0, 1, (1, 30))).degrees_of_freedom == 29
    lone = estimate(np.array([[1.0]]), np.array([[0.0]]))
    assert math.isnan(lone.interval()[0])
    assert math.isnan(lone.mde())


def test_the_mde_is_found_in_four_of_five_simulated_studies() -> None:
    rng = np.random.default_rng(9)
    variance = 0.3**2 / 8 + 1 / 100 + 1 / 800
    truth = (stats.t.ppf(0.975, 20) + stats.t.ppf(0.8, 20)) * math.sqrt(variance)
    found = [estimate(*_simulate(rng, 8, 100, truth)) for _ in range(300)]
    assert 0.72 <= np.mean([e.p_value < 0.05 for e in found]) <= 0.9
    assert np.median([e.mde() for e in found]) == pytest.approx(truth, rel=0.15)


def test_more_seeds_are_needed_for_less_and_none_suffice_where_items_are_the_limit() -> None:
    rng = np.random.default_rng(10)
    treatment, control = rng.normal(0, 1, (4, 2000)) + rng.normal(0, 0.5, (4, 1)), np.zeros((4, 2000))
    found = estimate(treatment, control)
    some, more = found.seeds_needed(1.0), found.seeds_needed(0.3)
    assert some is not None
    assert more is not None
    assert some < more
    items = estimate(rng.normal(0, 1, (1, 10)) + np.zeros((5, 1)), np.zeros((5, 10)))
    assert items.seeds_needed(0.01) is None


def test_numbers_that_do_not_pair_or_are_not_finite_stop() -> None:
    with pytest.raises(RunError, match="do not pair"):
        estimate(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(RunError, match="finite"):
        estimate(np.array([[math.nan, 1.0]]), np.zeros((1, 2)))


def test_all_variance_between_seeds_is_the_paired_t_test_on_seed_means() -> None:
    rng = np.random.default_rng(11)
    seeds_t, seeds_c = rng.normal(1, 1, (6, 1)), rng.normal(0, 1, (6, 1))
    found = estimate(seeds_t + np.zeros((1, 30)), seeds_c + np.zeros((1, 30)))
    expected = stats.ttest_rel(seeds_t[:, 0], seeds_c[:, 0])
    assert found.degrees_of_freedom == 5
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert found.interval() == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_unpaired_arms_without_item_effects_are_welchs_test_on_seed_means() -> None:
    rng = np.random.default_rng(12)
    seeds_t, seeds_c = rng.normal(1, 3, (7, 1)), rng.normal(0, 1, (4, 1))
    found = estimate(seeds_t + np.zeros((1, 30)), seeds_c + np.zeros((1, 30)), paired=False)
    expected = stats.ttest_ind(seeds_t[:, 0], seeds_c[:, 0], equal_var=False)
    assert found.degrees_of_freedom == pytest.approx(expected.df, rel=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.n_seeds == 4
    assert len(found.per_seed) == 7


def test_all_variance_between_items_is_the_t_test_over_items() -> None:
    rng = np.random.default_rng(13)
    items = rng.normal(0.3, 1, (1, 40)) + np.zeros((5, 1))
    found = estimate(items, np.zeros((5, 40)))
    assert found.p_value == pytest.approx(stats.ttest_1samp(items[0], 0).pvalue, rel=1e-9)
    assert found.degrees_of_freedom == pytest.approx(39)


def test_a_golden_study() -> None:
    cells = np.add.outer(np.arange(5.0) ** 2 / 10, np.sin(np.arange(12.0))) + np.cos(np.outer(range(5), range(12)))
    found = estimate(cells, np.zeros((5, 12)))
    low, high = found.interval()
    numbers = found.effect, found.standard_error, found.degrees_of_freedom, low, high
    assert numbers == pytest.approx(GOLDEN, rel=1e-6)
    unpaired = estimate(cells, cells[::-1] * 0.5, paired=False)
    assert (unpaired.standard_error, unpaired.degrees_of_freedom) == pytest.approx(GOLDEN_UNPAIRED, rel=1e-6)


# Computed by loops over the cells, with the formulas of `variance_components`.
GOLDEN = (0.8527472258212943, 0.3488980469058177, 8.586386254217365, 0.05765129691963966, 1.6478431547229488)
GOLDEN_UNPAIRED = (0.3165088946631859, 6.3197991010121415)

tables = hnp.arrays(np.float64, (5, 8), elements=st.floats(-100, 100, width=32))


@pytest.mark.parametrize("paired", [True, False])
@given(tables, tables)
@settings(max_examples=40, deadline=None)
def test_swapping_mirrors_any_table_bit_by_bit(paired: bool, a: np.ndarray, b: np.ndarray) -> None:
    one, two = estimate(a, b, paired=paired), estimate(b, a, paired=paired)
    assert two.effect == -one.effect
    assert two.standard_error == one.standard_error
    assert two.interval() == tuple(-x for x in reversed(one.interval()))


@pytest.mark.parametrize("paired", [True, False])
@given(tables, tables, st.floats(0.1, 50), st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_shift_and_scale_carry_over(paired: bool, a: np.ndarray, b: np.ndarray, scale: float, shift: float) -> None:
    one = estimate(a + 0.5, b, paired=paired)  # never 0/1 in both, whose interval has a floor in shares
    two = estimate(scale * (a + 0.5) + shift, scale * b, paired=paired)
    tolerance = 1e-7 * scale * 100 + 1e-9
    assert two.effect == pytest.approx(scale * one.effect + shift, abs=tolerance)
    assert two.standard_error == pytest.approx(scale * one.standard_error, rel=1e-6, abs=tolerance)


@given(tables, tables, st.permutations(range(8)), st.permutations(range(5)))
@settings(max_examples=40, deadline=None)
def test_order_of_items_seeds_and_names_of_clusters_never_matter(
    a: np.ndarray, b: np.ndarray, items: list[int], seeds: list[int]
) -> None:
    names = ["x", "x", "y", "z", "z", "z", "u", "v"]
    a = a + 0.5  # never 0/1 in both: their floor asks for weights of 1
    one = estimate(a, b, names)
    order = np.ix_(seeds, items)
    two = estimate(a[order], b[order], [names[i].upper() for i in items])
    assert two.effect == pytest.approx(one.effect, abs=1e-9)
    assert two.standard_error == pytest.approx(one.standard_error, rel=1e-6, abs=1e-6)
    whole = estimate(cluster_sums(a, names), cluster_sums(b, names), None, *[cluster_sums(np.ones((5, 8)), names)] * 2)
    assert whole.standard_error == pytest.approx(one.standard_error, rel=1e-6, abs=1e-6)


def test_pairing_that_does_not_exist_is_not_used_up() -> None:
    """Arms that share their seeds' luck: paired it cancels, unpaired it counts twice."""
    rng = np.random.default_rng(15)
    luck = rng.normal(0, 2, (5, 1))
    treatment, control = luck + rng.normal(0, 1, (5, 50)), luck + rng.normal(0, 1, (5, 50))
    paired, unpaired = estimate(treatment, control), estimate(treatment, control, paired=False)
    assert unpaired.standard_error > 5 * paired.standard_error
    assert unpaired.variance.seed > 2


def test_the_far_end_of_rare_answers_is_further_and_the_near_end_students() -> None:
    rng = np.random.default_rng(16)
    treatment, control = (rng.random((5, 200)) < 0.06).astype(float), (rng.random((5, 200)) < 0.02).astype(float)
    found = estimate(treatment, control)
    low, high = found.interval()
    t = stats.t.ppf(0.975, found.degrees_of_freedom)
    assert low == pytest.approx(found.effect - t * found.standard_error)
    assert high - found.effect > found.effect - low
    assert (found.p_value < 0.05) == (low > 0)
    # At the far end the distance is t errors of a study with as many more answers that differ.
    differ = np.abs(treatment - control).mean()
    error = found.standard_error * math.sqrt(1 + (high - found.effect) / differ)
    assert high - found.effect == pytest.approx(t * error)
