"""Rule 2: right, reversible, and blind to what only looks like a product."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocablab.base.data import iterate_rows
from vocablab.base.errors import UserError
from vocablab.vocab.inject import inject, restore, restore_canonical, side_record
from vocablab.vocab.interventions import FactTokens, ShuffledMeaning, named_interventions

DATA = Path(__file__).parents[3] / "shared" / "data"
FACTS = FactTokens()

LEAST_LINES = 300


def _cases() -> list[tuple[str, str, str]]:
    """The table of `adversarial.txt`: intervention, raw text, changed text."""
    lines = (Path(__file__).parent / "adversarial.txt").read_text(encoding="utf-8").split("\n")
    cases, intervention = [], ""
    for line in lines[2:]:
        heading = re.fullmatch(r"\[[\w ,-]+: (\w+)\]", line)
        if heading:
            intervention = heading[1]
        elif line:
            raw, _, changed = line.replace("⏎", "\n").replace("⇥", "\t").partition(" ⇒ ")
            cases.append((intervention, raw, changed or raw))
    return cases


CASES = _cases()


@pytest.mark.parametrize(("intervention", "raw", "changed"), CASES)
def test_what_only_looks_like_a_fact_is_left_alone(intervention: str, raw: str, changed: str) -> None:
    rule = named_interventions()[intervention]
    for before, after in (("", ""), ("So\n", "\nand more."), ("\u2028", "\r\n")):
        text = before + raw + after
        assert inject(text, rule).text == before + changed + after
    # Every line without a site is a near-miss with a reason, or has no shape of a fact at all.
    assert all(miss.reason for miss in rule.near_misses(raw))


def test_the_table_is_long_and_has_both_kinds() -> None:
    assert sum(raw == changed for _, raw, changed in CASES) > LEAST_LINES
    assert sum(raw != changed for _, raw, changed in CASES) > 60
    assert len(set(CASES)) == len(CASES)


PARTS = st.sampled_from(
    ["6", "9", "54", "2", "3", "8", "*", "×", "x", " ", " * ", " = ", "=", " times ", " is ", "<<", ">>", ".", ",", "$",
     "\n", "-", "<MUL_6_9_54>", "<SHAM_01>", "6*9=54", "9 × 6 = 54", "2*3=6", "<<2*4=8>>8", "a", "(", ")", "{", "}"]
)  # fmt: skip
TEXTS = st.text() | st.lists(PARTS, max_size=14).map("".join)


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_restoring_gives_the_raw_text(text: str) -> None:
    for rule in named_interventions().values():
        changed = inject(text, rule, "doc")
        assert restore(changed.text, rule, side_record(changed)) == text


@settings(deadline=None, max_examples=400)
@given(TEXTS)
def test_twice_changes_nothing_more_and_products_are_right(text: str) -> None:
    for name, rule in named_interventions().items():
        once = inject(text, rule).text
        assert inject(once, rule).text == once, name
    for span in FACTS.spans(text, ""):
        _, a, b, c = span.replacement.strip("<>").split("_")
        assert int(a) * int(b) == int(c)


@given(TEXTS)
@settings(deadline=None)
def test_the_sham_has_the_same_sites_and_no_content(text: str) -> None:
    sham = ShuffledMeaning(FACTS)
    mine, theirs = FACTS.spans(text, "d"), sham.spans(text, "d")
    assert [(s.start, s.end) for s in mine] == [(s.start, s.end) for s in theirs]
    assert len(sham.tokens()) == len(FACTS.tokens()) == 45
    assert all(sham.neutral(s.replacement) == "" for s in theirs)


def test_the_sham_is_inconsistent() -> None:
    text = "6 * 9 = 54; " * 60
    assert len({s.replacement for s in ShuffledMeaning(FACTS).spans(text, "d")}) > 20


def test_ordered_tokens_keep_the_order() -> None:
    rule = FactTokens(ordered=True)
    assert len(rule.tokens()) == 81
    assert inject("9*6=54", rule).text == "<MUL_9_6_54>"


def test_a_record_of_another_text_is_refused() -> None:
    with pytest.raises(UserError, match="does not belong"):
        restore("nothing here", FACTS, [[0, "<MUL_6_9_54>", "{a}*{b}={c}"]])
    assert restore_canonical("a <MUL_6_9_54>", FACTS) == ("a 6 * 9 = 54", 1)


@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
def test_real_text_round_trips() -> None:
    """All of GSM8K and OpenStax, byte for byte."""
    sites = 0
    for path in [*sorted((DATA / "gsm8k").glob("*.jsonl")), *sorted((DATA / "openstax").glob("*.zst"))]:
        for row in iterate_rows(path):
            text = f"{row['question']}\n{row['answer']}" if "answer" in row else row["text"]
            changed = inject(text, FACTS)
            if changed.spans:
                assert restore(changed.text, FACTS, side_record(changed)) == text
            else:
                assert changed.text == text
            assert "<<<" not in changed.text or "<<<" in text
            sites += len(changed.spans)
    assert sites > 2500
