"""Rule 5's ground: in every mode each raw byte belongs to exactly one token, and ids and forms give the text back."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_codec

from vocablab.facts.families import formula
from vocablab.vocab.code_tokens import CodeTokens
from vocablab.vocab.codec import Codec
from vocablab.vocab.inject import inject, restore, side_record
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.interventions import FactTokens, Hybrid, RhymeTokens, ShuffledMeaning, named_interventions

RULES: dict[str, Intervention] = {
    **named_interventions(),
    "half the dose": FactTokens(dose=0.5),
    "annotated sham": ShuffledMeaning(FactTokens(mode="annotate")),
    "cubes": FactTokens(formula("CUBE", [range(1, 9)], lambda a: a**3, ["{a}^3 = {c}"])),
    "code": CodeTokens(("np.zeros(", "def main():")),
    "rhyme and facts": Hybrid(RhymeTokens(), FactTokens()),
}
PARTS = st.sampled_from(
    ["6*9=54", "9 × 6 = 54", "<<2*4=8>>8", "六九五十四", "3^3 = 27", "7^2 = 49", "np.zeros(", "def main():", "12",
     "1,234", "3 + 4 = 7", "π * 2^2 = 4π", "<MUL_6_9_54>", "é", "\ud800", "\n", " ", ", ", "$", "🜨"]
)  # fmt: skip
TEXTS = st.lists(PARTS | st.text(max_size=4), max_size=10).map("".join)


@lru_cache
def codec(name: str) -> Codec:
    return make_codec(RULES[name])


def raw_bytes(text: str, ends: np.ndarray) -> list[bytes]:
    """The raw bytes that each token stands for."""
    starts = np.concatenate([[0], ends])[:-1].astype(int)
    return [text[a:b].encode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("name", RULES)
@settings(deadline=None, max_examples=40)
@given(text=TEXTS)
def test_every_byte_once(name: str, text: str) -> None:
    one = codec(name)
    encoded = one.encode(text, "d")
    assert b"".join(raw_bytes(text, encoded.ends)) == text.encode("utf-8", "surrogatepass")
    assert (np.diff(encoded.ends) >= 0).all()
    spans = one.intervention.spans(text, "d")
    standing = dict(zip(encoded.ends.tolist(), raw_bytes(text, encoded.ends), strict=True))
    for span in spans:
        raw = text[span.start : span.end]
        assert one.intervention.surface(span.replacement, span.form) == raw
        # The last token of a stretch ends where the stretch ends, and none ends inside it.
        assert span.end in standing or span.end == 0
        assert not any(span.start < end < span.end for end in standing)


@pytest.mark.parametrize("name", RULES)
@settings(deadline=None, max_examples=40)
@given(text=TEXTS)
def test_ids_and_forms_give_the_raw_text_back(name: str, text: str) -> None:
    one = codec(name)
    ids = one.encode(text, "d").ids
    injected = inject(text, one.intervention, "d")
    assert one.decode(ids) == injected.text
    assert restore(one.decode(ids), one.intervention, side_record(injected)) == text
    assert one.encode_batch([text], [injected.spans])[0].tolist() == ids.tolist()
