"""Greedy answers, against a loop over single tokens and planted favourites."""

from collections.abc import Callable
from pathlib import Path

import torch
from support.models import TEXT

from vocablab.evaluate.generation import generate
from vocablab.evaluate.model import Loaded, load
from vocablab.vocab.codec import Codec

PROMPTS = [("a", "The answer"), ("b", "how many?\nAssistant: 6 * 9 = 54. And"), ("c", "G"), ("d", TEXT * 3)]


@torch.no_grad()
def greedy(loaded: Loaded, name: str, prompt: str, longest: int) -> list[int]:
    vocabulary = loaded.codec.vocabulary
    ids = [vocabulary.eos_id, *map(int, loaded.codec.encode(prompt, name).ids)][longest - loaded.context :]
    out: list[int] = []
    while len(out) < longest:
        logits = loaded.model(torch.tensor([ids + out])).logits[0, -1]
        out.append(int(logits[: vocabulary.size].argmax()))
        if out[-1] == vocabulary.eos_id:
            return out[:-1]
    return out


def test_answers_equal_a_loop_whatever_the_batch(loaded: Loaded) -> None:
    expected = [greedy(loaded, name, prompt, 12) for name, prompt in PROMPTS]
    for batch_size in (1, 2, 16):
        assert [g.ids for g in generate(loaded, PROMPTS, 12, batch_size)] == expected


def test_ids_without_a_token_are_never_emitted(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    vocabulary = codec.vocabulary
    assert vocabulary.padded_size > vocabulary.size
    directory = favouring(vocabulary.size, codec)
    model = load(directory, directory, "cpu")
    favourite = model.model(torch.tensor([[vocabulary.eos_id]])).logits[0, -1].argmax()
    assert int(favourite) == vocabulary.size, "the fault must be planted"
    for answer in generate(model, PROMPTS, 5, 2):
        assert all(i < vocabulary.size for i in answer.ids)


def test_an_answer_ends_at_eos_and_says_whether_it_did(codec: Codec, favouring: Callable[[int, Codec], Path]) -> None:
    ends = favouring(codec.vocabulary.eos_id, codec)
    assert all(g.ended_eos and not g.ids for g in generate(load(ends, ends, "cpu"), PROMPTS, 5, 4))
    goes_on = favouring(7, codec)
    assert all(not g.ended_eos and g.ids == [7] * 5 for g in generate(load(goes_on, goes_on, "cpu"), PROMPTS, 5, 4))
