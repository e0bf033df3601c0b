"""The report of a whole fixture study: its numbers, its safety, and how a browser draws it."""

import html
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vocablab.analysis.csv_tables import write_csv_tables
from vocablab.analysis.html_page import script_json
from vocablab.analysis.page import render, write_report
from vocablab.analysis.report_data import build_report
from vocablab.analysis.samples import token_pieces
from vocablab.base.errors import UserError

MakeStudy = Callable[..., Path]


def _rewrite(path: Path, change: Callable[[list[dict]], list[dict]]) -> None:
    pq.write_table(pa.Table.from_pylist(change(pq.read_table(path).to_pylist())), path)


def _plant_gate(study: Path, passed: object) -> None:
    path = study / "sham" / "seed1" / "export" / "record.json"
    record = json.loads(path.read_text())
    record["counts"]["gates"].append({"rule": 6, "name": "logits", "passed": passed, "detail": "0.3 > 1e-4"})
    path.write_text(json.dumps(record))


def test_a_study_of_six_seeds_gets_its_verdicts(make_study: MakeStudy) -> None:
    report = build_report(make_study(n_seeds=6))
    benefit, harm = report["verdicts"]
    assert benefit["word"] == "SUPPORTED"
    assert benefit["improvement"] == -benefit["estimate"]["effect"] > 0.02
    assert benefit["level"] == 0.975
    assert len(benefit["estimate"]["seeds"]) == 6
    assert "mcnemar" in harm["estimate"]["seeds"][0]
    assert report["missing"] == []


def test_three_seeds_are_a_pilot_with_all_its_numbers(make_study: MakeStudy) -> None:
    verdict = build_report(make_study(n_seeds=3))["verdicts"][0]
    assert verdict["word"] == "PILOT"
    assert verdict["mde"] > 0
    assert verdict["low"] < verdict["improvement"] < verdict["high"]


@pytest.mark.parametrize("passed", [False, None, "yes"])
def test_a_red_gate_anywhere_makes_every_verdict_invalid(make_study: MakeStudy, passed: object) -> None:
    study = make_study(n_seeds=5)
    _plant_gate(study, passed)
    report = build_report(study)
    assert {verdict["word"] for verdict in report["verdicts"]} == {"INVALID"}
    page = write_report(study).read_text()
    assert "0.3 &gt; 1e-4" in page
    assert "1 of " in page


def test_an_item_that_one_arm_lacks_is_named_and_makes_the_verdict_invalid(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=5)
    path = study / "mul_facts" / "seed2" / "evaluate" / "scores.parquet"
    _rewrite(path, lambda rows: [row for row in rows if row["item_id"] != "heldout-3"])
    report = build_report(study)
    assert report["verdicts"][0]["word"] == "INVALID"
    red = [gate["detail"] for gate in report["gates"] if not gate["passed"]]
    assert len(red) == 1
    assert re.search(r"mul_facts, seed 2 lacks item heldout-3 of arithmetic\.heldout", red[0])


def test_missing_runs_are_shown_as_missing(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=3)
    shutil.rmtree(study / "sham")
    shutil.rmtree(study / "mul_facts" / "seed2" / "evaluate")
    report = build_report(study)
    assert {"arm": "mul_facts", "seed": 2, "stages": ["evaluate"]} in report["missing"]
    assert "Only 2 of the 3 declared seeds" in report["verdicts"][0]["sentence"]
    assert "sham" not in report["scores"][0]["arms"]
    assert "missing" in write_report(study).read_text()


def test_no_scores_at_all_is_one_sentence(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    for path in study.glob("*/seed0/evaluate"):
        shutil.rmtree(path)
    with pytest.raises(UserError, match="no scores yet"):
        write_report(study)
    with pytest.raises(UserError, match="description is missing"):
        write_report(study / "nowhere")


def test_the_report_is_strict_json_and_the_same_every_time(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=3)
    page = write_report(study)
    first = (study / "report.json").read_bytes(), page.read_bytes()
    assert not re.search(rb"\bNaN\b|\bInfinity\b", first[0])
    write_report(study)
    assert ((study / "report.json").read_bytes(), page.read_bytes()) == first
    assert not list(study.glob(".*tmp"))
    assert render(json.loads(first[0])) == first[1].decode()


def test_all_outputs_are_rebuilt_byte_for_byte(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=3)
    names = ["report.json", "report.html", "report.md", *(str(p.relative_to(study)) for p in write_csv_tables(study))]
    write_report(study)
    first = {name: (study / name).read_bytes() for name in names}
    kept = {path for path in study.rglob("*") if path.is_file()} - {study / name for name in names}
    for name in names:
        (study / name).unlink()
    moved = study.rename(study.with_name("elsewhere"))
    write_csv_tables(moved)
    write_report(moved)
    assert {name: (moved / name).read_bytes() for name in names} == first
    assert len([path for path in moved.rglob("*") if path.is_file()]) == len(kept) + len(names)


def test_scores_adoption_and_samples(make_study: MakeStudy) -> None:
    report = build_report(make_study(n_seeds=3))
    measured = {(row["target"], row["metric"]): row["arms"] for row in report["scores"]}
    assert {("arithmetic.heldout", "acc_flexible"), ("hellaswag.validation", "acc")} <= set(measured)
    bits = measured[("text.fineweb", "bits_per_byte")]["control"]
    assert bits["n_items"] == 40
    assert "low" not in bits
    acc = measured[("arithmetic.heldout", "acc")]["control"]
    assert acc["low"] < acc["mean"] < acc["high"]
    used = {row["arm"]: row for row in report["adoption"] if row["target"] == "arithmetic.heldout"}
    assert used["control"]["per_answer"] == 0
    assert used["control"]["right"] is None
    assert used["mul_facts"]["right"] == used["mul_facts"]["adopted"] == 1
    assert used["sham"]["right"] == 0
    assert all(set(sample["arms"]) == {"control", "mul_facts", "sham"} for sample in report["samples"])
    assert {sample["why"] for sample in report["samples"]} == {"drawn blind", "control and treatment differ"}


def test_an_exploratory_study_says_so(make_study: MakeStudy) -> None:
    page = write_report(make_study(n_seeds=5, exploratory="Overridden: recipe.steps=100.")).read_text()
    assert "EXPLORATORY · SUPPORTED" in page
    assert "Overridden: recipe.steps=100." in page


def test_fact_tokens_become_pieces() -> None:
    pieces = token_pieces(" so <MUL_6_9_54>. <SHAM_07> <b> <i>")
    kinds = [kind for kind, _ in pieces]
    assert kinds == ["text", "fact", "text", "sham", "text"]
    assert "".join(piece for _, piece in pieces) == " so <MUL_6_9_54>. <SHAM_07> <b> <i>"


def test_output_of_a_model_cannot_become_markup(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    hostile = "</script><script>alert('x')</script><img src=x onerror=alert(1)>{{plotly}}"
    for path in study.glob("*/seed0/evaluate/scores.parquet"):
        _rewrite(
            path,
            lambda rows: [row | {"output": hostile, "extracted": hostile, "prompt": hostile} for row in rows],
        )
    page = write_report(study).read_text()
    clean = page.replace(_plotly(), "")
    assert html.escape(hostile) in clean
    assert "<script>alert" not in clean
    assert "<img" not in clean
    assert len(re.findall(r"</script", clean)) == 3
    assert script_json({"a": "</script>\u2028"}) == '{"a":"\\u003c/script\\u003e\\u2028"}'


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    text: str = get_plotlyjs()
    return text


def test_the_page_needs_neither_torch_nor_transformers() -> None:
    code = "import sys, vocablab.analysis.page; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_BROWSER = shutil.which("chromium")
# A window cannot be as narrow as a phone, a frame can; a frame given as text may be read by its parent.
_FRAME = """<!DOCTYPE html><body style="margin:0"><iframe id="f" width="{width}" height="{height}"
style="border:0" srcdoc="{page}"></iframe><script>
const frame = document.getElementById("f");
const copy = () => {{ const inner = frame.contentDocument.documentElement;
  Object.assign(document.documentElement.dataset, inner.dataset, {{now: inner.scrollWidth}}); }};
frame.addEventListener("load", () => {{ copy(); setTimeout(copy, 500); }});
</script></body>"""


def _browse(page: Path, width: int, height: int, profile: Path, shot: Path) -> str:
    assert _BROWSER is not None
    quiet = "--disable-quic --no-first-run --disable-background-networking"
    quiet += " --disable-component-update --disable-sync"
    command = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *quiet.split()]
    command += [f"--user-data-dir={profile}", f"--window-size={width},{height}", "--virtual-time-budget=5000"]
    dumped = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    subprocess.run([*command, f"--screenshot={shot}", page.as_uri()], capture_output=True, timeout=120, check=True)
    return dumped.stdout


def _marker(dom: str, name: str) -> str:
    found = re.search(rf'<html[^>]*\bdata-{name}="([^"]*)"', dom)
    assert found, f"the page has not written data-{name}"
    return found.group(1)


@pytest.mark.skipif(_BROWSER is None, reason="no chromium on this system")
@pytest.mark.parametrize("width", [1400, 390])
def test_a_browser_draws_the_page_without_errors_or_overflow(make_study: MakeStudy, tmp_path: Path, width: int) -> None:
    page = write_report(make_study(n_seeds=5, rewarded=("mul_facts", "sham")))
    if width < 500:
        framed = tmp_path / "framed.html"
        framed.write_text(_FRAME.format(width=width, height=4000, page=html.escape(page.read_text(), quote=True)))
        dom = _browse(framed, 500, 4000, tmp_path / "profile", tmp_path / "shot.png")
    else:
        dom = _browse(page, width, 2400, tmp_path / "profile", tmp_path / "shot.png")
        assert "main-svg" in dom
        assert "owned" not in _marker(dom, "errors")
        assert "<title>Do fact tokens" in dom
    assert _marker(dom, "errors") == ""
    # Two claims, two forests of each kind, two scatters, a loss, two of fine-tuning, six of reward, two of scores.
    assert int(_marker(dom, "plots")) >= 19
    assert int(_marker(dom, "client-width")) == width
    assert int(_marker(dom, "scroll-width")) <= width
    assert (tmp_path / "shot.png").stat().st_size > 20_000
