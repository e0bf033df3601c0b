"""Dose and ceiling, against counting by hand."""

from pathlib import Path

import pytest
from support.models import make_codec

from vocablab.base.data import iterate_rows
from vocablab.base.errors import UserError
from vocablab.corpus.coverage import ceiling, measure
from vocablab.corpus.files import documents_of, row_text, text_files
from vocablab.vocab.interventions import Addition, FactTokens, NoChange, PlainTextFacts

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
ANSWERS = [
    "She has <<6*9=54>>54 eggs and sells <<54-4=50>>50.\n#### 50",
    "<<2*3=6>>6 and then <<3*3=9>>9",
    "<<9*6=54>>54.50 is no whole number, <<6*9=54>>54 is",
    "no steps",
    "<<2*3*1=6>>6",
]


def test_the_ceiling_by_hand() -> None:
    found = ceiling(ANSWERS, make_codec(FactTokens()))
    assert (found.steps, found.steps_covered) == (7, 4)
    assert (found.problems, found.problems_covered) == (5, 1)
    # 6*9=54 three times in two orders, 54-4=50, 2*3=6, 3*3=9; the chain is no binary fact.
    assert (found.best, found.best_steps, found.best_problems) == (45, 6, 3)
    plain = ceiling(ANSWERS, make_codec(PlainTextFacts()))
    assert (plain.steps_covered, plain.best, plain.best_steps) == (4, 0, 0)
    annotated = ceiling(ANSWERS, make_codec(FactTokens(mode="annotate")))
    assert annotated.steps_covered == 4


def test_the_dose_by_hand() -> None:
    texts = ["6*9=54 and 6*9=55", "7*8=56", ""]
    codec = make_codec(FactTokens())
    found = measure(texts, codec)
    assert (found.documents, found.sites, found.raw_bytes) == (3, 2, len("".join(texts)))
    assert found.exposures == {"<MUL_6_9_54>": 1, "<MUL_7_8_56>": 1}
    assert found.left_alone == {"a wrong answer": 1}
    assert found.tokens == sum(len(codec.encode(text).ids) for text in texts)
    assert found.base_tokens == sum(len(codec.vocabulary.encode_plain(text).ids) for text in texts)
    assert found.dose == pytest.approx(2 / found.tokens)
    shown = found.to_json(codec.intervention.tokens())
    assert (shown["added_tokens"], shown["added_tokens_never_seen"], shown["exposures_median"]) == (45, 43, 0)
    assert measure(texts, make_codec(NoChange())).dose == 0


@needs_data
def test_gsm8k_as_measured() -> None:
    """The numbers in docs/log.md of 2026-11-24."""
    answers = [row["answer"] for row in iterate_rows(DATA / "gsm8k/test.jsonl")]
    facts = ceiling(answers, make_codec(FactTokens()))
    assert (facts.steps, facts.problems) == (4282, 1319)
    assert (facts.steps_covered, facts.problems_covered) == (411, 10)
    assert 0.14 < facts.best_steps / facts.steps < 0.16
    assert ceiling(answers, make_codec(FactTokens(Addition()))).steps_covered == 132


@needs_data
def test_every_data_set_has_documents() -> None:
    counts = {str(p.relative_to(DATA)): sum(1 for _ in documents_of(p)) for p in text_files(DATA)}
    assert counts.pop("gpt2/encoder.json") == 0
    assert counts["gsm8k/train.jsonl"] == 7473
    assert counts["hellaswag/hellaswag_val.jsonl"] == 10042
    assert counts["ape210k/valid.ape.json"] == 5000
    assert counts["math23k/math23k_test.json"] == 1000
    assert counts["svamp/SVAMP.json"] == 1000
    assert all(counts.values())


def test_rows_and_files(tmp_path: Path) -> None:
    assert row_text({"ctx": "a", "endings": ["b", "c"]}) == "a b c"
    assert row_text({"question": "q", "answer": "a"}) == "q\na"
    assert row_text({"text": 3}) is None
    (tmp_path / "a.json").write_text('{"text": "x"}\n {"text": "y"} {"other": 1}')
    (tmp_path / "b.txt").write_bytes(b"z\xff")
    (tmp_path / "README.md").write_text("about")
    assert [list(documents_of(p)) for p in text_files(tmp_path)] == [["x", "y"], ["z\udcff"]]
    (tmp_path / "a.json").write_text('{"text": "x"')
    with pytest.raises(UserError, match="damaged"):
        list(documents_of(tmp_path / "a.json"))
