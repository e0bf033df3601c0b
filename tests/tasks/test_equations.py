"""Equations are worked exactly, and nothing in them is run."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.tasks.equations import work_out, written


@pytest.mark.parametrize(
    ("equation", "value"),
    [
        ("x=44*20", Fraction(880)),
        ("2.75-1(5/6)+3(1/4)-2(1/6)", Fraction(2)),
        ("x=3.14*[(3+2)^2-3^2]", Fraction("50.24")),
        ("x=9*0.8/(1+20%)", Fraction(6)),
        ("x=6000/(1+(3/5))", Fraction(3750)),
        ("x=1:4", Fraction(1, 4)),
        ("( ( 7.0 - 2.0 ) * 3.0 )", Fraction(15)),
        ("x=(12/4)*3", Fraction(9)),
        ("10-2-3", Fraction(5)),
        ("24/4/2", Fraction(3)),
    ],
)
def test_values(equation: str, value: Fraction) -> None:
    found = work_out(equation)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "equation",
    ["", "x=", "1/0", "(1/0)", "1(2/0)", "2^99999", "2^0.5", "(1+2", "1+2)", "(1]", "1 2", "a+1", "__import__('os')",
     "-1", "1+", "(" * 5000],
)  # fmt: skip
def test_what_is_no_equation_is_left_alone(equation: str) -> None:
    assert work_out(equation) is None


@given(st.text("0123456789+-*/()[]^%.x= ", max_size=30))
def test_any_text_is_worked_out_or_refused(equation: str) -> None:
    found = work_out(equation)
    assert found is None or isinstance(found.value, Fraction)


@given(st.integers(0, 999), st.integers(0, 999), st.integers(1, 999))
def test_steps_lead_to_the_value(a: int, b: int, c: int) -> None:
    found = work_out(f"({a}+{b})*{c}")
    assert found is not None
    assert found.value == (a + b) * c
    assert [step.result for step in found.steps] == [str(a + b), str((a + b) * c)]
    assert (found.steps[1].left, found.steps[1].right) == (str(a + b), str(c))


@pytest.mark.parametrize(
    ("number", "text"),
    [(Fraction(3, 20), "0.15"), (Fraction(2, 3), "(2/3)"), (Fraction(2250), "2250"), (Fraction(-1), "-1")],
)
def test_numbers_are_written_exactly(number: Fraction, text: str) -> None:
    assert written(number) == text
