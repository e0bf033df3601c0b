"""Two sets of scores are paired by seed and item, and judged as a study is."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vocablab.analysis.comparison import compare
from vocablab.analysis.estimates import estimate
from vocablab.analysis.score_sets import read_scores
from vocablab.base.errors import UserError

ITEMS = 40


def rows(run: str, gain: float, seed: int, items: range = range(ITEMS)) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    found = []
    for i in range(ITEMS):
        draw, noise = rng.random(), rng.normal()
        if i in items:
            found.append(
                {
                    "run_id": run, "task": "sums", "item_id": f"i{i}", "cluster_id": f"c{i // 2}", "split": "test",
                    "metric": "acc", "score": float(draw < 0.4 + gain), "gold_bits": 30 - 20 * gain + noise,
                    "raw_bytes": 10 + i % 3, "acc": float(draw < 0.4 + gain),
                }
            )  # fmt: skip
    return found


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found), path)
    return path


def arm(root: Path, name: str, gain: float, seeds: range, items: range = range(ITEMS)) -> Path:
    for seed in seeds:
        label = f"{root.name}/{name}/seed{seed}"
        write(root / name / f"seed{seed}/evaluate/scores.parquet", rows(label, gain, seed, items))
    return root / name


def test_it_is_the_estimate_of_a_study(tmp_path: Path) -> None:
    a, b = arm(tmp_path, "a", 0.0, range(6)), arm(tmp_path, "b", 0.3, range(6))
    found, notes = compare(read_scores(a), read_scores(b))
    assert [(one.target, one.metric) for one in found] == [("sums.test", "acc"), ("sums.test", "gold_bits_per_byte")]
    assert notes == []
    tables = [[rows("", gain, seed) for seed in range(6)] for gain in (0.0, 0.3)]
    order = sorted(range(ITEMS), key=lambda i: f"i{i}")
    bits = [np.array([[t[i]["gold_bits"] for i in order] for t in side]) for side in tables]
    size = np.array([[t[i]["raw_bytes"] for i in order] for t in tables[0]], dtype=float)
    expected = estimate(bits[1], bits[0], [f"c{i // 2}" for i in order], size, size)
    assert found[1].estimate.effect == pytest.approx(expected.effect)
    assert found[1].estimate.standard_error == pytest.approx(expected.standard_error)
    assert found[1].estimate.n_clusters == ITEMS // 2
    assert found[1].word == "DIFFERENT"
    assert "lower than A" in found[1].sentence
    json = found[1].to_json()
    assert json["low"] < json["difference"] < json["high"] < 0
    assert json["difference"] == pytest.approx(json["b_mean"] - json["a_mean"])


def test_swapping_the_sides_mirrors_everything(tmp_path: Path) -> None:
    a, b = read_scores(arm(tmp_path, "a", 0.0, range(5))), read_scores(arm(tmp_path, "b", 0.2, range(5)))
    (one, _), (other, _) = compare(a, b)[0], compare(b, a)[0]
    assert one.estimate.effect == -other.estimate.effect
    assert one.estimate.p_value == other.estimate.p_value


def test_a_claim_gets_the_word_of_a_study(tmp_path: Path) -> None:
    a, b = read_scores(arm(tmp_path, "a", 0.0, range(8))), read_scores(arm(tmp_path, "b", 0.3, range(8)))
    (benefit,), _ = compare(a, b, metric="gold_bits_per_byte", delta=0.1)
    assert benefit.word == "SUPPORTED"
    (harm,), _ = compare(b, a, metric="gold_bits_per_byte", margin=0.1)
    assert harm.word == "HARM"
    (same,), _ = compare(a, a, metric="gold_bits_per_byte", margin=0.1)
    assert same.word == "NO HARM"


def test_one_model_each_is_a_pilot(tmp_path: Path) -> None:
    a = write(tmp_path / "x.parquet", rows("one", 0.0, 1))
    b = write(tmp_path / "y.parquet", rows("two", 0.3, 2))
    for found in (compare(read_scores(a), read_scores(b))[0], compare(read_scores(a), read_scores(b), delta=0.1)[0]):
        for one in found:
            assert one.word == "PILOT"
            assert "how much another seed would change is unknown" in one.sentence
            assert math.isfinite(one.estimate.standard_error)


def test_items_that_do_not_pair_are_refused_or_left_out(tmp_path: Path) -> None:
    a = read_scores(arm(tmp_path, "a", 0.0, range(5)))
    b = read_scores(arm(tmp_path, "b", 0.0, range(5), range(3, ITEMS)))
    with pytest.raises(UserError, match=r"3 items are in A only and 0 in B only, the first is 'i0' .* --common .* 37"):
        compare(a, b)
    found, _ = compare(a, b, common=True)
    assert found[0].estimate.n_items == 37
    assert found[0].left_out == 3


def test_seeds_that_do_not_pair_are_refused_or_left_out(tmp_path: Path) -> None:
    a, b = read_scores(arm(tmp_path, "a", 0.0, range(5))), read_scores(arm(tmp_path, "b", 0.0, range(1, 6)))
    with pytest.raises(UserError, match="the seeds do not pair: A has seed0"):
        compare(a, b)
    assert compare(a, b, common=True)[0][0].seeds == ("seed1", "seed2", "seed3", "seed4")


def test_a_table_of_several_runs_is_several_seeds(tmp_path: Path) -> None:
    path = write(tmp_path / "all.parquet", rows("s/a/seed0", 0, 0) + rows("s/a/seed1", 0, 1))
    assert list(read_scores(path).seeds) == ["seed0", "seed1"]


def test_what_is_in_one_side_only_is_said(tmp_path: Path) -> None:
    extra = [row | {"task": "other"} for row in rows("one", 0, 1)]
    a = read_scores(write(tmp_path / "a.parquet", rows("one", 0, 1) + extra))
    b = read_scores(write(tmp_path / "b.parquet", rows("two", 0, 2)))
    found, notes = compare(a, b)
    assert len(found) == 2
    assert "other.test acc is in A only." in notes
    assert compare(a, b, task="sums")[1] == []
    with pytest.raises(UserError, match="no measure other in common"):
        compare(a, b, task="other")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: d / "absent", "no such file"),
        (lambda d: d, "holds no scores"),
        (lambda d: write(d / "x.parquet", [{"task": "t"}]), "lacks the column 'split'"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(make: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        read_scores(make(tmp_path))


def test_a_damaged_file_and_two_arms_are_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.parquet", rows("r", 0, 0))
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated or damaged"):
        read_scores(whole)
    study = tmp_path / "study"
    arm(study, "a", 0, range(2))
    arm(study, "b", 0, range(2))
    with pytest.raises(UserError, match=r"two files with sums\.test of seed0"):
        read_scores(study)


def test_what_a_killed_run_left_is_not_read(tmp_path: Path) -> None:
    arm(tmp_path, "a", 0, range(2))
    write(tmp_path / "a/seed2/evaluate.partial/scores.parquet", rows("s/a/seed2", 0, 2))
    assert list(read_scores(tmp_path / "a").seeds) == ["seed0", "seed1"]


def test_a_score_that_is_no_number_is_said_not_averaged(tmp_path: Path) -> None:
    broken = rows("two", 0, 2)
    broken[0]["score"] = broken[0]["acc"] = math.nan
    a = read_scores(write(tmp_path / "a.parquet", rows("one", 0, 1)))
    b = read_scores(write(tmp_path / "b.parquet", broken))
    found, notes = compare(a, b)
    assert [one.metric for one in found] == ["gold_bits_per_byte"]
    assert "sums.test acc is left aside" in notes[0]
    with pytest.raises(UserError, match="not a finite number"):
        compare(a, b, metric="acc")
