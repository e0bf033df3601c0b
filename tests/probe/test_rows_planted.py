"""What was planted in the rows is found, and nothing else is."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from probe.planted import (
    along,
    circle_rows,
    frequency_rows,
    magnitude_rows,
    noise,
    numbers,
    operand_rows,
    random_exposures,
    subject,
)

from vocablab.analysis.multiplicity import holm
from vocablab.base.random_streams import numpy_stream
from vocablab.facts.families import Multiplication
from vocablab.probe.fourier import fourier
from vocablab.probe.geometry import geometry
from vocablab.probe.labels import FactLabels, fact_labels
from vocablab.probe.linear import linear_probes, probe, text_probes
from vocablab.probe.measures import Findings, Measure
from vocablab.probe.subject import Subject

OPERANDS = ("first operand", "second operand")
PERMUTATIONS = 199


@pytest.fixture(scope="module")
def base() -> Subject:
    return subject(exposures=random_exposures())


def labels_of(planted: Subject) -> FactLabels:
    found, _ = fact_labels(planted)
    assert found is not None
    return found


def one(found: Findings, target: str, metric: str, place: str = "rows") -> Measure:
    chosen = [m for m in found.measures if (m.place, m.target, m.metric) == (place, target, metric)]
    assert len(chosen) == 1, (place, target, metric)
    return chosen[0]


def with_p(found: Iterable[Measure]) -> list[Measure]:
    return [m for m in found if m.p is not None]


def p_of(measure: Measure) -> float:
    assert measure.p is not None
    return measure.p


def read(rows: np.ndarray, base: Subject, seed: int = 0) -> Findings:
    return probe({"rows": rows}, labels_of(base), PERMUTATIONS, seed)


def test_planted_operands_are_found(base: Subject) -> None:
    rows = operand_rows()
    shape = geometry(subject(rows, exposures=random_exposures()))
    found = read(rows, base)
    for name in OPERANDS:
        held_out = one(found, name, "held-out accuracy")
        assert held_out.value > 0.9
        assert p_of(held_out) < 0.01
        assert one(found, name, "selectivity").value > 0.6
        assert p_of(one(shape, name, "silhouette")) < 0.01
    assert one(shape, "operands", "nearest neighbour shares it").value == 1.0
    similarity = one(shape, "operands", "CKA")
    assert similarity.value > 0.5
    assert p_of(similarity) < 0.01
    assert p_of(one(found, "frequency", "held-out R2")) > 0.05


def test_planted_frequency_is_found_and_operands_are_not(base: Subject) -> None:
    rows = frequency_rows()
    shape = geometry(subject(rows, exposures=random_exposures()))
    found = read(rows, base)
    frequency = one(found, "frequency", "held-out R2")
    assert frequency.value > 0.9
    assert p_of(frequency) < 0.01
    assert p_of(one(shape, "frequency", "silhouette")) < 0.01
    for name in OPERANDS:
        assert p_of(one(found, name, "held-out accuracy")) > 0.05
        assert one(found, name, "selectivity").value < 0.1
        assert p_of(one(shape, name, "silhouette")) > 0.05
    assert p_of(one(shape, "operands", "CKA")) > 0.05


def test_planted_magnitude_is_found_and_neither_digits_nor_operands_are(base: Subject) -> None:
    rows = magnitude_rows()
    planted = subject(rows, exposures=random_exposures())
    shape, waves, found = geometry(planted), fourier(planted, PERMUTATIONS), read(rows, base)
    size = one(found, "product", "held-out R2")
    assert size.value > 0.9
    assert p_of(size) < 0.01
    assert p_of(one(shape, "product", "silhouette")) < 0.01
    # The spectrum has its peak, which the remainders then do not confirm.
    assert p_of(one(waves, "product", "spectral peak")) < 0.01
    for measure in waves.measures:
        if "mod" in measure.target:
            assert p_of(measure) > 0.05, measure
            assert measure.value < 0.2
    for measure in (*shape.measures, *found.measures):
        if ("operand" in measure.target or measure.target in ("last digit", "frequency")) and measure.p is not None:
            assert measure.p > 0.05, measure


def test_planted_period_of_ten_is_read_as_last_digit(base: Subject) -> None:
    rows = circle_rows(10)
    waves = fourier(subject(rows), PERMUTATIONS)
    peak = one(waves, "product", "spectral peak")
    assert peak.value > 0.5
    assert "period 10" in peak.note or "period 9.9" in peak.note or "period 10.1" in peak.note
    for metric in ("kappa", "held-out kappa"):
        assert one(waves, "product mod 10", metric).value > 0.25
        assert p_of(one(waves, "product mod 10", metric)) < 0.01
        assert p_of(one(waves, "product mod 7", metric)) > 0.05
    assert p_of(one(read(rows, base), "last digit", "held-out accuracy")) < 0.01
    coarse = fourier(subject(circle_rows(5)), PERMUTATIONS)
    assert one(coarse, "product mod 5", "kappa").value > 0.4


def test_random_rows_show_nothing(base: Subject) -> None:
    rows = noise(3)
    planted = subject(rows, exposures=random_exposures())
    for found in (geometry(planted), read(rows, base), fourier(planted, PERMUTATIONS)):
        adjusted = holm([p_of(m) for m in with_p(found.measures)])
        assert min(adjusted) > 0.05


def test_frequency_that_goes_with_magnitude_is_shown_by_the_baseline() -> None:
    """Small numbers are frequent in texts: then the product is read from rows that code frequency alone, but no better
    than from the exposures."""
    exposures = (30_000 / numbers().answer).astype(int)
    logarithm = np.log(exposures)
    rows = np.outer(logarithm - logarithm.mean(), noise(1)[0]) + 0.1 * noise(2)
    found = linear_probes(subject(rows, exposures=exposures, layers=1), 39, 1)
    own = one(found, "product", "held-out R2")
    baseline = one(found, "product", "held-out R2", "exposures alone")
    assert p_of(own) < 0.05
    assert own.value < baseline.value + 0.01
    assert one(found, "product", "held-out R2", "untrained rows").value < 0.3


def test_a_number_line_of_operands_is_found(base: Subject) -> None:
    """Classes in the middle of a line are hidden from a linear classifier, so operands are also read as numbers."""
    found = read(along(numbers().first, 0) + along(numbers().second, 1), base)
    for name in OPERANDS:
        line = one(found, f"{name} as a number", "held-out R2")
        assert line.value > 0.5
        assert p_of(line) < 0.01


def test_trained_rows_stand_beside_untrained_ones() -> None:
    planted = subject(operand_rows())
    start = {"input": np.random.default_rng(0).normal(0, 0.02, planted.table("input").shape).astype(np.float32)}
    moved = geometry(replace(planted, initial=start), PERMUTATIONS)
    assert p_of(one(moved, "initial rows", "CKA")) > 0.05
    still = geometry(replace(planted, initial={"input": planted.table("input").copy()}), PERMUTATIONS)
    assert one(still, "initial rows", "CKA").value == pytest.approx(1.0)
    found = linear_probes(replace(planted, initial=start), 39, 1)
    assert one(found, "first operand", "held-out accuracy", "untrained rows").value < 0.4


def test_every_layer_and_both_tables_are_probed() -> None:
    planted = subject(operand_rows(), random_exposures(), layers=2, tied=False)
    found = linear_probes(planted, 19, 19)
    assert {m.place for m in found.measures} == {
        "input rows", "output rows", "untrained input rows", "untrained output rows", "exposures alone",
        "layer 0", "layer 1", "layer 2",
    }  # fmt: skip
    assert one(found, "first operand", "held-out accuracy", "layer 2").value > 0.8
    (picture,) = found.figures
    assert (len(picture.data["values"]), len(picture.data["values"][0])) == (3, 7)
    shape = geometry(planted, 19)
    assert [f.name for f in shape.figures] == ["pca-input-rows", "pca-output-rows"]
    assert shape.figures[0].data["points"][0]["groups"].keys() >= {"first operand", "product", "frequency"}
    assert len(fourier(planted, 19).figures) == 6


def test_plain_text_is_probed_without_tokens() -> None:
    bare = replace(subject(layers=1), ids=(), facts=(), meanings=())
    found = text_probes(bare, Multiplication(1, 6), 19)
    assert {m.place for m in found.measures} == {"text layer 0", "text layer 1"}
    # The last token of the text is a part of the answer: the embeddings say nothing of operands beyond that.
    assert one(found, "first operand", "held-out accuracy", "text layer 0").value < 0.6
    for nothing in (geometry(bare, 19), linear_probes(bare, 19, 19), fourier(bare, 19)):
        assert nothing.measures == []
        assert len(nothing.notes) == 1


@pytest.mark.parametrize("rows", [np.zeros((45, 64)), np.ones((45, 64)), noise(0) * 1e-20, noise(0) * 1e10])
def test_no_number_is_ever_nan(rows: np.ndarray) -> None:
    planted = subject(rows, exposures=np.full(45, 7), layers=1)
    for found in (geometry(planted, 9), linear_probes(planted, 9, 9), fourier(planted, 9)):
        for measure in found.measures:
            assert np.isfinite([measure.value, measure.control or 0.0, measure.p or 0.0]).all(), measure


def test_the_same_seed_finds_the_same(base: Subject) -> None:
    rows = numpy_stream(0, "same").normal(size=(45, 64))
    assert read(rows, base, 4).measures == read(rows, base, 4).measures
