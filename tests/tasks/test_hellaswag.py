"""HellaSwag: the harness's texts to the letter, and contexts recovered from a copy that has only the whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.base.errors import UserError
from vocablab.tasks import hellaswag
from vocablab.tasks.hellaswag import HellaSwag, as_harness, as_karpathy, preprocess, split_context

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
ROWS: list[dict[str, Any]] = [
    {
        "activity_label": "Roof shingle removal",
        "ctx_a": "A man is sitting on a roof.",
        "ctx_b": "he",
        "ctx": "A man is sitting on a roof. he",
        "endings": [
            "is using wrap.",
            "is ripping level tiles off.",
            "is holding a rubik's cube.",
            "starts pulling up.",
        ],
        "label": "3",
    },
    {
        "activity_label": "Family Life",
        "ctx_a": "[header] How to help [title] Know what  to learn [step] By knowing  it, you help.",
        "ctx_b": "",
        "ctx": "[header] How to help [title] Know what  to learn [step] By knowing  it, you help.",
        "endings": ["[substeps] Ask [title] now", "Do. [step] Then", " x ", "[title] é  ü"],
        "label": 0,
    },
    {
        "activity_label": "Polishing",
        "ctx_a": "A TV is shown.",
        "ctx_b": "the man on TV",
        "ctx": "A TV is shown. the man on TV",
        "endings": ["a", "b", "c", "d"],
        "label": 1,
    },
]


def write(rows: list[dict[str, Any]], directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (directory / "hellaswag").mkdir()
    (directory / "hellaswag/hellaswag_val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    short = hellaswag.DataSet(hellaswag.VALIDATION.local, len(rows), None, "HellaSwag")
    monkeypatch.setattr(hellaswag, "VALIDATION", short)
    return directory


def test_texts_are_the_harness_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from lm_eval.tasks.hellaswag.utils import process_docs

    theirs = process_docs(datasets.Dataset.from_list([{**row, "label": str(row["label"])} for row in ROWS]))
    ours = HellaSwag().items(write(ROWS, tmp_path, monkeypatch))
    for item, doc in zip(ours, theirs, strict=True):
        assert item.prompt == doc["query"]
        # The harness joins by one space and divides by the length of the ending alone.
        assert item.choices == tuple(" " + ending for ending in doc["choices"])
        assert item.label == doc["gold"]
        assert item.normaliser == "characters"


@given(st.text("[]title step.header a\n\t  é", max_size=60))
def test_preprocessing_is_the_harness_s(text: str) -> None:
    from lm_eval.tasks.hellaswag.utils import preprocess as theirs

    assert preprocess(text) == theirs(text)


def test_karpathy_s_texts_are_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = HellaSwag(mode="karpathy").items(write(ROWS, tmp_path, monkeypatch))
    assert [item.prompt for item in items] == [row["ctx"] for row in ROWS]
    assert items[1].choices == tuple(" " + ending for ending in ROWS[1]["endings"])
    assert {item.normaliser for item in items} == {"tokens"}


@pytest.mark.parametrize(
    ("context", "parts"),
    [
        ("A man is sitting on a roof. he", ("A man is sitting on a roof.", "he")),
        ("How to cook. Take an egg.", ("How to cook. Take an egg.", "")),
        ('She says "go!" the dog', ('She says "go!"', "the dog")),
        ("He pays 3.50 dollars. then he", ("He pays 3.50 dollars.", "then he")),
        ("is it? yes, a man", ("is it?", "yes, a man")),
        ('. " a camel ride - qatar "', (".", '" a camel ride - qatar "')),
        ("a man", ("", "a man")),
        ("", ("", "")),
    ],
)
def test_contexts_are_split_before_the_unfinished_sentence(context: str, parts: tuple[str, str]) -> None:
    assert split_context(context) == parts


@pytest.mark.parametrize("row", [ROWS[0], ROWS[2]])
def test_a_row_without_the_parts_gives_the_same_query(row: dict[str, Any]) -> None:
    without = {key: value for key, value in row.items() if key not in ("ctx_a", "ctx_b")}
    assert as_harness(without) == as_harness(row)


@pytest.mark.parametrize("mode", ["harness", "karpathy"])
@pytest.mark.parametrize(
    "fault",
    [{"label": ""}, {"label": 4}, {"label": -1}, {"endings": "abcd"}, {"endings": None}, {"ctx": None, "ctx_a": None}],
)
def test_a_malformed_row_is_named(
    mode: str, fault: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write([ROWS[0], {**ROWS[0], **fault}], tmp_path, monkeypatch)
    with pytest.raises(UserError, match="HellaSwag: row 2"):
        HellaSwag(mode=mode).items(data)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UserError, match="mode 'gpt2' is not one of harness, karpathy"):
        HellaSwag(mode="gpt2")


@needs_data
def test_the_real_set_is_whole_and_both_modes_have_the_same_items() -> None:
    harness, karpathy = HellaSwag().items(DATA), HellaSwag(mode="karpathy").items(DATA)
    assert len(harness) == 10042
    for one, other in zip(harness, karpathy, strict=True):
        assert (one.item_id, one.label) == (other.item_id, other.label)
        assert one.gold == one.choices[one.label]
        assert len(one.choices) == 4
        assert one.prompt.strip() == one.prompt != ""
    assert len(HellaSwag(limit=200).items(DATA)) == 200


@needs_data
def test_contexts_of_the_real_set_split_as_its_two_sources_do() -> None:
    lines = (DATA / "hellaswag/hellaswag_val.jsonl").read_text().splitlines()
    contexts = [as_karpathy(json.loads(line))[0] for line in lines]
    begun = [split_context(context) for context in contexts]
    assert [bool(ctx_b) for _, ctx_b in begun] == [index < 3243 for index in range(10042)]
    assert all(ctx_a and ctx_b == ctx_b.lower() for ctx_a, ctx_b in begun)
    assert all(f"{a} {b}".strip() == context.strip() for (a, b), context in zip(begun, contexts, strict=True))
