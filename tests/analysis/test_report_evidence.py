"""What lies behind a verdict: contrasts, exposure, treated items, ways to answer, deviations, the ledger."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from statsmodels.stats.multitest import multipletests

from vocablab.analysis.effects import components
from vocablab.analysis.exposure import fact_keys
from vocablab.analysis.report_data import build_report

MakeStudy = Callable[..., Path]


def _edit_scores(path: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist([change(row) for row in pq.read_table(path).to_pylist()]), path)


def _edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def _said(report: dict[str, Any]) -> dict[str, list[str]]:
    return {entry["kind"]: entry["found"] for entry in report["deviations"]}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from analysis.conftest import write_study

    return build_report(write_study(tmp_path_factory.mktemp("whole") / "study", n_seeds=5))


def test_components_divide_the_variance_of_the_mean() -> None:
    parts = components({"seed": 0.5, "item": 2.0, "residual": 4.0, "n_seeds": 5, "n_items": 40})
    added = {"seed": 0.1, "item": 0.05, "residual": 0.02}
    assert {part["source"]: part["of_the_mean"] for part in parts} == pytest.approx(added)
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert parts[0]["share"] == pytest.approx(0.1 / 0.17)
    assert parts[0]["standard_deviation"] == pytest.approx(math.sqrt(0.5))
    assert [p["known"] for p in components({"seed": 0, "item": 1, "residual": 0, "n_seeds": 1, "n_items": 9})] == [
        False, True, False,
    ]  # fmt: skip
    nothing = components({"seed": 0, "item": 0, "residual": 0, "n_seeds": 3, "n_items": 9})
    assert [part["share"] for part in nothing] == [None, None, None]


def test_the_plan_stands_beside_what_was_achieved(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    assert [v["planned_mde"] for v in build_report(study)["verdicts"]] == [0.031, 0.047]
    _edit_json(study / "study.json", lambda value: value["plan"]["claims"][0].update(target="another"))
    assert [v["planned_mde"] for v in build_report(study)["verdicts"]] == [None, 0.047]
    for broken in (None, {"claims": []}, {"claims": [{"minimum_detectable_effect": None}, "x"]}):
        _edit_json(study / "study.json", lambda value, plan=broken: value.update(plan=plan))
        assert [v["planned_mde"] for v in build_report(study)["verdicts"]] == [None, None]


def test_the_treatment_is_set_against_every_placebo(report: dict[str, Any]) -> None:
    against = {(row["arm"], row["against"]) for row in report["placebos"]}
    assert against == {("mul_facts", "sham")}
    find = {(r["arm"], r["target"], r["metric"]): r["effect"] for r in report["effects"]}
    for row in report["placebos"]:
        if ":forced" in row["target"]:
            continue  # control has no tokens to force
        through = [find[(arm, row["target"], row["metric"])] for arm in ("mul_facts", "sham")]
        assert row["effect"] == pytest.approx(through[0] - through[1], abs=1e-12)
    assert {row["direction"] for row in report["placebos"] if row["metric"] == "gold_bits_per_byte"} == {-1}
    assert {row["direction"] for row in report["placebos"] if row["metric"] == "reliance"} == {0}


def test_a_claim_by_task_is_not_said_again_as_its_only_split(report: dict[str, Any]) -> None:
    measured = {(row["target"], row["metric"]) for row in report["effects"]}
    assert ("hellaswag", "acc_norm") in measured
    assert ("hellaswag.validation", "acc_norm") not in measured
    assert ("hellaswag.validation", "acc") in measured


@pytest.mark.parametrize(
    ("token", "keys"),
    [
        ("<MUL_6_9_54>", ["MUL:6,9=54"]),
        ("<MUL_9_6_54>", ["MUL:9,6=54", "MUL:6,9=54"]),
        ("<SUB_5_9_-4>", ["SUB:5,9=-4"]),
        ("<SHAM_07>", []),
        ("<CODE_3_for_i>", []),
        ("MUL_6_9_54", []),
    ],
)
def test_keys_of_a_tokens_fact(token: str, keys: list[str]) -> None:
    assert fact_keys(token) == keys


def test_exposures_are_set_against_gains(report: dict[str, Any]) -> None:
    found = report["exposure"]
    tokens = {row["token"]: row for row in found["tokens"]}
    assert tokens["<MUL_2_2_4>"]["exposures"] == 42  # 40 to 44 over five seeds
    gains = {(g["split"], g["metric"]): g for g in tokens["<MUL_2_2_4>"]["gains"]}
    assert set(gains) == {(s, m) for s in ("heldout", "seen") for m in ("acc", "gold_bits_per_byte")}
    assert gains[("heldout", "gold_bits_per_byte")]["gain"] > 0  # fewer bits are a gain
    doses = {row["arm"]: row for row in found["doses"]}
    assert set(doses) == {"mul_facts", "sham"}
    assert (doses["mul_facts"]["least"], doses["mul_facts"]["epochs"]) == (42, 1.5)
    assert all(-1 <= row["spearman"] <= 1 for row in found["links"])
    assert found["lacking"] == []


def test_a_gain_is_the_difference_on_the_items_of_the_fact(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    for arm, value in (("control", 0.0), ("mul_facts", 1.0)):
        for path in study.glob(f"{arm}/seed*/evaluate/scores.parquet"):
            _edit_scores(
                path, lambda r, v=value: r | ({"acc": v, "score": v} if r["cluster_id"] == "MUL:2,2=4" else {})
            )
    tokens = {row["token"]: row["gains"] for row in build_report(study)["exposure"]["tokens"]}
    assert {g["gain"] for g in tokens["<MUL_2_2_4>"] if g["metric"] == "acc"} == {1.0}


def test_records_without_exposures_are_named(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    for path in study.glob("mul_facts/seed*/prepare/record.json"):
        _edit_json(path, lambda value: value["counts"].pop("exposures"))
    found = build_report(study)["exposure"]
    assert found["lacking"] == ["mul_facts"]
    assert found["tokens"] == []


def test_treated_and_untreated_items(report: dict[str, Any]) -> None:
    rows = {row["metric"]: row for row in report["treated"]["rows"]}
    assert set(rows) == {"acc", "gold_bits_per_byte"}
    for row in rows.values():
        assert (row["treated"]["n_items"], row["untreated"]["n_items"]) == (64, 16)
    whole = [r for r in report["effects"] if r["arm"] == "mul_facts" and r["metric"] == "acc"]
    pooled = (64 * rows["acc"]["treated"]["effect"] + 16 * rows["acc"]["untreated"]["effect"]) / 80
    splits = [r["effect"] for r in whole if r["target"] in ("arithmetic.heldout", "arithmetic.seen")]
    assert pooled == pytest.approx(sum(splits) / 2)


def test_an_effect_in_treated_items_alone_is_found_there_alone(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=3, gain=0.0)
    fits = {}
    for row in pq.read_table(study / "mul_facts/seed0/evaluate/scores.parquet").to_pylist():
        fits[row["item_id"]] = row["fact_fits"]
    for arm, extra in (("control", 0.0), ("mul_facts", 1.0)):
        for path in study.glob(f"{arm}/seed*/evaluate/scores.parquet"):
            _edit_scores(path, lambda r, e=extra: r | {"acc": e if fits[r["item_id"]] else 0.0})
            _edit_scores(path, lambda r: r | ({"score": r["acc"]} if r["metric"] == "acc" else {}))
    (row,) = [r for r in build_report(study)["treated"]["rows"] if r["metric"] == "acc"]
    assert (row["treated"]["effect"], row["untreated"]["effect"]) == (1.0, 0.0)


def test_every_way_to_answer_is_shown_by_arm(report: dict[str, Any]) -> None:
    rows = {(r["split"], r["decoding"], r["metric"], r["arm"]): r for r in report["decodings"]}
    assert {(key[1], key[2]) for key in rows} == {
        ("free", "acc"), ("banned", "acc"), ("forced", "acc"),
        ("counterfactual", "reliance"), ("counterfactual", "recomputed"),
    }  # fmt: skip
    assert ("heldout", "forced", "acc", "control") not in rows
    assert rows[("heldout", "counterfactual", "reliance", "sham")]["mean"] == 0.5
    free, banned = (rows[("heldout", name, "acc", "mul_facts")] for name in ("free", "banned"))
    assert free["minus_free"] is None
    assert banned["minus_free"]["effect"] == pytest.approx(banned["mean"] - free["mean"])
    forced = rows[("heldout", "forced", "acc", "mul_facts")]
    assert (forced["n_items"], forced["minus_free"]["n_items"], forced["minus_free"]["effect"]) == (32, 32, 0.0)


def test_documents_are_compared_within_a_mode(report: dict[str, Any]) -> None:
    rows = {(row["mode"], row["arm"]): row for row in report["text_modes"]}
    assert [mode for mode, arm in rows if arm == "control"] == ["native", "plain", "outside"]
    for (mode, arm), row in rows.items():
        if arm == "control":
            assert row["minus_control"] is None
        else:
            difference = row["mean"] - rows[(mode, "control")]["mean"]
            assert row["minus_control"]["effect"] == pytest.approx(difference, rel=1e-9)


def test_deviations_are_stated_also_where_there_are_none(report: dict[str, Any], make_study: MakeStudy) -> None:
    said = _said(report)
    assert said["Missing runs and stages"] == said["Red gates"] == said["Overrides and edits"] == []
    assert said["Documents dropped from the corpora"][0] == "control, 5 seeds together: 10 empty, 10 leak: arithmetic."
    assert said["Prompts cut for want of context"][0].startswith("control: 10 of 400 in arithmetic; ")
    assert "10 of 320 in arithmetic:forced" in said["Answers that did not end by themselves"][1]
    assert said["Measures on which arms could not be compared"] == [
        "arithmetic:forced: control was not asked, only mul_facts, sham."
    ]
    study = make_study(n_seeds=2, exploratory="overrides were used (x=1)")
    (study / "sham" / "seed1" / "sft.partial").mkdir()
    shutil.rmtree(study / "sham" / "seed1" / "evaluate")
    _edit_json(study / "study.json", lambda v: v.update(registered_claims=[v["claims"][0] | {"delta": 0.5}]))
    record = study / "control" / "seed0" / "sft" / "record.json"
    _edit_json(record, lambda value: value["versions"].update(torch="2.8.0"))
    _edit_json(record, lambda value: value["counts"]["gates"][0].update(passed=False))
    _edit_json(study / "sham/seed0/prepare/record.json", lambda value: value["counts"].pop("dropped"))
    said = _said(build_report(study))
    assert said["Overrides and edits"] == [
        "overrides were used (x=1)",
        "Claims as first registered: Benefit gold_bits_per_byte on arithmetic.heldout, 0.5.",
    ]
    assert said["Missing runs and stages"] == ["sham, seed 1: evaluate."]
    assert said["Stages begun and not finished"] == ["sham, seed 1: sft."]
    assert len(said["Red gates"]) == 1
    versions = said["Code and package versions that differ, or code with uncommitted changes"]
    assert versions[1] == "Versions of torch differ: 2.8.0 (1 stages), 2.9.0 (28 stages)."
    assert "sham: 1 of 2 prepare records do not say what was dropped." in said["Documents dropped from the corpora"]


def test_a_field_that_a_claim_got_later_is_no_edit(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    _edit_json(
        study / "study.json",
        lambda v: v.update(registered_claims=[{k: x for k, x in c.items() if k != "metric"} for c in v["claims"]]),
    )
    assert _said(build_report(study))["Overrides and edits"] == []


def test_the_ledger_adds_up(report: dict[str, Any]) -> None:
    found = report["ledger"]
    arms = {row["arm"]: row for row in found["arms"]}
    assert arms["control"]["tokens"] == 5 * 512_000
    assert arms["control"]["flops"] == {"blocks": 3e13, "attention": 5e12, "head": 5e12}
    assert arms["control"]["head_share"] == 0.125
    assert arms["mul_facts"]["per_run_against_control"]["tokens"] == pytest.approx(510 / 512)
    assert arms["control"]["wall_seconds"] == 5 * (5 * 12.5 + 10)
    for name in ("wall_seconds", "tokens", "source_bytes", "total_flops"):
        assert found["total"][name] == pytest.approx(sum(row[name] for row in arms.values()))
    stages = {(row["arm"], row["stage"]): row for row in found["rows"]}
    assert len(stages) == 15
    assert stages[("sham", "sft")]["total_flops"] is None  # not counted is not 0
    assert stages[("sham", "prepare")]["tokens"] == 5 * 512_000
    known = report["provenance"]
    assert known["commits"] == [{"commit": "abc1234def", "dirty": True, "stages": 75}]
    assert (known["differing"], known["registration"]) == ({}, None)


def test_a_control_that_has_not_run_leaves_the_ratio_open(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    shutil.rmtree(study / "control")
    arms = {row["arm"]: row for row in build_report(study)["ledger"]["arms"]}
    assert arms["sham"]["per_run_against_control"] == {"source_bytes": None, "tokens": None, "total_flops": None}


def test_many_questions_are_corrected(report: dict[str, Any]) -> None:
    """Holm over the claims, false discovery rates over the rest, Dunnett over the arms: statsmodels' own numbers."""
    judged = report["verdicts"]
    expected = multipletests([one["p_value"] for one in judged], method="holm")[1]
    assert [one["adjusted_p"] for one in judged] == pytest.approx(list(expected))
    rest = [row for row in report["effects"] if not row["primary"]]
    expected = multipletests([row["p_value"] for row in rest], method="fdr_bh")[1]
    assert [row["q_value"] for row in rest] == pytest.approx(list(expected))
    assert all(row["q_value"] is None for row in report["effects"] if row["primary"])
    single = {(row["target"], row["metric"], row["arm"]): row for row in report["effects"]}
    assert len({row["arm"] for row in report["against_control"]}) >= 2
    for row in report["against_control"]:
        plain = single[(row["target"], row["metric"], row["arm"])]
        assert row["effect"] == pytest.approx(plain["effect"])
        # The interval of right and wrong answers is not symmetric, Dunnett's is.
        if row["metric"] == "bits_per_byte":
            assert row["low"] < plain["low"]
            assert plain["high"] < row["high"]
        assert row["p_value"] >= plain["p_value"] - 1e-4
