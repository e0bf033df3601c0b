"""Our decoding gives the tokens of transformers' `generate`, whatever is under way beside a prompt."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from vocablab.base.errors import UserError
from vocablab.model import decoding
from vocablab.model.decoding import Answer, Decoder, Request
from vocablab.model.hugging_face import from_hugging_face
from vocablab.model.hugging_face_config import config_from_hugging_face
from vocablab.model.reader import NetworkReader, Reader, TransformersReader

ROWS, EOS, CONTEXT = 61, 60, 80


def spread(model: Any) -> Any:
    """Weights so far apart that no two tokens are nearly alike; EOS comes now and then."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)
    return model.eval()


def made(kind: str) -> Any:
    shared = {"vocab_size": ROWS, "eos_token_id": EOS, "bos_token_id": EOS}
    if kind == "gpt2":
        return spread(GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=CONTEXT, **shared)))
    sizes = {
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32,
        "intermediate_size": 48, "max_position_embeddings": CONTEXT,
    }  # fmt: skip
    if kind == "qwen3":
        return spread(Qwen3ForCausalLM(Qwen3Config(head_dim=8, tie_word_embeddings=False, **sizes, **shared)))
    return spread(LlamaForCausalLM(LlamaConfig(**sizes, **shared)))


def reader_of(model: Any, own: bool) -> Reader:
    if not own:
        return TransformersReader(model)
    config = config_from_hugging_face(model.config.to_dict())
    network = config.network(ROWS)
    network.load_state_dict(from_hugging_face(config, model.state_dict()))
    return NetworkReader(network.eval())


MODELS = {kind: made(kind) for kind in ("gpt2", "qwen3", "llama")}
READERS = {
    "gpt2": reader_of(MODELS["gpt2"], True),
    "gpt2 of transformers": reader_of(MODELS["gpt2"], False),
    "qwen3": reader_of(MODELS["qwen3"], True),
    "qwen3 of transformers": reader_of(MODELS["qwen3"], False),
    "llama of transformers": reader_of(MODELS["llama"], False),
}


def theirs(kind: str, prompt: list[int], longest: int) -> Answer:
    config = GenerationConfig(max_new_tokens=longest, do_sample=False, eos_token_id=EOS, pad_token_id=EOS)
    with torch.no_grad():
        out = MODELS[kind].generate(torch.tensor([prompt]), generation_config=config)[0, len(prompt) :].tolist()
    ended = EOS in out
    return Answer(out[: out.index(EOS)] if ended else out, ended)


prompts = st.lists(st.lists(st.integers(0, ROWS - 2), min_size=1, max_size=30), min_size=1, max_size=9)


@pytest.mark.parametrize("name", READERS)
@settings(deadline=None, max_examples=12)
@given(found=prompts, slots=st.integers(1, 10), guesses=st.sampled_from([0, 1, 4]), longest=st.integers(1, 40))
def test_answers_are_those_of_generate(
    name: str, found: list[list[int]], slots: int, guesses: int, longest: int
) -> None:
    decoder = Decoder(READERS[name], eos=EOS, guesses=guesses)
    answers = decoder.answers([Request(prompt, longest) for prompt in found], slots)
    assert answers == [theirs(name.split(maxsplit=1)[0], prompt, longest) for prompt in found]


def test_a_model_that_repeats_itself_is_guessed_and_stays_the_same() -> None:
    prompt = [1, 2, 3, 4, 5] * 4
    plain, guessed = (Decoder(CountingReader(READERS["gpt2"]), eos=EOS, guesses=guesses) for guesses in (0, 4))
    answers = [decoder.answers([Request(prompt, 60)]) for decoder in (plain, guessed)]
    assert answers[0] == answers[1]
    assert len(set(answers[0][0].ids)) < 30, "the model must repeat itself, or the test shows nothing"
    assert guessed._reader.passes < plain._reader.passes  # type: ignore[attr-defined]


class CountingReader(Reader):
    """Counts the passes of another reader."""

    def __init__(self, inner: Reader) -> None:
        self.inner, self.passes = inner, 0
        self.context, self.vocabulary, self.position_bytes = inner.context, inner.vocabulary, inner.position_bytes
        self.device, self.dtype = inner.device, inner.dtype

    def states(self, *args: Any) -> torch.Tensor:
        self.passes += 1
        return self.inner.states(*args)

    def scores(self, states_ND: torch.Tensor) -> torch.Tensor:
        return self.inner.scores(states_ND)


def test_answers_of_different_lengths_and_limits() -> None:
    decoder = Decoder(READERS["gpt2"], eos=EOS)
    requests = [Request([i % 50, 3, i % 7], 1 + i % 23) for i in range(60)]
    assert decoder.answers(requests, 8) == [theirs("gpt2", list(r.ids), r.max_new_tokens) for r in requests]


def test_banned_and_first_ids() -> None:
    decoder = Decoder(READERS["qwen3"], eos=EOS, banned=list(range(0, ROWS - 1, 2)))
    answers = decoder.answers([Request([1, 2], 20), Request([4], 20, first=(5, 7))])
    assert all(i % 2 for answer in answers for i in answer.ids)
    assert answers[1].ids[0] in (5, 7)


def test_an_answer_may_fill_the_context_and_no_more() -> None:
    decoder = Decoder(READERS["gpt2"], eos=EOS)
    (answer,) = decoder.answers([Request([1] * 10, CONTEXT - 10)])
    assert answer == theirs("gpt2", [1] * 10, CONTEXT - 10)
    with pytest.raises(UserError, match="leaves no room for 71 new ones"):
        decoder.answers([Request([1] * 10, CONTEXT - 9)])
    with pytest.raises(UserError, match="has no token"):
        decoder.answers([Request([], 3)])


def test_a_sample_of_one_prompt_does_not_depend_on_its_neighbours() -> None:
    decoder = Decoder(READERS["gpt2"], eos=EOS)
    requests = [Request([1, 2, i % 5], 15, temperature=1.0, seed=i) for i in range(20)]
    together = decoder.answers(requests, 6)
    assert together[3] == decoder.answers([requests[3]])[0]
    assert together == decoder.answers(requests, 20)


def test_rows_are_as_many_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [Request([1, 2, i % 9], 30) for i in range(40)]
    plenty = Decoder(READERS["gpt2"], eos=EOS).answers(requests)
    reader = CountingReader(READERS["gpt2"])
    # Two blocks of keys and of values, 32 numbers of 4 bytes each.
    assert READERS["gpt2"].position_bytes == READERS["gpt2 of transformers"].position_bytes == 2 * 2 * 32 * 4
    assert READERS["qwen3"].position_bytes == READERS["qwen3 of transformers"].position_bytes == 2 * 2 * 2 * 8 * 4
    monkeypatch.setattr(decoding, "MOST_MEMORY", 3 * 33 * reader.position_bytes)
    decoder = Decoder(reader, eos=EOS)
    assert decoder._rows(requests, 64) == 3
    assert decoder.answers(requests) == plenty


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(sorted(READERS)),
    st.lists(
        st.tuples(st.sampled_from([(1, 2, 3), (1, 2, 4), (5,), (7, 8, 9, 10, 11)]), st.integers(0, 3), st.booleans()),
        min_size=1, max_size=14,
    ),
    st.integers(1, 6),
)  # fmt: skip
def test_a_prompt_that_several_have_is_read_once_and_answered_for_each(
    kind: str, asked: list[tuple[tuple[int, ...], int, bool]], slots: int
) -> None:
    decoder = Decoder(READERS[kind], eos=EOS)
    requests = [Request(ids, 9, [20, 21, 22] if chosen else None, float(seed > 0), seed) for ids, seed, chosen in asked]
    together = decoder.answers(requests, slots)
    assert together == [decoder.answers([request])[0] for request in requests]
