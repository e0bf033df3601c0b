"""The exam of the statistics: it passes, it is repeatable, and a statistic that forgets seeds fails it."""

import json
import math

import numpy as np
import pytest
import typer

from vocablab.analysis.calibration import HIGHEST_FALSE_POSITIVES, NULL, Calibration, calibrate, cells
from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.analysis.error_rates import measure
from vocablab.analysis.estimates import estimate
from vocablab.analysis.simulation import Continuous, Rare
from vocablab.analysis.verdict import benefit_word, decide, no_harm_word
from vocablab.lab import calibrate_command


@pytest.fixture(scope="module")
def quick() -> Calibration:
    return calibrate(1500, quick=True)


def test_the_quick_exam_is_passed(quick: Calibration) -> None:
    assert [check for check in quick.checks if not check.passed] == []
    assert {cell.family for cell, _ in quick.cells} >= {"Gaussian", "t3 seeds", "binary"}
    assert all(rates.mirrored for _, rates in quick.cells)


def test_an_interval_that_forgets_seeds_is_caught(quick: Calibration) -> None:
    rates = measure(Continuous(5, 100, 0.25), 2000)
    assert rates.missed < HIGHEST_FALSE_POSITIVES
    assert rates.items_only_missed > 0.3
    assert next(check for check in quick.checks if "items alone" in check.name).passed


def test_the_full_exam_has_every_kind_of_study() -> None:
    found = cells()
    null = [cell.design for cell in found if cell.kind == NULL]
    assert {(design.seeds, design.items) for design in null} >= {(5, 100), (5, 500), (8, 100), (8, 500)}
    assert any(design.clusters for design in null)
    assert any(not design.paired for design in null)
    assert len({repr(cell.design) + cell.kind for cell in found}) == len(found)


def test_the_same_studies_are_drawn_again() -> None:
    design = Rare(5, 60, 0.05, 0.5)
    assert measure(design, 300) == measure(design, 300)
    assert measure(design, 300) != measure(design, 300, seed=1)


@pytest.mark.parametrize(
    "design",
    [
        Continuous(4, 50, 0.3, 0.5, 0.4, covered=0.3),
        Continuous(4, 60, 0.2, 0.5, 0.4, ratio=True, heavy=True),
        Continuous(4, 60, 0.2, 0.5, 0.4, cluster_size=3, paired=False),
        Rare(4, 80, 0.05, 0.4, 0.5, 0.8),
    ],
)
def test_the_stated_truth_is_the_mean_of_the_estimates(design: Continuous | Rare) -> None:
    scores = design.draw(np.random.default_rng(0), 4000)
    weights = np.ones(1) if scores.weights is None else scores.weights
    means = [(side.sum(axis=(1, 2)) / np.broadcast_to(weights, side.shape).sum(axis=(1, 2))) for side in
             (scores.treatment, scores.control)]  # fmt: skip
    effects = means[0] - means[1]
    assert effects.mean() == pytest.approx(design.truth, abs=4 * effects.std() / math.sqrt(4000))
    if isinstance(design, Rare):
        assert scores.control.mean() == pytest.approx(design.rate, abs=0.003)


def test_the_rule_that_is_examined_is_the_rule_that_decides() -> None:
    scores = Continuous(5, 60, 0.3, 0.5, 0.3).draw(np.random.default_rng(1), 40)
    for treatment, control in zip(scores.treatment, scores.control, strict=True):
        found = estimate(treatment, control)
        low, high = found.interval()
        assert decide(Benefit("t", "acc", delta=0.3), found, 5, True).word == benefit_word(low, high, 0.3)
        least, most = found.interval(0.9)
        assert decide(NoHarm("t", "acc", margin=0.1), found, 5, True).word == no_harm_word(-least, -most, 0.1)


def test_the_command_prints_json_and_fails_where_a_threshold_is_missed(
    quick: Calibration, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocablab.analysis.calibration.calibrate", lambda *_: quick)
    calibrate_command.calibrate_command(quick=True, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["passed"]
    assert len(found["cells"]) == len(quick.cells)
    missed = Calibration(quick.cells, (type(quick.checks[0])("x", 0.9, 0.0, 0.1, "somewhere", False),))
    monkeypatch.setattr("vocablab.analysis.calibration.calibrate", lambda *_: missed)
    with pytest.raises(typer.Exit) as stopped:
        calibrate_command.calibrate_command(quick=True, as_json=False)
    assert stopped.value.exit_code == 1
    assert "MISSED" in capsys.readouterr().out
