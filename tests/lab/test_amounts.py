"""Amounts on the command line."""

import pytest

from vocablab.base.errors import UserError
from vocablab.lab.amounts import amount


def test_what_people_write() -> None:
    said = {"500000": 500_000, "1_000": 1000, "1,000": 1000, "20M": 20_000_000, "1.5b": 1_500_000_000, "2k": 2000}
    assert {text: amount("--tokens", text) for text in said} == said


@pytest.mark.parametrize("text", ["", "0", "M", "-5", "ten", "nan", "inf", "1e30", "5T"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UserError, match="--tokens"):
        amount("--tokens", text)
