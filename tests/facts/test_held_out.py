"""Facts held out by operand, result or row; tokens of untaught facts exist and stand nowhere."""

import pytest

from vocablab.base.config import from_json, to_json
from vocablab.base.errors import UserError
from vocablab.facts.families import Division, Multiplication, Squares
from vocablab.facts.held_out import HeldOutFacts
from vocablab.vocab.controls import ShuffledMeaning
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.intervention import Intervention

TABLE = Multiplication().facts(ordered=False)


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [
        (HeldOutFacts("operand", (7,)), [(a, 7) for a in range(1, 8)] + [(7, 8), (7, 9)]),
        (HeldOutFacts("row", (7,)), [(7, 7), (7, 8), (7, 9)]),
        (HeldOutFacts("result", (12, 49)), [(2, 6), (3, 4), (7, 7)]),
    ],
)
def test_which_products_are_held_out(held_out: HeldOutFacts, expected: list[tuple[int, int]]) -> None:
    assert sorted(fact.operands for fact in TABLE if fact in held_out) == sorted(expected)


def test_other_families() -> None:
    assert [f.operands for f in Squares().facts(ordered=False) if f in HeldOutFacts("row", (3,))] == [(3,)]
    assert {f.operands[1] for f in Division().facts(ordered=False) if f in HeldOutFacts("result", (1,))} == set(
        range(1, 10)
    )


@pytest.mark.parametrize(
    ("values", "words"), [((99,), "0 of 45 facts"), (tuple(range(1, 10)), "45 of 45 facts"), ((), "at least one")]
)
def test_some_facts_are_held_out_and_some_are_not(values: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        FactTokens(untaught=HeldOutFacts("operand", values))
    with pytest.raises(UserError, match="none of operand, result, row"):
        HeldOutFacts("column", (1,))


def test_a_sham_shows_as_many_tokens_as_are_taught() -> None:
    facts = FactTokens(untaught=HeldOutFacts("operand", (7,)))
    assert facts.taught == 36
    text = " ".join(f"{a} * {b} = {a * b}." for a in range(1, 10) for b in range(1, 10))
    spans = [s for n in range(20) for s in ShuffledMeaning(facts).spans(text, str(n))]
    assert len({s.replacement for s in spans}) == 36
    assert len(spans) == 20 * sum(a != 7 != b for a in range(1, 10) for b in range(1, 10))


def test_a_declaration_without_its_type_says_so() -> None:
    data = to_json(FactTokens(untaught=HeldOutFacts("row", (5,))))
    del data["untaught"]["type"]
    with pytest.raises(UserError, match=r"does not say its type: one of .*HeldOutFacts"):
        from_json(Intervention, data)


def test_it_is_declared_like_everything_else() -> None:
    rule = FactTokens(untaught=HeldOutFacts("result", (12, 49)))
    assert from_json(Intervention, to_json(rule)) == rule
    assert rule.tokens() == FactTokens().tokens()
    assert to_json(rule, identity_only=True) != to_json(FactTokens(), identity_only=True)
