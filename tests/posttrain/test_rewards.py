"""What answers are worth: used tokens pay, spam does not, and planted faults in the reward are seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.base.errors import UserError
from vocablab.model.decoding import repetition
from vocablab.posttrain.rewards import Judge, stated_facts
from vocablab.posttrain.rl import TokenBonus
from vocablab.tasks.one_step import OneStep
from vocablab.tasks.task import Item, chat_prompt
from vocablab.vocab.codec import Codec
from vocablab.vocab.controls import CounterfactualFacts, ShuffledMeaning
from vocablab.vocab.digits import DigitTokens, Hybrid
from vocablab.vocab.intervention import Intervention, NoChange
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary

TASK = OneStep()
QUESTION = "6 boxes hold 9 pens each. How many pens?"
ITEM = Item("x", "x", "s", chat_prompt(QUESTION), " 6 * 9 = 54. The answer is 54.", "54")
PIECES = ["<MUL_6_9_54>", "<MUL_1_1_1>", "<MUL_2_3_6>", " 6", " 9", " 54", ". The answer is 54."]


def ids(codec: Codec, *parts: str) -> list[int]:
    """Token names and texts as ids."""
    found: list[int] = []
    for part in parts:
        added = codec.vocabulary.added_ids.get(part)
        found += [added] if added is not None else codec.vocabulary.encode_plain(part).ids.tolist()
    return found


def judged(codec: Codec, bonus: TokenBonus | None, *parts: str, item: Item = ITEM):  # type: ignore[no-untyped-def]
    return Judge(codec, TASK, bonus)(item, ids(codec, *parts))


def test_a_right_answer_with_the_fact_it_used(codec: Codec) -> None:
    found = judged(codec, TokenBonus(), " ", "<MUL_6_9_54>", ". The answer is 54.")
    assert found.correct == 1.0
    assert found.used == found.counted == ("<MUL_6_9_54>",)
    assert found.bonus == pytest.approx(0.1)
    assert found.reward == pytest.approx(1.1)
    assert found.idle == 0


def test_without_a_bonus_only_the_answer_counts(codec: Codec) -> None:
    found = judged(codec, None, " ", "<MUL_6_9_54>", ". The answer is 54.")
    assert found.reward == 1.0
    assert found.counted == ()
    assert found.used == ("<MUL_6_9_54>",)


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((" ", "<MUL_1_1_1>", "<MUL_1_1_1>", "<MUL_6_9_54>", ". 1 1. The answer is 54."), "it gives itself nothing"),
        ((" ", "<MUL_6_9_54>", "<MUL_6_9_54>", "<MUL_6_9_54>", ". The answer is 54."), "repeats count once"),
        ((" ", "<MUL_6_9_54>", "<MUL_2_3_6>", "<MUL_8_8_64>", ". The answer is 54."), "operands never stood before"),
    ],
)
def test_spam_earns_no_more_than_use(codec: Codec, parts: tuple[str, ...], why: str) -> None:
    found = judged(codec, TokenBonus(), *parts)
    assert found.reward == pytest.approx(1.1), why
    assert found.idle == len(found.emitted) - 1 > 0


def test_a_result_that_is_not_taken_up_is_not_used(codec: Codec) -> None:
    found = judged(codec, TokenBonus(), " The answer is 54. ", "<MUL_6_9_54>")
    assert found.used == ()
    assert found.idle == 1


def test_a_square_needs_its_operand_twice(codec: Codec) -> None:
    item = Item("y", "y", "s", chat_prompt("What is 6 plus 4?"), "", "36")
    assert judged(codec, TokenBonus(), " ", "<MUL_6_6_36>", ". The answer is 36.", item=item).used == ()
    twice = Item("y", "y", "s", chat_prompt("six boxes hold 6 pens each."), "", "36")
    assert judged(codec, TokenBonus(), " ", "<MUL_6_6_36>", ". The answer is 36.", item=twice).used == ("<MUL_6_6_36>",)


def test_chains_use_earlier_results(codec: Codec) -> None:
    item = Item("z", "z", "s", chat_prompt("2 bags hold 3 boxes of 9 pens."), "", "54")
    found = judged(codec, TokenBonus(), " ", "<MUL_2_3_6>", ". ", "<MUL_6_9_54>", ". The answer is 54.", item=item)
    assert found.used == ("<MUL_2_3_6>", "<MUL_6_9_54>")
    assert found.reward == pytest.approx(1.2)


def test_a_wrong_answer_earns_nothing_under_a_gate_and_something_without(codec: Codec) -> None:
    parts = (" ", "<MUL_6_9_54>", ". It is 54. The answer is 55.")
    assert judged(codec, TokenBonus(), *parts).reward == 0.0
    ungated = TokenBonus(gated=False, counts="any")
    assert judged(codec, ungated, *parts).reward == pytest.approx(0.1)
    spam = judged(codec, ungated, *["<MUL_1_1_1>"] * 9)
    assert spam.reward == pytest.approx(0.5)
    assert spam.idle == 9


@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_rewards_are_bounded_and_a_right_answer_beats_any_wrong_one(codec: Codec, parts: list[str]) -> None:
    for bonus in (None, TokenBonus(), TokenBonus(gated=False), TokenBonus(gated=False, counts="any")):
        found = judged(codec, bonus, *parts)
        assert 0 <= found.bonus <= 0.5
        assert found.reward >= 1.0 if found.correct else found.reward <= 0.5
        assert found.idle >= 0
        if bonus is not None and bonus.counts == "used":
            assert len(set(found.counted)) == len(found.counted)


def test_a_reward_from_text_without_special_tokens_would_miss_them(codec: Codec) -> None:
    """The planted fault: fact tokens stripped before the reward is asked. Ids keep them."""
    whole = ids(codec, " ", "<MUL_6_9_54>", ". The answer is 54.")
    stripped = [i for i in whole if i not in set(codec.vocabulary.added_ids.values())]
    judge = Judge(codec, TASK, TokenBonus())
    assert judge(ITEM, whole).reward == pytest.approx(1.1)
    assert judge(ITEM, stripped).reward == 1.0
    assert judge(ITEM, stripped).used == ()


def other(codec: Codec, rule: Intervention) -> Codec:
    return Codec(Vocabulary(codec.vocabulary.base, rule.tokens(), 512), rule)


def test_sham_and_planted_facts_state_nothing_true(codec: Codec) -> None:
    sham = other(codec, ShuffledMeaning(FactTokens()))
    assert stated_facts(sham) == {}
    placebo = TokenBonus(counts="any")
    found = judged(sham, placebo, " ", "<SHAM_03>", " 6 * 9 = 54. The answer is 54.")
    assert found.reward == pytest.approx(1.1)
    assert found.idle == 1
    planted = other(codec, CounterfactualFacts(FactTokens()))
    assert not any(stated.true for stated in stated_facts(planted).values())
    hybrid = other(codec, Hybrid(FactTokens(), DigitTokens()))
    assert len(stated_facts(hybrid)) == 45
    assert stated_facts(other(codec, FactTokens(mode="operands"))) == {}
    assert stated_facts(other(codec, NoChange())) == {}


def test_an_answer_above_half_a_right_one_is_refused() -> None:
    for wrong in ({"at_most": 0.6}, {"per_token": 0.0}, {"per_token": 0.6}, {"counts": "all"}):
        with pytest.raises(UserError, match="bonus"):
            TokenBonus(**wrong)  # type: ignore[arg-type]


def test_repetition() -> None:
    assert repetition([1, 2, 3]) == 0.0
    assert repetition(list(range(20))) == 0.0
    assert repetition([7] * 20) > 0.9


def test_results_of_plain_steps_are_known(codec: Codec) -> None:
    item = Item("w", "w", "s", chat_prompt("12 pens are halved; nine such boxes."), "", "54")
    parts = (" 12 / 2 = 6. ", "<MUL_6_9_54>", ". The answer is 54.")
    assert judged(codec, TokenBonus(), *parts, item=item).used == ("<MUL_6_9_54>",)
    assert judged(codec, TokenBonus(), " 6 6 6. ", *parts[1:], item=item).used == ()


def test_a_token_that_is_said_twice_does_not_take_up_itself(codec: Codec) -> None:
    """Planted spam: every fact of the problem's numbers, each said twice with a full stop between."""
    item = Item("v", "v", "s", chat_prompt("6, 9, 4 and 3 pens. How many are 6 times 9?"), "", "54")
    twice = [part for fact in ("<MUL_4_6_24>", "<MUL_4_9_36>", "<MUL_3_9_27>") for part in (fact, ". ", fact, ". ")]
    found = judged(codec, TokenBonus(), " ", *twice, "<MUL_6_9_54>", ". The answer is 54.", item=item)
    assert found.used == ("<MUL_6_9_54>",)
    assert found.bonus == pytest.approx(0.1)
    assert found.idle == 6
