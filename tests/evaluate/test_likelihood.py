"""Bits, against a loop that asks the model for one token at a time."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import TEXT, make_codec
from transformers import AutoModelForCausalLM

from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.likelihood import next_token_bits, score_continuations, score_documents
from vocablab.evaluate.model import Loaded, load
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.reader import NetworkReader
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import named_interventions

PAIRS = [
    ("a", "The answer is", " 54 apples."),
    ("b", "", "Grüße 九九"),
    ("c", "The answer is 5", "4 apples"),
    ("d", "6 * 9 = ", "54. User"),
    ("e", "how many?\nAssistant:", " 7*8=56 again."),
    ("f", "x", "\ud800"),
]


@torch.no_grad()
def one_by_one(theirs: Any, ids: list[int], first: int) -> float:
    """Bits of ids[first:], each asked for by itself."""
    bits = 0.0
    for at in range(first, len(ids)):
        logits = theirs(torch.tensor([ids[:at]])).logits[0, -1].double()
        bits -= float(torch.log_softmax(logits, 0)[ids[at]]) / math.log(2)
    return bits


def by_hand(theirs: Any, loaded: Loaded, name: str, prompt: str, continuation: str) -> float:
    encoded = loaded.codec.encode(prompt + continuation, name)
    ids = [loaded.codec.vocabulary.eos_id, *map(int, encoded.ids)]
    first = 1 + int(np.searchsorted(encoded.ends, len(prompt), side="right"))
    spans = [s for s in loaded.codec.intervention.spans(prompt + continuation, name) if s.end > len(prompt)]
    return one_by_one(theirs, ids, first) + loaded.forms.bits(spans)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_bits_equal_a_token_by_token_loop(loaded: Loaded, theirs: Any, batch_size: int) -> None:
    for pair, found in zip(PAIRS, score_continuations(loaded, PAIRS, batch_size), strict=True):
        assert found.bits == pytest.approx(by_hand(theirs, loaded, *pair), rel=1e-5)
        assert found.raw_bytes == len(pair[2].encode("utf-8", "surrogatepass"))


def test_a_merge_across_the_boundary_is_scored_whole(loaded: Loaded) -> None:
    apart, fused = score_continuations(loaded, [("a", "The answer is", " 54 apples"), PAIRS[2]], 2)
    ids = loaded.codec.encode(PAIRS[2][1] + PAIRS[2][2]).ids
    assert any(loaded.codec.decode([int(i)]).strip() == "54" for i in ids), "the vocabulary must merge 54"
    assert fused.n_tokens == apart.n_tokens


def test_a_fact_token_across_the_boundary_is_scored(loaded: Loaded) -> None:
    (found,) = score_continuations(loaded, [("d", "6 * 9 = ", "54")], 1)
    assert found.n_tokens == 1
    assert found.bits > 0


@settings(deadline=None, max_examples=60)
@given(text=st.text(min_size=1, max_size=12), cut=st.integers(0, 11))
def test_no_continuation_is_ever_empty(loaded: Loaded, text: str, cut: int) -> None:
    cut = min(cut, len(text) - 1)
    (found,) = score_continuations(loaded, [("h", text[:cut], text[cut:])], 1)
    assert found.n_tokens > 0
    assert found.bits > 0


def test_long_documents_score_every_token_once(loaded: Loaded, theirs: Any) -> None:
    (found,) = score_documents(loaded, [("long", TEXT * 5)], 3)
    encoded = loaded.codec.encode(TEXT * 5, "long").ids
    assert len(encoded) > 2 * loaded.context
    assert found.n_tokens == len(encoded) + 1  # the closing EOS
    eos = loaded.codec.vocabulary.eos_id
    ids = [eos, *map(int, encoded), eos]
    expected = loaded.forms.bits(loaded.codec.intervention.spans(TEXT * 5, "long"))
    for start in range(0, len(ids) - 1, loaded.context):
        expected += one_by_one(theirs, ids[start : start + loaded.context + 1], 1)
    assert found.bits == pytest.approx(expected, rel=1e-5)


def test_a_uniform_model_costs_a_fixed_price_per_token_in_every_arm(loaded: Loaded) -> None:
    uniform = GPT2Config(1, 2, 16, 48).build(loaded.codec.vocabulary.padded_size, 0)
    with torch.no_grad():
        for parameter in uniform.parameters():
            parameter.zero_()
    arm = replace(loaded, reader=NetworkReader(uniform))
    control = replace(arm, codec=make_codec(NoChange()), forms=FormCode(Counter()))
    for which in (arm, control):
        (found,) = score_documents(which, [("t", TEXT)], 4)
        spans = which.codec.intervention.spans(TEXT, "t")
        price = math.log2(which.codec.vocabulary.padded_size)
        assert found.bits == pytest.approx(found.n_tokens * price + which.forms.bits(spans), rel=1e-6)


def test_lost_forms_are_charged_in_the_continuation_only(loaded: Loaded) -> None:
    free = replace(loaded, forms=FormCode(Counter({"{a}*{b}={c}": 10**9})))
    pair = ("e", "how many? 6 * 9 = 54.", " 7*8=56 again.")
    charged, cheap = (score_continuations(which, [pair], 1)[0].bits for which in (loaded, free))
    # 2 of 8 forms, plus half a count for each of the two and for an unseen one (Krichevsky-Trofimov).
    assert charged - cheap == pytest.approx(-math.log2(2.5 / 9.5), abs=1e-3)


def test_a_long_prompt_is_cut_from_the_left(loaded: Loaded, theirs: Any) -> None:
    (found,) = score_continuations(loaded, [("long", TEXT * 5, " again")], 1)
    ids = loaded.codec.encode(TEXT * 5 + " again", "long").ids
    assert found.bits == pytest.approx(
        one_by_one(theirs, list(map(int, ids[-loaded.context - 1 :])), loaded.context + 1 - found.n_tokens), rel=1e-5
    )


def test_a_continuation_longer_than_the_context_is_read_in_windows(loaded: Loaded) -> None:
    for text in (TEXT * 5, TEXT * 2):
        (found,) = score_continuations(loaded, [("long", "x", text)], 1)
        assert found.n_tokens == int((loaded.codec.encode("x" + text, "long").ends > 1).sum())
        assert found.bits > 0


@settings(deadline=None, max_examples=40)
@given(words=st.lists(st.integers(1, 60), min_size=1, max_size=6), prompt=st.integers(0, 60), batch=st.integers(1, 5))
def test_sharing_a_prompt_and_batches_change_nothing(loaded: Loaded, words: list[int], prompt: int, batch: int) -> None:
    text = TEXT[:prompt]
    pairs = [("p", text, TEXT[k : k + k % 37 + 1]) for k in words]
    together = score_continuations(loaded, pairs, batch)
    for pair, one in zip(pairs, together, strict=True):
        (alone,) = score_continuations(loaded, [pair], 1)
        assert one.n_tokens == alone.n_tokens
        assert one.bits == pytest.approx(alone.bits, rel=1e-5)


def test_without_the_token_before_it_a_prompt_begins_bare(loaded: Loaded, theirs: Any) -> None:
    (found,) = score_continuations(loaded, [("a", "The answer is", " 54 apples.")], 1, bare=True)
    encoded = loaded.codec.encode("The answer is 54 apples.", "a")
    first = int(np.searchsorted(encoded.ends, len("The answer is"), side="right"))
    assert found.bits == pytest.approx(one_by_one(theirs, list(map(int, encoded.ids)), first), rel=1e-5)
    # Nothing comes before an empty prompt's continuation but the end of another text.
    empty, begun = (score_continuations(loaded, [("a", "", "54 apples")], 1, bare=bare)[0] for bare in (True, False))
    assert empty == begun


def test_outside_counts_neither_tokens_nor_bytes_of_replacements(loaded: Loaded, theirs: Any) -> None:
    text = "So 6 * 9 = 54, and 7*8=56 again."
    (whole,), (outside,) = (score_documents(loaded, [("d", text)], 1, outside=o) for o in (False, True))
    spans = loaded.codec.intervention.spans(text, "d")
    assert len(spans) == 2
    assert whole.n_tokens - outside.n_tokens == 2
    assert outside.raw_bytes == len(text) - sum(span.end - span.start for span in spans)
    eos = loaded.codec.vocabulary.eos_id
    ids = [eos, *map(int, loaded.codec.encode(text, "d").ids), eos]
    inside = sum(
        one_by_one(theirs, ids[: at + 1], at)
        for at, i in enumerate(ids)
        if i in loaded.codec.vocabulary.added_ids.values()
    )
    assert outside.bits == pytest.approx(whole.bits - inside - loaded.forms.bits(spans), rel=1e-4)


def test_the_next_token_among_some(loaded: Loaded, theirs: Any) -> None:
    ids = list(loaded.codec.vocabulary.added_ids.values())[:3]
    bits = next_token_bits(loaded, [("a", "The answer is"), ("b", "x")], ids, 2)
    start = [loaded.codec.vocabulary.eos_id, *map(int, loaded.codec.encode("x").ids)]
    for j, index in enumerate(ids):
        assert bits[1, j] == pytest.approx(one_by_one(theirs, [*start, index], len(start)), rel=1e-5)


@pytest.mark.parametrize("name", named_interventions())
def test_documents_in_every_mode_cost_each_token_once_and_every_lost_form(name: str, tmp_path: Path) -> None:
    """Rule 5 in all modes: a document costs the bits of its tokens, asked for one at a time, and of its forms."""
    codec = make_codec(named_interventions()[name])
    model = GPT2Config(1, 2, 16, 64).build(codec.vocabulary.padded_size, 0)
    export(model, codec, tmp_path, FormCode(Counter({"{a} * {b} = {c}": 6, "{a}*{b}={c}": 2})), {})
    loaded = load(tmp_path, "cpu")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    text = "So 9*6=54, 3 + 4 = 7, 7^2 = 49, 六九五十四 é."
    (found,) = score_documents(loaded, [("d", text)], 2)
    eos = codec.vocabulary.eos_id
    ids = [eos, *map(int, codec.encode(text, "d").ids), eos]
    spans = codec.intervention.spans(text, "d")
    assert found.bits == pytest.approx(one_by_one(theirs, ids, 1) + loaded.forms.bits(spans), rel=1e-4)
    assert found.raw_bytes == len(text.encode())
    assert found.n_tokens == len(ids) - 1
