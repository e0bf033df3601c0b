"""Numbers in words: strict readers, exact writers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.facts.numerals import SCRIPTS, WRITERS, Numeral, read, style_of


@given(st.integers(0, 99), st.sampled_from(sorted(WRITERS)))
def test_reading_inverts_writing(value: int, style: str) -> None:
    written = format(Numeral(value), style)
    assert read(written) == value or (value == 0 and style in "zy")
    found = style_of(written, value)
    assert found is not None
    assert format(Numeral(value), found) == written


@given(st.integers(0, 999_999))
def test_english_and_digits(value: int) -> None:
    for style in ("", "w", "W", "s", "f"):
        assert read(format(Numeral(value), style)) == value
    assert re.fullmatch(SCRIPTS["words"], format(Numeral(value), "w"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("fifty-four", 54), ("Fifty four", 54), ("one hundred and eight", 108), ("一十二", 12), ("十二", 12),
        ("五十", 50), ("５４", 54), ("054", None), ("fifty fifteen", None), ("four fifty", None), ("hundred", None),
        ("五四", None), ("twenty-zero", None), ("1" * 25, None), ("one hundred hundred", None),
    ],
)  # fmt: skip
def test_examples(text: str, value: int | None) -> None:
    assert read(text) == value
