"""Rule 2: right, reversible, and blind to what only looks like a product."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocablab.base.data import iterate_rows
from vocablab.base.errors import UserError
from vocablab.vocab.inject import audit, inject, restore, restore_canonical
from vocablab.vocab.interventions import FactTokens, ShuffledMeaning, named_interventions

DATA = Path(__file__).parents[3] / "shared" / "data"
FACTS = FactTokens()

MATCHES = {
    "6 * 9 = 54": "<MUL_6_9_54>",
    "6*9=54": "<MUL_6_9_54>",
    "9 × 6 = 54.": "<MUL_6_9_54>.",
    "6 x 9 = 54, so": "<MUL_6_9_54>, so",
    "6·9=54": "<MUL_6_9_54>",
    "$6 \\times 9 = 54$": "$<MUL_6_9_54>$",
    "\\(6 \\times 9 = 54\\)": "\\(<MUL_6_9_54>\\)",
    "six times nine equals fifty-four": "<MUL_6_9_54>",
    "Nine times six is fifty four, so": "<MUL_6_9_54>, so",
    "6 multiplied by 9 is 54": "<MUL_6_9_54>",
    "一共6×9=54个": "一共<MUL_6_9_54>个",
    "we get 6 \\times 9 = 54": "we get <MUL_6_9_54>",
    "6 times 9 is 54": "<MUL_6_9_54>",
    "6 times 9 equals 54!": "<MUL_6_9_54>!",
    "(6 * 9 = 54)": "(<MUL_6_9_54>)",
    "$<<6*9=54>>54 a day": "$<MUL_6_9_54> a day",
    "Total: 6 * 9 = 54": "Total: <MUL_6_9_54>",
    "6 * 9 = 54\n7 * 8 = 56": "<MUL_6_9_54>\n<MUL_7_8_56>",
}
LEFT_ALONE = """103*4=412
6*9=54,000
6*9=540
16*9=54
6*9=54.5
6.6*9=54
0.6*9=54
6*9.0=54
6*09=54
06*9=54
6*9=55
6 * 9 = 45
10 * 5 = 50
2*3*4=24
1*2*3=6
2*3=6*1
2*3=6=6
6=2*3=6
6*9+1=55
1+6*9=54
1 + 6 * 9 = 54
-6*9=54
- 6 * 9 = 54
6*-9=54
6/6*9=54
54/6*9=54
6*9=54/1
6*9=54+0
6*9=54 + 1
6*9=54 - 1
6*9=54 * 2
6*9=54 × 2
6*9=54x2
6*9=54 x 2
6*9=54%
6*9=54 %
6*9=54cm
6*9=54°
6*9=54²
6*9=54^2
2^6*9=54
6^2*9=54
6**9=54
6*9==54
a6*9=54
x_6*9=54
6*9=54b
6*9=54_000
#6*9=54
$6*9=54
6*9=$54
6 * 9 = $54
£6*9=54
6*9=€54
4x4 truck
4 x 4 truck
2x4 = 8ft
6 x 9 inches
on 6*9 = 5 and 4
6
*9=54
6*9
=54
6*
9=54
6 * 9 =
54
f(6*9=54)
a[6*9=54]
6*9=54(x)
6*9=54[0]
5 times 6 times 9 is 54
2 plus 6 times 9 is 54
6 times 9 is 54 times 1
6 times 9 is 54 thousand
6 times 9 is 54 percent
negative 6 times 9 is 54
6times9is54
6 times9 is 54
x*y=54
6 * x = 54
６*９=５４
٦*٩=٥٤
6*9=54½
½6*9=54
6:9=54
6 + 9 = 15
6 - 9 = 54
6*9≠54
6*9>54
6*9=>54
6*9=54:30
12:6*9=54
1,6*9=54
1.6*9=54
6*9=54,5
6*9=54.0
6*9=54'000
6'6*9=54
6*9=54e3
1e6*9=54
0x6*9=54
6*9=54@home
me@6*9=54
v6*9=54
6*9=54-year
6*9=54–60
6–6*9=54
6*9=54/2=27
3=6*9=54
6 mod 6*9=54 mod 5
<<<6*9=54>>54
<<6*9=54>>54.50
<<6*9=54>>540
<<6*9=54>>
<<6*9=54*1>>54
<<6*9=55>>55
1 of 6*9=54
half of 6 * 9 = 54
sqrt6*9=54
√6*9=54
!6*9=54
6!*9=54
6 * 9 = 54 million
555-6*9=54
+1 6*9=54-5555
2024-6*9=54"""


@pytest.mark.parametrize("text", MATCHES)
def test_products_are_found_in_every_form(text: str) -> None:
    assert inject(text, FACTS).text == MATCHES[text]


def _lines() -> list[str]:
    """The table's lines; a product broken over lines stays one case."""
    joined = re.sub(r"\n6\n\*9=54\n6\*9\n=54\n6\*\n9=54\n6 \* 9 =\n54\n", "\n", LEFT_ALONE)
    return [*joined.split("\n"), "6\n*9=54", "6*9\n=54", "6*\n9=54", "6 * 9 =\n54"]


@pytest.mark.parametrize("text", _lines())
def test_what_only_looks_like_a_product_is_left_alone(text: str) -> None:
    assert inject(text, FACTS).text == text


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
        assert restore(changed.text, rule, audit(text, changed)["replacements"]) == text


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
    sites = 0
    paths = [DATA / "gsm8k/train.jsonl", DATA / "openstax/openstax-val.jsonl.zst"]
    for path in paths:
        for row in iterate_rows(path):
            text = row["answer"] if "answer" in row else row["text"]
            changed = inject(text, FACTS)
            assert restore(changed.text, FACTS, audit(text, changed)["replacements"]) == text
            assert "<<<" not in changed.text or "<<<" in text
            sites += len(changed.spans)
    assert sites > 2000
