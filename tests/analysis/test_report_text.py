"""The report as Markdown and CSV: what it says, and that nothing in it can become markup or a formula."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from vocablab.analysis.csv_tables import write_csv_tables
from vocablab.analysis.markdown import escaped, markdown
from vocablab.analysis.page import write_report
from vocablab.analysis.report_data import build_report

MakeStudy = Callable[..., Path]
HOSTILE = "<script>alert(1)</script> | **bold** `code` [x](http://evil.example) ![i](y) @someone\n# head\n- item"


def _plant(study: Path) -> None:
    """Hostile text wherever text comes from data and reaches report.md."""
    path = study / "study.json"
    value = json.loads(path.read_text())
    value["title"] = value["name"] = value["preset"] = HOSTILE
    value["exploratory"] = HOSTILE
    value["arms"][1]["description"] = HOSTILE
    path.write_text(json.dumps(value))
    record = study / "sham" / "seed0" / "export" / "record.json"
    value = json.loads(record.read_text())
    value["counts"]["gates"].append({"rule": HOSTILE, "name": HOSTILE, "passed": False, "detail": HOSTILE})
    value["versions"][HOSTILE] = HOSTILE
    value["git"]["commit"] = HOSTILE
    record.write_text(json.dumps(value))


def _tokens(text: str) -> list:
    markdown_it = pytest.importorskip("markdown_it")
    found = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return [token for block in found for token in [block, *(block.children or [])]]


def test_the_short_form_says_what_a_pull_request_needs(make_study: MakeStudy) -> None:
    report = build_report(make_study(n_seeds=5))
    text = markdown(report)
    heads = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert heads == [
        "Verdicts", "Primary claims", "Treatment against the other arms, on the claimed measures",
        "Post-training, means over seeds", "Gates", "Compute ledger", "Deviations and exclusions", "How to rebuild",
    ]  # fmt: skip
    assert escaped(report["verdicts"][0]["sentence"]) in text
    assert "| 0.0310 |" in text
    assert "- Missing runs and stages: none." in text
    assert "    vocablab run mul-facts --preset cpu" in text
    assert "python 3.12.1" in text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a|b", r"a\|b"),
        ("`x`", r"\`x\`"),
        ("<b>", r"\<b\>"),
        ("a\n\n# b", r"a \# b"),
        ("- x", r"\- x"),
        ("1. x", r"1\. x"),
        ("2.4.6", "2.4.6"),
        ("\\", "\\\\"),
        (None, "–"),
        ("@me", "@\u2060me"),
    ],
)
def test_text_is_escaped(raw: str | None, shown: str) -> None:
    assert escaped(raw) == shown


def test_hostile_text_stays_text_in_the_short_form(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    _plant(study)
    text = markdown(build_report(study))
    kinds = {token.type for token in _tokens(text)}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "heading_setext", "fence"}
    # Every table row has as many cells as its head: no cell was broken open.
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("| ")]
        assert len({line.replace(r"\|", "").count("|") for line in rows}) <= 1
    inline = [token.content for token in _tokens(text) if token.type == "code_inline"]
    assert inline == ["--runs DIR", "--data DIR"]
    # The commands stand in a code block, where an address is no link.
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "http://" not in prose


def test_hostile_text_stays_text_on_the_page(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    _plant(study)
    page = write_report(study).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_tables_hold_the_numbers_of_the_report(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=2)
    paths = write_csv_tables(study)
    assert [path.stem for path in paths] == ["effects", "scores", "per_seed", "gates", "ledger", "fine_tuning"]
    assert {path.parent for path in paths} == {study / "tables"}
    tables = {path.stem: list(csv.DictReader(path.open())) for path in paths}
    report = build_report(study)
    assert len(tables["effects"]) == len(report["effects"]) + len(report["placebos"])
    assert next(float(row["effect"]) for row in tables["effects"]) == report["effects"][0]["effect"]
    assert len(tables["gates"]) == len(report["gates"])
    first = report["scores"][0]
    mine = [row for row in tables["per_seed"] if (row["target"], row["metric"]) == (first["target"], first["metric"])]
    assert {(row["arm"], row["seed"]) for row in mine} == {
        (arm, str(seed)) for arm in ("control", "mul_facts", "sham") for seed in (0, 1)
    }
    assert {row["flops_head"] for row in tables["ledger"] if row["stage"] == "pretrain"} == {"2000000000000.0"}
    assert {row["flops_head"] for row in tables["ledger"] if row["stage"] == "sft"} == {""}
    before = [path.read_bytes() for path in paths]
    write_report(study)
    read = json.loads((study / "report.json").read_text())
    assert [path.read_bytes() for path in write_csv_tables(study, read)] == before
    assert [path.read_bytes() for path in write_csv_tables(study)] == before


def test_no_cell_is_a_formula(make_study: MakeStudy) -> None:
    study = make_study(n_seeds=1)
    record = study / "sham" / "seed0" / "export" / "record.json"
    value = json.loads(record.read_text())
    value["counts"]["gates"].append({"rule": 6, "name": "=cmd()", "passed": True, "detail": '@x, "q"\nnext'})
    record.write_text(json.dumps(value))
    gates = list(csv.DictReader(write_csv_tables(study)[3].open(newline="")))
    planted = [row for row in gates if row["name"].endswith("cmd()")]
    assert [(row["name"], row["detail"]) for row in planted] == [("'=cmd()", '\'@x, "q"\nnext')]
