"""The ways to answer: free, banned, forced, sampled, misled."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.models import make_codec

from vocablab.base.errors import UserError
from vocablab.evaluate.answering import Answering, score_answers
from vocablab.evaluate.forced_prefix import items_by_split, score_forced_prefix
from vocablab.evaluate.model import Loaded, load
from vocablab.evaluate.rows import Row
from vocablab.evaluate.run import token_use
from vocablab.facts.held_out import HeldOutFacts
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.task import Item
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens, NoChange

ITEM = Item(
    "q", "q", "table", "User: What is 6 times 9?\nAssistant:", " 6 * 9 = 54. The answer is 54.", "54",
    (" 6 * 9 = 54. The answer is 54.", " 6 * 9 = 63. The answer is 63."), 0, "MUL:6,9=54",
)  # fmt: skip
WORDS = Item("w", "w", "table", "User: How?\nAssistant:", " The answer is 12.", "12")


def rows_of(loaded: Loaded, *decodings: str, longest: int = 4, items: tuple[Item, ...] = (ITEM, WORDS)) -> list[Row]:
    how = Answering(decodings, longest, temperature=1.0, samples=3)
    return score_answers(loaded, Arithmetic(), items, "r", 8, how, [])


def test_free_and_banned(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    loaded = load(favouring(codec.vocabulary.added_ids["<MUL_6_9_54>"], codec), "cpu")
    free, _, banned, _ = rows_of(loaded, "free", "banned")
    assert (free.decoding, free.fact_tokens, free.n_fact_right) == ("free", ("<MUL_6_9_54>",) * 4, 4)
    used = token_use(rows_of(loaded, "free"))
    # Four in each of two answers; only one reference has it.
    assert used["fact_tokens_by_name"] == {"<MUL_6_9_54>": {"emitted": 8, "right": 4}}
    assert (used["adoption"], used["answers_ended"], used["reliance"]) == (1.0, 0.0, None)
    assert (banned.decoding, banned.fact_tokens) == ("banned", ())
    assert free.gold_bits == banned.gold_bits


def test_forced_puts_a_token_where_the_reference_has_one(loaded: Loaded) -> None:
    (forced,) = rows_of(loaded, "forced")
    # The item without a place for a token is not asked.
    assert (forced.item_id, forced.prompt) == ("q", ITEM.prompt + " ")
    assert forced.output.startswith("<MUL_")
    assert forced.n_fact_tokens >= 1


def test_nothing_is_forced_without_tokens(favouring: Callable[[int, Codec], Path]) -> None:
    control = make_codec(NoChange())
    assert rows_of(load(favouring(7, control), "cpu"), "forced") == []


def test_misled_answers_follow_or_not(favouring: Callable[[int, Codec], Path], codec: Codec) -> None:
    for own in (codec, make_codec(NoChange())):
        ends = load(favouring(own.vocabulary.eos_id, own), "cpu")
        (row,) = rows_of(ends, "counterfactual")
        planted = row.prompt.removeprefix(ITEM.prompt)
        assert planted != " 6 * 9 = 54"
        # It says nothing after the planted statement, whose own answer is not the model's.
        assert (row.metric, row.reliance, row.recomputed, row.acc, row.extracted) == ("reliance", 0.0, 0.0, None, "")
        # An arm with fact tokens reads a token, the other the equation: the same statement.
        tokens = own.encode(row.prompt, "arithmetic/q").ids
        assert any(i in own.vocabulary.added_ids.values() for i in tokens) == bool(own.vocabulary.added)
    for token, followed in ((f"<MUL_{'_'.join(re.findall('[0-9]+', planted))}>", 1.0), ("<MUL_6_9_54>", 0.0)):
        (row,) = rows_of(load(favouring(codec.vocabulary.added_ids[token], codec), "cpu"), "counterfactual")
        assert row.reliance == followed


def test_only_an_answer_that_rests_on_the_fact_can_be_misled(loaded: Loaded) -> None:
    longer = replace(ITEM, gold=" 6 * 9 = 54. And 3 more are 57. The answer is 57.", answer="57")
    assert rows_of(loaded, "counterfactual", items=(longer,)) == []


def test_samples_are_averaged(loaded: Loaded) -> None:
    first, again = (rows_of(loaded, "sampled", longest=6)[0] for _ in range(2))
    assert first == again
    assert (first.n_samples, first.decoding) == (3, "sampled")
    assert first.ended_share in (0, 1 / 3, 2 / 3, 1)


def test_rivals_give_a_probability_and_a_margin(loaded: Loaded) -> None:
    right, without = rows_of(loaded, "free")
    assert right.p_correct == pytest.approx(1 / (1 + 2.0 ** -(right.margin_bits or 0)))
    assert without.p_correct is None


def test_wrong_ways_are_refused() -> None:
    with pytest.raises(UserError, match="decoding 'forsed' is none of free"):
        Answering(("forsed",))
    with pytest.raises(UserError, match="none twice"):
        Answering(("free", "free"))


def test_forced_prefix_knows_a_planted_fact(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    loaded = load(favouring(codec.vocabulary.added_ids["<MUL_6_9_54>"], codec), "cpu")
    rows = {(row.mode, row.item_id): row for row in score_forced_prefix(loaded, "r", 16)}
    assert len(rows) == 90
    tokens = [row for (mode, _), row in rows.items() if mode == "token"]
    # It always says 6 x 9 = 54: right for that fact, wrong for the 44 others.
    assert [row.item_id for row in tokens if row.score] == ["MUL:6,9=54"]
    assert {row.extracted for row in tokens} == {"<MUL_6_9_54>"}
    pieces = rows[("pieces", "MUL:6,9=54")]
    assert (pieces.prompt, pieces.raw_bytes) == ("<MUL_6_9_", 3)
    assert pieces.n_tokens >= 2


def test_forced_prefix_asks_for_untaught_tokens_by_themselves(favouring: Callable[[int, Codec], Path]) -> None:
    rule = FactTokens(untaught=HeldOutFacts("operand", (7,)))
    rows = score_forced_prefix(load(favouring(7, make_codec(rule)), "cpu"), "r", 16)
    hidden = {fact.key for fact in rule.family.facts(ordered=False) if 7 in fact.operands}
    assert {row.item_id for row in rows if row.split == "untaught"} == hidden
    assert items_by_split(rule) == {"facts": 36, "untaught": 9}
    for split, count in items_by_split(rule).items():
        assert sum(row.split == split for row in rows) == 2 * count
    assert not items_by_split(NoChange())


def test_forced_prefix_needs_fact_tokens(favouring: Callable[[int, Codec], Path]) -> None:
    assert score_forced_prefix(load(favouring(7, make_codec(NoChange())), "cpu"), "r", 16) == []
