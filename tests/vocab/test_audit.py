"""An audit tells what was done and what was not, and is enough to undo it."""

import json
from pathlib import Path

import pytest

from vocablab.base.errors import RunError, UserError
from vocablab.vocab.audit import audit, read_side_record, write_audit
from vocablab.vocab.controls import PlainTextFacts
from vocablab.vocab.inject import Injected, inject, restore
from vocablab.vocab.intervention import Span
from vocablab.vocab.interventions import FactTokens, named_interventions

TEXT = "So 6*9=54, 9 × 6 = 54, 7*8=56.\nNot 6*9=55 or 16*9=144 or a $6*9=54 <b> & 3*3=9% bill; <<2*3=6>>6 é\ud800"


def test_counts_samples_and_reasons() -> None:
    found = audit(TEXT, inject(TEXT, FactTokens()), FactTokens())
    assert found["counts"]["sites"] == 4
    assert found["counts"]["by_rule"] == {"{a}*{b}={c}": 2, "{b} × {a} = {c}": 1, "<<{a}*{b}={c}>>{c}": 1}
    assert found["counts"]["by_token"] == {"<MUL_6_9_54>": 2, "<MUL_7_8_56>": 1, "<MUL_2_3_6>": 1}
    assert found["counts"]["left_alone"] == {
        "a wrong answer": 1,
        "outside the family": 1,
        "glued to $ before it": 1,
        "part of an expression before %": 1,
    }
    (sample,) = found["samples"]["{b} × {a} = {c}"]
    assert sample["raw"] == sample["restored"] == "9 × 6 = 54"
    assert sample["before"].endswith("6*9=54, ")
    assert found["left_alone"]["a wrong answer"][0]["raw"] == "6*9=55"


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("name", named_interventions())
def test_what_is_written_restores(name: str, suffix: str, tmp_path: Path) -> None:
    rule = named_interventions()[name]
    injected = inject(TEXT, rule)
    path = tmp_path / f"audit{suffix}"
    write_audit(audit(TEXT, injected, rule), path)
    assert restore(injected.text, rule, read_side_record(path)) == TEXT


def test_lines_are_for_programs(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write_audit(audit(TEXT, inject(TEXT, FactTokens()), FactTokens()), path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kinds = [row["kind"] for row in rows]
    assert kinds[0] == "summary"
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "summary": 1, "sample": 4, "left alone": 4, "replacement": 4,
    }  # fmt: skip


def test_the_page_shows_text_as_text(tmp_path: Path) -> None:
    path = tmp_path / "audit.html"
    write_audit(audit(TEXT, inject(TEXT, PlainTextFacts()), PlainTextFacts()), path)
    page = path.read_text(encoding="utf-8")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "<mark>9 × 6 = 54</mark>" in page
    assert "a wrong answer" in page
    with pytest.raises(UserError, match="cannot be restored from"):
        read_side_record(path)


def test_a_replacement_that_cannot_be_undone_is_refused() -> None:
    wrong = Injected("So <MUL_6_9_54>.", [Span(3, 9, "<MUL_6_9_54>", True, "", "{a} * {b} = {c}")])
    with pytest.raises(RunError, match="rule 2"):
        audit("So 6*9=54.", wrong, FactTokens())


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"kind": "replacement"}'])
def test_a_damaged_record_is_one_sentence(content: str, tmp_path: Path) -> None:
    for suffix in (".json", ".jsonl"):
        path = tmp_path / f"a{suffix}"
        path.write_text(content)
        if content == "" and suffix == ".jsonl":
            assert read_side_record(path) == []
            continue
        with pytest.raises(UserError, match=r"damaged|not JSON"):
            read_side_record(path)
    with pytest.raises(UserError, match=r"there is no"):
        read_side_record(tmp_path / "none.jsonl")
