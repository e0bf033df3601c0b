"""Intervals and tests of shares and of paired differences: published numbers, error rates, planted answers."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from probe.planted import subject
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from vocablab.analysis.probe_questions import answers
from vocablab.base.proportions import exact_mcnemar, newcombe_paired, wilson
from vocablab.probe import retrieval
from vocablab.probe.contexts import spell
from vocablab.probe.measures import Findings, Measure
from vocablab.probe.run import MEASURES, write_findings
from vocablab.probe.shares import paired_difference, share
from vocablab.probe.subject import Subject

HELPS = "Are answers right more often with the token than with tokens banned?"


def of_pairs(first: Sequence[bool], second: Sequence[bool]) -> Measure:
    facts = [str(i) for i in range(len(first))]
    return paired_difference("retrieval", "greedy", "a - b", "difference", first, second, facts)


def test_interval_and_p_of_pairs_are_the_published_ones() -> None:
    """Complete response before and after therapy: Fagerland, Lydersen and Laake 2017 (Statistical Analysis of
    Contingency Tables), chapter 8, to the digits of their R package contingencytables."""
    assert newcombe_paired(59, 6, 16, 80) == pytest.approx((-0.1186, -0.0046), abs=5e-5)
    assert exact_mcnemar(6, 16) == pytest.approx(0.052479, abs=5e-7)


@given(st.integers(1, 2000), st.floats(0, 1))
def test_a_share_lies_in_its_own_interval(n: int, share_of: float) -> None:
    low, high = wilson(share_of, n)
    assert 0 <= low <= share_of <= high <= 1
    assert wilson(0.0, n)[0] == 0.0
    assert wilson(1.0, n)[1] == 1.0


@given(*[st.integers(0, 40)] * 4)
def test_bounds_hold_the_estimate_stay_in_range_and_turn_around(both: int, first: int, second: int, none: int) -> None:
    n = both + first + second + none
    if not n:
        return
    low, high = newcombe_paired(both, first, second, none)
    assert -1 <= low <= (first - second) / n <= high <= 1
    assert newcombe_paired(both, second, first, none) == pytest.approx((-high, -low), abs=1e-12)
    # Which of right and wrong is counted makes no difference but the sign: as above with all four exchanged.
    assert newcombe_paired(none, second, first, both) == pytest.approx((-high, -low), abs=1e-12)
    assert 0 < exact_mcnemar(first, second) == exact_mcnemar(second, first) <= 1


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_p_value_is_that_of_statsmodels(gained: int, lost: int) -> None:
    reference = reference_mcnemar([[3, gained], [lost, 4]], exact=True).pvalue
    assert exact_mcnemar(gained, lost) == pytest.approx(reference)


@pytest.mark.parametrize("chances", [(0.4, 0.2, 0.1, 0.3), (0.05, 0.6, 0.05, 0.3), (0.45, 0.05, 0.05, 0.45)])
def test_intervals_and_tests_are_wrong_as_seldom_as_they_say(chances: tuple[float, ...]) -> None:
    """Every possible table of 20 pairs, weighted by its probability."""
    truth, n = chances[1] - chances[2], 20
    covered = rejected = 0.0
    for both, first, second in product(range(n + 1), repeat=3):
        if both + first + second > n:
            continue
        table = (both, first, second, n - both - first - second)
        weight = float(stats.multinomial.pmf(table, n, chances))
        low, high = newcombe_paired(*table)
        covered += weight * (low <= truth <= high)
        rejected += weight * (exact_mcnemar(first, second) < 0.05)
    assert covered > 0.94
    assert truth != 0 or rejected < 0.05


def test_identical_answers_are_no_difference() -> None:
    for right in ([True, False] * 12, [True] * 24, [False] * 24):
        found = of_pairs(right, right)
        assert (found.value, found.p, found.n) == (0.0, 1.0, 24)
        assert found.low is not None
        assert found.low == pytest.approx(-(found.high or 0))
        assert found.low < 0


def test_pairs_see_what_two_intervals_cannot() -> None:
    """Eight of 24 questions right only in one way: the two shares' own intervals overlap."""
    first, second = [True] * 20 + [False] * 4, [True] * 12 + [False] * 12
    found = of_pairs(first, second)
    assert wilson(20 / 24, 24)[0] < wilson(12 / 24, 24)[1]
    assert found.p == pytest.approx(2 * 0.5**8)
    assert found.low is not None
    assert found.low > 0
    assert found.note.startswith("Of 24 questions, each about another fact, 8 are right only in the first way and 0 ")


def test_two_questions_about_one_fact_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="different facts"):
        paired_difference("", "", "", "", [True, False], [True, True], ["a", "a"])
    # A share counts facts instead: its interval is that of two trials.
    found = share("", "", "", "", [True] * 4, 0.0, 2, "")
    assert (found.low, found.high) == wilson(1.0, 2)
    assert "interval 0" not in found.note


def test_bounds_are_columns_of_the_table(tmp_path: Path) -> None:
    bare = Measure("lens", "layer 1", "answer", "mean reciprocal rank", 0.5)
    found = of_pairs([True, True, False], [False, True, False])
    written = write_findings("m", Findings([bare, found]), tmp_path)
    rows = pq.read_table(tmp_path / MEASURES).to_pylist()
    assert [(row["low"], row["high"]) for row in rows] == [(None, None), (found.low, found.high)]
    assert written["measures"][1]["high"] == found.high


def _answering(monkeypatch: pytest.MonkeyPatch, *, without_tokens: bool) -> Findings:
    """Retrieval of a model that answers every full question right; if wanted not where its tokens are banned."""

    def greedy(
        arm: Subject, prompts: Sequence[Sequence[int]], most: int, banned: Sequence[int] = (), first: object = None
    ) -> list[list[int]]:
        said = []
        for ids in prompts:
            # What begins a fact by a token's name may have only one number: any answer will do there.
            a, b, *_ = [int(number) for number in re.findall(r"\d+", arm.codec.decode(ids))] + [0, 0]
            answer = a * b if without_tokens or not banned else 0
            said.append(spell(arm, f" {a} * {b} = {answer}. The answer is {answer}."))
        return said

    monkeypatch.setattr(retrieval, "_greedy", greedy)
    return retrieval.retrieval(subject())


def _one(found: Findings, target: str) -> Measure:
    (measure,) = [m for m in found.measures if m.target == f"questions, {target}"]
    return measure


def _word(found: Findings) -> str:
    (answer,) = [one for one in answers([asdict(m) for m in found.measures]) if one["question"] == HELPS]
    return str(answer["word"])


def test_a_model_that_needs_its_tokens_is_found_different(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _answering(monkeypatch, without_tokens=False)
    assert (_one(found, "free").value, _one(found, "banned").value) == (1.0, 0.0)
    for ways in ("free - banned", "forced - banned"):
        measure = _one(found, ways)
        assert (measure.value, measure.n) == (1.0, retrieval.ITEMS)
        assert measure.p == pytest.approx(2 * 0.5**retrieval.ITEMS)
        assert measure.low is not None
        assert measure.low > 0.7
    assert (_one(found, "forced - free").value, _one(found, "forced - free").p) == (0.0, 1.0)
    assert _word(found) == "yes"


def test_a_model_that_answers_the_same_either_way_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _answering(monkeypatch, without_tokens=True)
    for ways in ("free - banned", "forced - banned", "forced - free"):
        measure = _one(found, ways)
        assert (measure.value, measure.p) == (0.0, 1.0)
        assert measure.low is not None
        assert measure.low < 0 < (measure.high or 0)
    assert _word(found) == "no"
