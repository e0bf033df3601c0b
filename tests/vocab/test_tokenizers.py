"""One vocabulary, four tokenizers, the same ids; and many added tokens at no cost."""

import itertools
import statistics
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from vocablab.base.data import iterate_rows
from vocablab.export.hugging_face import write_tokenizer
from vocablab.facts.families import Multiplication
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.inject import inject
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.standard_tokenizers import gigatoken_tokenizer, hugging_face_tokenizer, tiktoken_encoding
from vocablab.vocab.vocabulary import EOS, Vocabulary, gpt2_base, padded

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
FACTS = FactTokens(ordered=True)


@lru_cache
def vocabulary(trained: bool = False) -> Vocabulary:
    texts = (f"the {i} hens of barn {i * 7} lay {i} * 2 = {i * 2} eggs, all's well" for i in range(400))
    base = TrainedBPE(600).build(texts) if trained else gpt2_base()
    return Vocabulary(base, FACTS.tokens(), padded(base.get_vocab_size() + 81))


@lru_cache
def tokenizers(trained: bool) -> tuple[Any, Any, Any]:
    words = vocabulary(trained)
    return hugging_face_tokenizer(words), gigatoken_tokenizer(words), tiktoken_encoding(words)


def all_ids(texts: list[str], trained: bool = False) -> dict[str, list[list[int]]]:
    """Ids by each tokenizer that finds added tokens by name."""
    hugging_face, gigatoken, tiktoken = tokenizers(trained)
    return {
        "tokenizers": [e.ids for e in hugging_face.encode_batch(texts)],
        "gigatoken": gigatoken.encode_batch_list(texts),
        "tiktoken": [tiktoken.encode(text, allowed_special="all") for text in texts],
    }


@lru_cache
def documents() -> list[str]:
    """10,000 documents: word problems in English and Chinese, HellaSwag, textbook pages."""
    rows = itertools.chain(
        (f"{r['question']}\n{r['answer']}" for r in iterate_rows(DATA / "gsm8k/test.jsonl")),
        (r["question"] for r in itertools.islice(iterate_rows(DATA / "gsm8k/train.jsonl"), 3000)),
        (
            f"{r['ctx']} {r['endings'][0]}"
            for r in itertools.islice(iterate_rows(DATA / "hellaswag/hellaswag_val.jsonl"), 3000)
        ),
        (str(r) for r in iterate_rows(DATA / "cmath/cmath_dev.jsonl")),
        (r["text"] for r in itertools.islice(iterate_rows(DATA / "openstax/openstax-val.jsonl.zst"), 81)),
        (line for line in (DATA / "ape210k/valid.ape.json").read_text(encoding="utf-8").split("\n")[:2000]),
    )
    found = list(rows)[:10_000]
    assert len(found) == 10_000
    return found


@needs_data
def test_the_same_ids_on_ten_thousand_documents() -> None:
    shown = [inject(text, FACTS).text for text in documents()]
    assert sum("<MUL_" in text for text in shown) > 300
    found = all_ids(shown)
    codec = Codec(vocabulary(), FACTS)
    ours = codec.encode_batch(documents(), [FACTS.spans(text, "") for text in documents()])
    assert found["gigatoken"] == found["tokenizers"] == found["tiktoken"] == [row.tolist() for row in ours]


PARTS = st.sampled_from(["<MUL_6_9_54>", EOS, "<MUL_", " ", "  ", "\n", "'s", "'", "a", "6", "\u3000", "\u0301", "é"])
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"])) | PARTS, max_size=8).map("".join)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.booleans())
def test_the_same_ids_on_random_unicode(text: str, trained: bool) -> None:
    found = all_ids([text, "x"], trained)
    assert found["gigatoken"] == found["tokenizers"] == found["tiktoken"]


def test_the_batch_path_agrees_on_every_character() -> None:
    """Planes 4 to 16 hold no letters and never will (Unicode reserves them for tags and private use)."""
    words = vocabulary()
    texts = [f"{chr(i)}'s {chr(i)}1" for i in range(0x40000) if not 0xD800 <= i < 0xE000]
    fast = words.encode_plain_batch(texts)
    theirs = words.base.encode_batch_fast(texts, add_special_tokens=False)
    assert np.array_equal(np.concatenate([row.ids for row in theirs]), fast.ids)
    assert np.array_equal(np.cumsum([0, *(len(row.ids) for row in theirs)]), fast.offsets)


def test_gigatoken_alone_would_not_agree() -> None:
    """The planted fault of the test above: without the detour the newest letters are split differently."""
    letters = [f"{chr(i)}'s" for i in range(0x323B0, 0x323F0)]
    theirs = gigatoken_tokenizer(vocabulary()).encode_batch_list(letters)
    assert theirs != [e.ids for e in vocabulary().base.encode_batch(letters)]
    assert [row.tolist() for row in vocabulary().encode_plain_batch(letters)] == [
        e.ids for e in vocabulary().base.encode_batch(letters)
    ]


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec=None)) | st.sampled_from(["6*9=54", "\ud800", ""]), max_size=6))
def test_batches_of_any_texts_agree(texts: list[str]) -> None:
    codec = Codec(vocabulary(), FACTS)
    spans = [FACTS.spans(text, "") for text in texts]
    for row, text, found in zip(codec.encode_batch(texts, spans), texts, spans, strict=True):
        assert row.dtype == np.int32
        assert row.tolist() == codec.encode_spans(text, found).ids.tolist()


def test_without_gigatoken_the_ids_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from vocablab.vocab import batch_encoding

    def missing(name: str) -> None:
        raise ImportError(name)

    expected = vocabulary().encode_plain_batch(["a b", "", "六 9"])
    monkeypatch.setattr(batch_encoding, "import_module", missing)
    found = batch_encoding.BatchEncoder(vocabulary().base).encode(["a b", "", "六 9"])
    assert np.array_equal(found.ids, expected.ids)
    assert np.array_equal(found.offsets, expected.offsets)


def test_added_tokens_are_seen_and_keep_their_spaces(tmp_path: Path) -> None:
    write_tokenizer(Codec(vocabulary(), FACTS), tmp_path, 1024)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text in (" <MUL_6_9_54> ", "a<MUL_6_9_54><MUL_9_6_54>b", "\n <MUL_1_1_1>\t.", "so  <MUL_2_3_6>  , 's"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert ids == all_ids([text])["tiktoken"][0]
    assert tokenizer.decode([*tokenizer("a")["input_ids"], tokenizer.eos_token_id], skip_special_tokens=True) == "a"


def test_ten_thousand_tokens_load_fast_and_cost_nothing(tmp_path: Path) -> None:
    many = FactTokens(Multiplication(1, 100), ordered=True)
    base = gpt2_base()
    words = Vocabulary(base, many.tokens(), padded(base.get_vocab_size() + 10_000))
    write_tokenizer(Codec(words, many), tmp_path, 1024)
    loads = []
    for _ in range(3):
        began = time.perf_counter()
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        loads.append(time.perf_counter() - began)
    # The best of three: what else a busy machine does is not the tokenizer's cost.
    assert min(loads) < 2
    assert len(tokenizer) == 60_257
    texts = [f"On day {i} the farm sold {i * 7} eggs; it's a quiet place, all in all. " * 20 for i in range(400)]
    plain = Tokenizer.from_str(base.to_str())
    wide = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ratios = []
    for _ in range(9):
        seconds = []
        for one in (plain, wide):
            began = time.process_time()
            one.encode_batch_fast(texts, add_special_tokens=False)
            seconds.append(time.process_time() - began)
        ratios.append(seconds[0] / seconds[1])
    # 10 % is promised; a busy machine may double the noise, never the median of nine pairs.
    assert statistics.median(ratios) > 0.9


def test_a_tokenizer_that_is_made_anew_gives_the_same_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    from vocablab.vocab import batch_encoding

    monkeypatch.setattr(batch_encoding, "RENEW_BYTES", 1000)
    encoder = batch_encoding.BatchEncoder(gpt2_base())
    first = encoder._fast
    texts = [f"word{i} and 六 {i} é" * 5 for i in range(100)]
    found = [encoder.encode(texts).ids.tolist() for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert encoder._fast is not first
