"""Families: their facts are right, and each form of each family is found, written back and refused when wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.base.config import from_json, to_json
from vocablab.base.errors import UserError
from vocablab.facts.families import (
    Addition,
    CircleArea,
    Division,
    Family,
    Multiplication,
    Rhyme,
    Squares,
    Subtraction,
    formula,
)
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.inject import inject, restore, side_record
from vocablab.vocab.intervention import Intervention

CUBES = formula("CUBE", [range(1, 11)], lambda a: a**3, ["{a}^3 = {c}", "the cube of {a} (is|equals) {c}"], ["{a}^3"])
FAMILIES: list[Family] = [
    Multiplication(), Multiplication(1, 12), Addition(), Subtraction(), Division(), Squares(), CircleArea(), Rhyme(),
    CUBES,
]  # fmt: skip
STATED = {
    "MUL": "6 times 9 is 54", "ADD": "six plus nine equals fifteen", "SUB": "15 − 6 = 9", "DIV": "54 ÷ 9 = 6",
    "SQUARE": "the square of 7 is 49", "AREA_CIRCLE": "area of a circle with radius 5 is 25 pi",
    "CUBE": "The cube of 3 is 27",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_the_canonical_text_of_every_fact_is_its_site(family: Family) -> None:
    rule = FactTokens(family)
    facts = family.facts(ordered=False)
    assert len(set(rule.tokens())) == len(facts)
    for token in rule.tokens():
        text = rule.neutral(token)
        assert inject(f"so {text}, then", rule).text == f"so {token}, then"
        assert inject(f"so 1 + {text}", rule).text == f"so 1 + {text}"


def test_sizes() -> None:
    assert [len(FactTokens(f).tokens()) for f in (Multiplication(), Multiplication(1, 12), Squares())] == [45, 78, 20]
    assert len(FactTokens(Multiplication(1, 99)).tokens()) == 4950
    assert len(FactTokens(ordered=True).tokens()) == 81
    assert len(FactTokens(Addition(), ordered=True).tokens()) == len(FactTokens(Division()).tokens()) == 81


@pytest.mark.parametrize("family", FAMILIES)
def test_forms_in_words_and_signs(family: Family) -> None:
    relation = family.facts(ordered=False)[0].relation
    text = f"Now {STATED[relation]}." if not isinstance(family, Rhyme) else "因为六乘九等于五十四。"
    changed = inject(text, FactTokens(family))
    assert len(changed.spans) == 1
    assert restore(changed.text, FactTokens(family), side_record(changed)) == text


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("六九五十四", "<RHYME_6_9_54>"), ("二三得六", "<RHYME_2_3_6>"), ("二五一十", "<RHYME_2_5_10>"),
        ("三四十二", "<RHYME_3_4_12>"), ("６×９＝５４", "<RHYME_6_9_54>"), ("6×9=54", "<RHYME_6_9_54>"),
        ("六乘九等于五十四", "<RHYME_6_9_54>"), ("九乘以六得五十四", "<RHYME_6_9_54>"),
        ("九九八十一", "<RHYME_9_9_81>"),
        ("二三六", None), ("十六九五十四", None), ("六九五十四万", None), ("六九五十五", None), ("一六九五十四", None),
        ("六九五十四分之一", None), ("六乘九等于五十四点五", None),
    ],
)  # fmt: skip
def test_the_rhyme(text: str, token: str | None) -> None:
    assert inject(f"口诀：{text}。", FactTokens(Rhyme())).text == f"口诀：{token or text}。"


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 900), st.sampled_from("+-*/"))
def test_only_right_answers(a: int, b: int, c: int, sign: str) -> None:
    family = {"+": Addition(), "-": Subtraction(), "*": Multiplication(), "/": Division()}[sign]
    right = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[sign]
    found = inject(f"{a} {sign} {b} = {c}", FactTokens(family)).spans
    known = any(f.operands in ((a, b), (b, a) if sign in "+*" else (a, b)) for f in family.facts(ordered=True))
    assert bool(found) == (right == c and known)


def test_a_declared_family_survives_json() -> None:
    rule = FactTokens(CUBES, weak=True)
    again = from_json(Intervention, to_json(rule))
    assert again == rule
    assert inject("3^3 and 2^3 = 8", again).text == "<CUBE_3_27> and <CUBE_2_8>"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "cube"}, "capitals"), ({"name": "MUL"}, "taken"), ({"forms": ["{a}^3"]}, "must name a, c"),
        ({"forms": ["{a} (is|=) {c}"]}, "canonical"), ({"answer": lambda a, b: a}, "does not take"),
        ({"answer": lambda a: a / 2}, "whole numbers"), ({"answer": lambda a: None}, "empty"),
        ({"forms": ["{a}^3 = {c}", "{a:klingon} cubed is {c}"]}, "no script is called klingon"),
        ({"forms": ["{a}^3 = {c}", "{a} (cubed is {c}"]}, "no meaning"), ({"forms": ["{a}^3 = {c}\n"]}, "no meaning"),
        ({"forms": ["{a:words}^3 = {c}"]}, "digits only"), ({"questions": ["{b}^3"]}, "must name a"),
        ({"answer": max}, "TypeError"), ({"operands": [["a"]]}, "not whole numbers"),
        ({"operands": [[-1]]}, "not whole numbers"), ({"operands": []}, "0 operands"), ({"operands": [[]]}, "empty"),
    ],
)  # fmt: skip
def test_a_bad_declaration_is_one_sentence(change: dict[str, object], message: str) -> None:
    good = {"name": "CUBE", "operands": [range(1, 4)], "answer": lambda a: a**3, "forms": ["{a}^3 = {c}"]}
    with pytest.raises(UserError, match=message):
        formula(**{**good, **change})  # type: ignore[arg-type]
