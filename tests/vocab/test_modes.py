"""Modes, dose, controls, digits, chunks, hybrids and code."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocablab.base.errors import UserError
from vocablab.facts.families import Rhyme, formula
from vocablab.facts.held_out import HeldOutFacts
from vocablab.vocab.code_tokens import CodeTokens, code_coverage, mine_idioms
from vocablab.vocab.controls import CounterfactualFacts, PauseToken, PlainTextFacts, ShuffledMeaning, WidenedModel
from vocablab.vocab.digits import Chunked, DigitTokens, Hybrid
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.inject import inject, restore, side_record
from vocablab.vocab.intervention import Intervention

TEXT = "So 6*9=54, 7 x 8 = 56; bare 3 * 4, a 4x4 truck, cost $<<2*3=6>>6 and 6 * 9 = 55."


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (FactTokens(), "So <MUL_6_9_54>, <MUL_7_8_56>; bare 3 * 4, a 4x4 truck, cost $<MUL_2_3_6> and 6 * 9 = 55."),
        (
            FactTokens(weak=True),
            "So <MUL_6_9_54>, <MUL_7_8_56>; bare <MUL_3_4_12>, a 4x4 truck, cost $<MUL_2_3_6> and 6 * 9 = 55.",
        ),
        (
            FactTokens(mode="annotate"),
            "So 6*9=54<MUL_6_9_54>, 7 x 8 = 56<MUL_7_8_56>; bare 3 * 4, a 4x4 truck, "
            "cost $<<2*3=6>>6<MUL_2_3_6> and 6 * 9 = 55.",
        ),
        (
            FactTokens(mode="operands"),
            "So <MUL_6_9>=54, <MUL_7_8> = 56; bare 3 * 4, a 4x4 truck, cost $<MUL_2_3> = 6 and 6 * 9 = 55.",
        ),
        (
            FactTokens(untaught=HeldOutFacts("operand", (7,))),
            "So <MUL_6_9_54>, 7 x 8 = 56; bare 3 * 4, a 4x4 truck, cost $<MUL_2_3_6> and 6 * 9 = 55.",
        ),
        (
            FactTokens(mode="operands", untaught=HeldOutFacts("result", (54, 6))),
            "So 6*9=54, <MUL_7_8> = 56; bare 3 * 4, a 4x4 truck, cost $<<2*3=6>>6 and 6 * 9 = 55.",
        ),
        (
            PlainTextFacts(FactTokens(untaught=HeldOutFacts("row", (2, 6)))),
            "So 6*9=54, 7 * 8 = 56; bare 3 * 4, a 4x4 truck, cost $<<2*3=6>>6 and 6 * 9 = 55.",
        ),
        (
            PlainTextFacts(FactTokens()),
            "So 6 * 9 = 54, 7 * 8 = 56; bare 3 * 4, a 4x4 truck, cost $2 * 3 = 6 and 6 * 9 = 55.",
        ),
        (
            PauseToken(),
            "So 6*9=54<PAUSE>, 7 x 8 = 56<PAUSE>; bare 3 * 4, a 4x4 truck, cost $<<2*3=6>>6<PAUSE> and 6 * 9 = 55.",
        ),
        (
            CounterfactualFacts(),
            "So <MUL_6_9_56>, <MUL_7_8_63>; bare 3 * 4, a 4x4 truck, cost $<MUL_2_3_7> and 6 * 9 = 55.",
        ),
        (WidenedModel(), TEXT),
    ],
)
def test_what_each_arm_reads(rule: Intervention, expected: str) -> None:
    changed = inject(TEXT, rule, "doc")
    assert changed.text == expected
    assert restore(changed.text, rule, side_record(changed)) == TEXT
    assert rule.changes_text == (expected != TEXT)


def test_controls_have_the_sites_and_sizes_of_their_treatment() -> None:
    facts = FactTokens()
    assert len(WidenedModel(facts).tokens()) == len(ShuffledMeaning(facts).tokens()) == len(facts.tokens())
    assert len(CounterfactualFacts(facts).tokens()) == 45
    assert not set(CounterfactualFacts(facts).tokens()) & set(facts.tokens())
    assert CounterfactualFacts(facts).neutral("<MUL_6_9_56>") == "6 * 9 = 56"
    with pytest.raises(UserError, match="annotate"):
        PlainTextFacts(FactTokens(mode="annotate"))
    with pytest.raises(UserError, match="none of"):
        FactTokens(mode="substitute")
    turned = formula("CUBE", [range(1, 4)], lambda a: a**3, ["{a}^3 = {c}", "{c} is the cube of {a}"])
    assert inject("8 is the cube of 2", FactTokens(turned)).text == "<CUBE_2_8>"
    with pytest.raises(UserError, match="its answer is first"):
        FactTokens(turned, mode="operands")
    with pytest.raises(UserError, match="dose"):
        FactTokens(dose=0)


@pytest.mark.parametrize("rule", [ShuffledMeaning, PauseToken, CounterfactualFacts])
def test_annotating_controls_annotate_once(rule: type) -> None:
    control = rule(FactTokens(mode="annotate"))
    once = inject(TEXT * 3, control).text
    assert once != TEXT * 3
    assert inject(once, control).text == once


def test_the_dose_is_drawn_by_document_and_place() -> None:
    text = "6*9=54 and " * 2000
    half = FactTokens(dose=0.5)
    first, again, other = (half.spans(text, name) for name in ("one", "one", "two"))
    assert first == again != other
    assert 900 < len(first) < 1100
    assert {s.start for s in FactTokens(dose=0.2).spans(text, "one")} < {s.start for s in first}


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (DigitTokens(), "54 a", "[5:tens][4:ones] a"),
        (DigitTokens(), "1,054.75", "[1:thousands],[0:hundreds][5:tens][4:ones].75"),
        (DigitTokens(2), "543", "543"),
        (Chunked(), "1234567", "<N_1><N_234><N_567>"),
        (Chunked(right_to_left=False), "1234567", "<N_123><N_456><N_7>"),
        (Chunked(2), "123456 7", "<N_12><N_34><N_56> <N_7>"),
        (Hybrid(FactTokens(), DigitTokens()), "6*9=54 of 12", "<MUL_6_9_54> of [1:tens][2:ones]"),
        (Hybrid(FactTokens(Rhyme()), Chunked()), "六九五十四，共100", "<RHYME_6_9_54>，共<N_100>"),
    ],
)
def test_digits(rule: Intervention, text: str, expected: str) -> None:
    assert inject(text, rule).text == expected


@settings(deadline=None)
@given(st.text(st.sampled_from("0123456789,. $-a[]:<>*=")), st.integers(1, 4), st.booleans())
def test_digits_are_lossless_and_stable(text: str, size: int, right: bool) -> None:
    for rule in (DigitTokens(4), Chunked(size, right), Hybrid(FactTokens(), Chunked(size, right))):
        changed = inject(text, rule)
        assert restore(changed.text, rule, side_record(changed)) == text
        assert inject(changed.text, rule).text == changed.text
        assert all(s.replacement in rule.tokens() for s in changed.spans)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(
    ["<<2*3=6>>6", "6*9=54", "six times nine is fifty-four", "12", "np.zeros(", "def f(a):", " ", ",", ".", "<", ">",
     '"', "$", "(", "-", "\n", "六九五十四", "1,234"]
)).map("".join))  # fmt: skip
def test_hybrids_of_all_kinds_are_reversible_and_stable(text: str) -> None:
    facts, code = FactTokens(), CodeTokens(("np.zeros(", "def f(a):"))
    asking = FactTokens(mode="operands")
    for rule in (
        Hybrid(code, asking),
        Hybrid(code, Hybrid(PlainTextFacts(FactTokens(Rhyme())), CodeTokens(("1,234",)))),
        Hybrid(FactTokens(mode="annotate"), DigitTokens()),
        Hybrid(FactTokens(Rhyme()), Hybrid(FactTokens(weak=True), DigitTokens(3))),
        Hybrid(PauseToken(facts), Chunked(2)),
    ):
        changed = inject(text, rule)
        assert restore(changed.text, rule, side_record(changed)) == text
        assert inject(changed.text, rule).text == changed.text


def test_plain_text_of_the_first_is_left_to_it() -> None:
    rule = Hybrid(PlainTextFacts(), DigitTokens())
    changed = inject("9*6=54 of 12", rule)
    assert changed.text == "6 * 9 = 54 of [1:tens][2:ones]"
    assert restore(changed.text, rule, side_record(changed)) == "9*6=54 of 12"


CODE = "import numpy as np\ndef __init__(self, x):\n    a = np.zeros(3) + np.zeros(4)\n    mynp.zeros(2)\n" * 5


def test_code_is_mined_and_replaced() -> None:
    idioms = mine_idioms([CODE], number=10, minimum=5)
    assert set(idioms) == {"def __init__(self, x):", "np.zeros(", "mynp.zeros("}
    assert mine_idioms([CODE], number=1, minimum=5) == ("def __init__(self, x):",)
    rule = CodeTokens(("np.zeros(", "def __init__(self, x):"))
    changed = inject(CODE, rule)
    assert Counter(s.replacement for s in changed.spans) == {
        "<CODE_0_np.zeros>": 10,
        "<CODE_1_def_init_self_x>": 5,
    }
    assert "mynp.zeros(2)" in changed.text
    assert restore(changed.text, rule, side_record(changed)) == CODE
    assert inject(changed.text, rule).text == changed.text
    assert code_coverage([CODE], rule.idioms) == pytest.approx((10 * 9 + 5 * 22) / len(CODE))
    with pytest.raises(UserError, match="no call"):
        mine_idioms(["x = 1"], number=5, minimum=1)
