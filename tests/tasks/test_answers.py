"""The one extractor, rule 9."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.facts.numerals import FULL_WIDTH, write_english
from vocablab.tasks.answers import (
    first_answer,
    first_spelled,
    flexible_answer,
    leading_answer,
    leading_spelled,
    normalise,
    same_answer,
    single_answer,
    strict_answer,
    value,
)


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        (" 6 * 9 = 54. The answer is 54.", "54", "54"),
        ("She has <<9*2=18>>18 eggs.\n#### 18", "18", "18"),
        ("#### 1,080.50", "1080.5", "1080.5"),
        ("#### $18.00", "18", "18"),
        ("#### -3", "-3", "-3"),
        ("#### 5\n#### 7", "7", "7"),
        ("The answer is fifty.", "", ""),
        ("so 12 apples, then 7", "", "7"),
        ("The answer is 12, not 13", "12", "13"),
        ("<<6*9=54>>", "", ""),
        ("", "", ""),
        ("####", "", ""),
        ("He ate 5/6 of it", "", "6"),
        ("#### 5/6", "5", "6"),
        ("20%", "", "20"),
        ("答案：１２．５", "12.5", "12.5"),
        ("共１，０８０元", "", "1080"),
        ("3，400", "", "400"),
    ],
)
def test_answers_are_read(text: str, strict: str, flexible: str) -> None:
    assert strict_answer(text) == strict
    assert flexible_answer(text) == flexible


@pytest.mark.parametrize(
    ("text", "strict", "flexible"),
    [
        ("44×20=880，答案是880。", "880", "880"),
        ("答案是(3/4)", "3/4", "3/4"),
        ("答案是 ((3)/(4))。", "3/4", "3/4"),
        ("答案：1(5/6)吨", "11/6", "11/6"),
        ("答案为1((5)/(6))", "11/6", "11/6"),
        ("答案是15％。", "15%", "15%"),
        ("答案是６／８", "3/4", "3/4"),
        ("答案是-(1/2)", "-1/2", "-1/2"),
        ("答案是5。所以答案是：7，不是8。", "7", "8"),
        ("84-2", "", "2"),
        ("剩下10/2/5", "", "5"),
        ("0.5/2", "", "2"),
        ("答案是5/0", "", ""),
        ("没有答案", "", ""),
        ("#### 12", "12", "12"),
    ],
)
def test_chinese_answers_are_read_with_fractions(text: str, strict: str, flexible: str) -> None:
    assert strict_answer(text, fractions=True) == strict
    assert flexible_answer(text, fractions=True) == flexible


@pytest.mark.parametrize(
    ("text", "leading", "first"),
    [
        (" 54.", "54", "54"),
        (" 54\n\nQ: What is 7 times 8?\n\nA: 56", "54", "54"),
        (" -164", "-164", "-164"),
        (" the result is 54", "", "54"),
        (" 6 * 9 = 54. Next", "6", "54"),
        (" 54 = 6 * 9", "54", "54"),
        (" nothing", "", ""),
    ],
)
def test_bare_continuations_are_read_from_their_start(text: str, leading: str, first: str) -> None:
    assert leading_answer(text) == leading
    assert first_answer(text) == first


@pytest.mark.parametrize(
    ("text", "leading", "first"),
    [
        (" fifty-four.", "54", "54"),
        (" fifty four and six times ten is sixty", "54", "54"),
        (" one hundred and eight", "108", "108"),
        (" 54, or so", "54", "54"),
        (" surely Fifty-Four", "", "54"),
        (" 6 * 9 = 54", "6", "54"),
        (" often", "", ""),
        (" hundred", "", ""),
    ],
)
def test_answers_in_words_are_read(text: str, leading: str, first: str) -> None:
    assert leading_spelled(text) == leading
    assert first_spelled(text) == first


@given(st.integers(0, 999_999))
def test_every_spelled_number_is_read(number: int) -> None:
    assert leading_spelled(f" {write_english(number)}.") == str(number)


def test_a_failed_extraction_equals_nothing() -> None:
    assert not same_answer("", "")
    assert not same_answer("", "54")
    assert same_answer("54", "54")


@given(st.text(max_size=60), st.text(max_size=60), st.booleans())
def test_any_text_is_read_without_an_error_and_a_failure_equals_nothing(a: str, b: str, fractions: bool) -> None:
    for read in (strict_answer, flexible_answer):
        first, second = read(a, fractions=fractions), read(b, fractions=fractions)
        assert same_answer(first, second) == (first != "" and second != "" and value(first) == value(second))
    for bare in (leading_answer, first_answer, leading_spelled, first_spelled, single_answer):
        assert bare(a) == "" or value(bare(a)) is not None


@given(st.text("0123456789０９．，,.()/%-=是答案： 41", max_size=40))
def test_texts_full_of_numbers_are_read_without_an_error(text: str) -> None:
    for answer in (strict_answer(text, fractions=True), flexible_answer(text, fractions=True), single_answer(text)):
        assert answer == "" or value(answer) is not None
        assert normalise(answer) == answer


@pytest.mark.parametrize(
    ("number", "normal"),
    [("007", "7"), ("1,000", "1000"), ("-0", "0"), ("3.140", "3.14"), ("(2/4)", "1/2"), ("4/2", "2"), ("15.0%", "15%")],
)
def test_numbers_have_one_spelling(number: str, normal: str) -> None:
    assert normalise(number) == normal


@given(st.integers(-(10**12), 10**12), st.integers(0, 4))
def test_every_way_to_write_a_decimal_is_one_number(units: int, places: int) -> None:
    number = Fraction(units, 10**places)
    plain = f"{'-' if units < 0 else ''}{abs(units) // 10**places}.{abs(units) % 10**places:0{places or 1}d}"
    sign, digits = ("-", plain[1:]) if units < 0 else ("", plain)
    whole, _, rest = digits.partition(".")
    for written in (plain, f"{sign}${int(whole):,}.{rest}", f"{sign}{digits.translate(FULL_WIDTH)}", plain + "00"):
        assert value(normalise(written)) == number
        assert normalise(normalise(written)) == normalise(written) == normalise(plain)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_every_way_to_write_a_fraction_is_one_number(whole: int, over: int, under: int) -> None:
    for written in (f"{over}/{under}", f"({over}/{under})", f"(({over})/({under}))"):
        assert value(single_answer(written)) == Fraction(over, under)
        assert value(flexible_answer(f"得{written}。", fractions=True)) == Fraction(over, under)
    for written in (f"{whole}({over}/{under})", f"{whole}(({over})/({under}))"):
        assert value(single_answer(written)) == whole + Fraction(over, under)
        assert value(strict_answer(f"答案是{written}。", fractions=True)) == whole + Fraction(over, under)


@pytest.mark.parametrize(("a", "b"), [("0.5", "1/2"), ("15%", "0.15"), ("100%", "1"), ("11/6", "11/6"), ("3", "3")])
def test_answers_are_compared_by_value(a: str, b: str) -> None:
    assert same_answer(a, b)
    assert same_answer(b, a)
    assert not same_answer(a, "7")


def test_near_and_very_long_numbers_are_different() -> None:
    assert not same_answer("0.333333333333333333", "1/3")
    assert not same_answer("15", "15%")
    assert not same_answer("9" * 6000, "9" * 6001)
    assert flexible_answer("9" * 6000, fractions=True) == "9" * 6000


@pytest.mark.parametrize("text", ["列式为3-5", "(45+39)/(45-39)", "2-5", "", "5 apples", "1/2/3"])
def test_an_expression_is_no_single_answer(text: str) -> None:
    assert single_answer(text) == ""
