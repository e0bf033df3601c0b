"""The one extractor, rule 9."""

import pytest

from vocablab.tasks.answers import flexible_answer, normalise, same_answer, strict_answer


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
    ],
)
def test_answers_are_read(text: str, strict: str, flexible: str) -> None:
    assert strict_answer(text) == strict
    assert flexible_answer(text) == flexible


def test_a_failed_extraction_equals_nothing() -> None:
    assert not same_answer("", "")
    assert not same_answer("", "54")
    assert same_answer("54", "54")


@pytest.mark.parametrize(("number", "normal"), [("007", "7"), ("1,000", "1000"), ("-0", "0"), ("3.140", "3.14")])
def test_numbers_have_one_spelling(number: str, normal: str) -> None:
    assert normalise(number) == normal
