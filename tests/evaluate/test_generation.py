"""Answers, against a loop over single tokens and planted favourites."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import TEXT

from vocablab.base.errors import UserError
from vocablab.evaluate.generation import Generation, Prompt, generate
from vocablab.evaluate.model import Loaded, load
from vocablab.vocab.codec import Codec

PROMPTS = [
    Prompt("a", "The answer"),
    Prompt("b", "how many?\nAssistant: 6 * 9 = 54. And"),
    Prompt("c", "G"),
    Prompt("d", TEXT * 3),
]


@torch.no_grad()
def greedy(theirs: Any, loaded: Loaded, prompt: Prompt, longest: int) -> list[int]:
    vocabulary = loaded.codec.vocabulary
    ids = [vocabulary.eos_id, *map(int, loaded.codec.encode(prompt.text, prompt.name).ids)][longest - loaded.context :]
    out: list[int] = []
    while len(out) < longest:
        logits = theirs(torch.tensor([ids + out])).logits[0, -1]
        out.append(int(logits[: vocabulary.size].argmax()))
        if out[-1] == vocabulary.eos_id:
            return out[:-1]
    return out


def test_answers_equal_a_loop_whatever_the_batch(loaded: Loaded, theirs: Any) -> None:
    expected = [greedy(theirs, loaded, prompt, 12) for prompt in PROMPTS]
    for batch_size in (1, 2, 16):
        answers = generate(loaded, PROMPTS, 12, batch_size=batch_size)
        assert [g.ids for g in answers] == expected
        assert [g.prompt_cut for g in answers] == [False, False, False, True]


def test_ids_without_a_token_are_never_emitted(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    vocabulary = codec.vocabulary
    assert vocabulary.padded_size > vocabulary.size
    model = load(favouring(vocabulary.size, codec), "cpu")
    assert model.nameless == list(range(vocabulary.size, vocabulary.padded_size))
    one = torch.zeros(1, 1, dtype=torch.long)
    favourite = model.reader.scores(model.reader.states(one, one, torch.zeros(1, 1, 1, 1))[0]).argmax()
    assert int(favourite) == vocabulary.size, "the fault must be planted"
    for answer in generate(model, PROMPTS, 5):
        assert all(i < vocabulary.size for i in answer.ids)
    for answer in generate(model, PROMPTS, 5, temperature=1.0):
        assert all(i < vocabulary.size for i in answer.ids)


def test_banned_ids_are_never_emitted(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    wanted = codec.vocabulary.added_ids["<MUL_6_9_54>"]
    model = load(favouring(wanted, codec), "cpu")
    assert all(g.ids == [wanted] * 5 for g in generate(model, PROMPTS, 5))
    added = list(codec.vocabulary.added_ids.values())
    assert not any(set(g.ids) & set(added) for g in generate(model, PROMPTS, 5, banned=added))


def test_the_first_token_can_be_limited(loaded: Loaded) -> None:
    allowed = (3, 9, 12)
    free = generate(loaded, PROMPTS[:1], 4)
    (limited,) = generate(loaded, [Prompt("a", PROMPTS[0].text, allowed)], 4)
    assert limited.ids[0] in allowed
    assert free[0].ids[0] not in allowed, "or the limit shows nothing"


def test_an_answer_ends_at_eos_and_says_whether_it_did(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    ends = load(favouring(codec.vocabulary.eos_id, codec), "cpu")
    assert all(g.ended_eos and not g.ids for g in generate(ends, PROMPTS, 5))
    goes_on = load(favouring(7, codec), "cpu")
    answers = generate(goes_on, PROMPTS, 6)
    assert all(not g.ended_eos and g.ids == [7] * 6 for g in answers)
    # Runs of four: three, of which one is new.
    assert answers[0].repetition == pytest.approx(2 / 3)


def test_repetition_of_short_and_of_varied_answers_is_nought() -> None:
    assert Generation([1, 1, 1], True, False).repetition == 0
    assert Generation(list(range(20)), True, False).repetition == 0


def test_samples_depend_on_their_seed_alone(loaded: Loaded) -> None:
    prompts = [Prompt("a", "The answer", seed=i) for i in range(30)]
    together = [g.ids for g in generate(loaded, prompts, 6, temperature=1.0, batch_size=7)]
    alone = [generate(loaded, [prompt], 6, temperature=1.0)[0].ids for prompt in prompts[:5]]
    assert together[:5] == alone
    assert len({tuple(ids) for ids in together}) > 20


def test_samples_follow_the_distribution(loaded: Loaded, theirs: Any) -> None:
    count, text = 3000, "The answer"
    ids = [loaded.codec.vocabulary.eos_id, *map(int, loaded.codec.encode(text).ids)]
    with torch.no_grad():
        logits = theirs(torch.tensor([ids])).logits[0, -1][: loaded.codec.vocabulary.size] / 2.0
    shares = logits.softmax(0)
    prompts = [Prompt("", text, seed=i) for i in range(count)]
    found = Counter(
        (g.ids or [loaded.codec.vocabulary.eos_id])[0] for g in generate(loaded, prompts, 1, temperature=2.0)
    )
    for index in shares.topk(5).indices.tolist():
        share = float(shares[index])
        assert found[index] / count == pytest.approx(share, abs=5 * (share * (1 - share) / count) ** 0.5)


def test_an_answer_without_room_for_a_prompt_is_refused(loaded: Loaded) -> None:
    with pytest.raises(UserError, match="lower the longest answer"):
        generate(loaded, PROMPTS, loaded.context)
