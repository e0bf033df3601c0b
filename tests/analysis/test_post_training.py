"""Fine-tuning and training by reward in the report: numbers, what was stopped, what arms share, nothing if none."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from analysis.after_pretraining import REWARD_STEPS, STOPPED

from vocablab.analysis.csv_tables import write_csv_tables
from vocablab.analysis.markdown import escaped, markdown
from vocablab.analysis.page import render
from vocablab.analysis.report_data import build_report

MakeStudy = Callable[..., Path]
REWARDED = ("mul_facts", "sham")
SECTION = 'id="post-training"'
HOSTILE = "</script><img src=x onerror=alert(1)> | x"


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _share(study: Path, arm: str, stage: str, seeds: int) -> None:
    """What the lab writes if an artifact of `arm` is the control's."""
    for seed in range(seeds):
        _edit(
            study / arm / f"seed{seed}" / stage / "record.json",
            lambda record, seed=seed: record.update(
                wall_seconds=0.0, counts=record["counts"] | {"same_as": f"control/seed{seed}/{stage}"}
            ),
        )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from analysis.conftest import write_study

    return write_study(tmp_path_factory.mktemp("post") / "study", n_seeds=3, rewarded=REWARDED)


@pytest.fixture(scope="module")
def report(study: Path) -> dict[str, Any]:
    return build_report(study)


def test_fine_tuning_is_told_lesson_by_lesson(report: dict[str, Any]) -> None:
    found = report["post_training"]["fine_tuning"]
    assert len(found["runs"]) == 3 * 3 * 2
    arms = {(row["arm"], row["lesson"]): row for row in found["arms"]}
    drills, problems = (arms[("mul_facts", name)] for name in ("drills", "problems"))
    assert (drills["n_seeds"], drills["steps"], drills["drill_share"]) == (3, [10, 10, 10], 1)
    # Seeds are 1/8 apart: their mean is the middle one's.
    assert drills["end"] == pytest.approx(1 + 1 / 10 + 1 / 8)
    assert (drills["best"], drills["best_step"], drills["use"]) == (None, [None] * 3, None)
    assert problems["end"] == pytest.approx(1.5 + 1 / 20 + 1 / 8)
    assert problems["best"] == pytest.approx(1 + 1 / 15 + 1 / 8)
    assert (problems["best_step"], problems["last_step"], problems["use"]) == ([25] * 3, [30] * 3, "last")
    lines = {(one["arm"], one["lesson"]): one for one in found["curves"]["held_out_bits_per_byte"]}
    assert lines[("control", "problems")]["step"] == [15, 20, 25, 30]
    assert lines[("control", "problems")]["mean"][0] == pytest.approx(1 + 1 / 5 + 1 / 8)


def test_training_by_reward_is_told_by_arm(report: dict[str, Any]) -> None:
    found = report["post_training"]["reward"]
    arms = {row["arm"]: row for row in found["arms"]}
    assert list(arms) == ["mul_facts", "sham"]
    mine = arms["mul_facts"]
    assert mine["start"]["held_out_pass_rate"] == pytest.approx(0.21)
    assert mine["end"]["held_out_pass_rate"] == pytest.approx(0.51)
    assert mine["end"]["held_out_greedy"] == pytest.approx(0.55)
    assert mine["end"]["held_out_used_tokens"] == pytest.approx(1.0)
    assert mine["end"]["held_out_idle_tokens"] == pytest.approx(0.5)
    assert mine["last"]["kl"] == pytest.approx(0.04)
    assert mine["last"]["length"] == 25
    assert (mine["n_seeds"], mine["stopped"]) == (3, [])
    assert arms["sham"]["last"]["kl"] is None
    assert arms["sham"]["steps"] == [REWARD_STEPS, STOPPED[2], REWARD_STEPS]


def test_pairs_are_compared_at_both_ends(report: dict[str, Any]) -> None:
    arms = {row["arm"]: row["paired"] for row in report["post_training"]["reward"]["arms"]}
    assert arms["sham"] is None
    # Quarters of 20 logged steps: 5 to 25, 80 to 100.
    assert arms["mul_facts"]["first"]["only_with_right"] == pytest.approx(0.115)
    assert arms["mul_facts"]["last"]["only_with_right"] == pytest.approx(0.19)
    assert arms["mul_facts"]["last"]["only_without_right"] == pytest.approx(0.1)
    assert arms["mul_facts"]["last"]["difference"] == pytest.approx(0.09)


def test_a_mean_ends_where_a_seed_was_stopped(report: dict[str, Any]) -> None:
    curves = report["post_training"]["reward"]["curves"]
    lines = {one["arm"]: one for one in curves["held_out_pass_rate"]}
    assert lines["mul_facts"]["step"] == [0, 20, 40, 60, 80, 100]
    assert lines["mul_facts"]["mean"] == pytest.approx([0.21, 0.27, 0.33, 0.39, 0.45, 0.51])
    assert lines["sham"]["step"] == [0, 20, 40, 60]
    assert [one["step"][-1] for one in lines["sham"]["seeds"]] == [100, 60, 100]
    assert [one["arm"] for one in curves["difference"]] == ["mul_facts"]


def test_what_the_watch_stopped_is_a_deviation(report: dict[str, Any]) -> None:
    said = {entry["kind"]: entry["found"] for entry in report["deviations"]}
    sentence = "idle_tokens 2.31 is above 2 for 3 readings in a row"
    assert said["Training by reward stopped early"] == [f"sham, seed 1: {sentence}."]
    assert f"seed 1, step 60: {sentence}" in render(report)
    assert "1 of 3</b>" in render(report)
    assert escaped(sentence) in markdown(report)


def test_the_numbers_are_also_tables(study: Path, report: dict[str, Any]) -> None:
    tables = {path.stem: list(csv.DictReader(path.open())) for path in write_csv_tables(study, report)}
    assert len(tables["fine_tuning"]) == 18
    rows = {(row["arm"], row["seed"]): row for row in tables["reward"]}
    assert len(rows) == 6
    assert rows[("sham", "1")]["stopped_reason"] == "idle_tokens"
    assert float(rows[("mul_facts", "2")]["end_held_out_pass_rate"]) == pytest.approx(0.52)
    assert float(rows[("mul_facts", "2")]["paired_last_difference"]) == pytest.approx(0.09)
    assert rows[("sham", "0")]["paired_last_difference"] == rows[("sham", "0")]["last_kl"] == ""
    assert "| mul\\_facts | 3 | 21.0 → 51.0 % | 25.0 → 55.0 % | 1.00 | 0.50 |" in markdown(report)


def test_without_post_training_nothing_is_said(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    report = build_report(study)
    assert report["post_training"]["reward"] == {"runs": [], "arms": [], "curves": {}}
    assert "Training by reward</h3>" not in render(report)
    assert SECTION in render(report)
    for path in study.glob("*/seed*/sft"):
        shutil.rmtree(path)
    report = build_report(study)
    assert SECTION not in render(report)
    assert "Post-training" not in markdown(report)
    assert not {"fine_tuning", "reward"} & {path.stem for path in write_csv_tables(study, report)}
    assert {"arm": "sham", "seed": 1, "stages": ["sft"]} in report["missing"]


def test_an_arm_without_reward_does_not_lack_it(report: dict[str, Any], make_study: MakeStudy) -> None:
    assert report["missing"] == []
    study = make_study(n_seeds=1, rewarded=REWARDED)
    shutil.rmtree(study / "sham" / "seed0" / "rl")
    assert build_report(study)["missing"] == [{"arm": "sham", "seed": 0, "stages": ["rl"]}]


def test_words_of_records_stay_words(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2, rewarded=REWARDED)
    _edit(
        study / "sham" / "seed1" / "rl" / "record.json",
        lambda record: record["counts"]["stopped"].update(sentence=HOSTILE),
    )
    _edit(
        study / "sham" / "seed0" / "sft" / "record.json",
        lambda record: record["counts"]["lessons"][0].update(name=HOSTILE),
    )
    report = build_report(study)
    assert "<img src=x" not in render(report)
    assert render(report).count("&lt;img src=x") >= 3
    assert HOSTILE not in markdown(report)


def test_what_arms_share_is_counted_once(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    for stage in ("prepare", "pretrain"):
        _share(study, "sham", stage, 2)
    found = build_report(study)["ledger"]
    arms = {row["arm"]: row for row in found["arms"]}
    # The model of sham needed all of its tokens; they were read once.
    assert arms["sham"]["tokens"] == arms["control"]["tokens"] == 2 * 512_000
    assert arms["sham"]["per_run_against_control"]["total_flops"] == 1
    assert found["total"]["tokens"] == arms["control"]["tokens"] + arms["mul_facts"]["tokens"]
    assert found["total"]["total_flops"] == 2 * 2 * 8e12
    assert found["total"]["wall_seconds"] == sum(row["wall_seconds"] for row in arms.values())
    assert arms["sham"]["shared"] == {"prepare": ["control"], "pretrain": ["control"]}
    rows = {(row["arm"], row["stage"]): row["shared"] for row in found["rows"]}
    assert rows[("sham", "pretrain")] == {"with": ["control"], "runs": 2}
    assert rows[("control", "pretrain")] is None


def test_a_shared_artifact_whose_maker_is_gone_still_counts(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    for arm in ("mul_facts", "sham"):
        _share(study, arm, "pretrain", 1)
    shutil.rmtree(study / "control")
    report = build_report(study)
    assert report["ledger"]["total"]["total_flops"] == 8e12
    assert report["provenance"]["stages"] == 5 + 5 - 1


def test_sharing_is_said_everywhere(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    assert "shared with" not in render(build_report(study))
    _share(study, "sham", "pretrain", 1)
    report = build_report(study)
    page = render(report)
    assert "pretrain: shared with control" in page
    assert "<small>shared with control in 1 of 2 runs</small>" in page
    assert "control/seed0/pretrain" in page
    assert "sham (shares with control: pretrain)" in markdown(report)
    ledger = next(path for path in write_csv_tables(study, report) if path.stem == "ledger")
    shared = [(row["arm"], row["stage"]) for row in csv.DictReader(ledger.open()) if row["shared_with"] == "control"]
    assert shared == [("sham", "pretrain")]


def test_tokens_that_come_with_fine_tuning_are_counted_there(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=3)
    for path in study.glob("mul_facts/seed*/prepare/record.json"):
        _edit(path, lambda record: record["counts"].update(exposures={}))
    report = build_report(study)
    found = report["exposure"]
    tokens = {row["token"]: row for row in found["tokens"]}
    assert tokens["<MUL_2_2_4>"]["exposures"] == 4  # 3 to 5 over three seeds
    doses = {row["arm"]: row for row in found["doses"]}
    assert found["stage"] == doses["mul_facts"]["stage"] == "sft"
    assert (doses["mul_facts"]["dose"], doses["mul_facts"]["epochs"]) == (None, None)
    assert (doses["sham"]["stage"], doses["sham"]["epochs"]) == ("prepare", 1.5)
    assert (found["lacking"], set(doses)) == ([], {"mul_facts", "sham"})
    assert '<td class="">fine-tuning</td>' in render(report)
