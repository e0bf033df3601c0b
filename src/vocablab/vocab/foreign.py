"""The tokenizer of a model that vocablab did not make, as a codec without an intervention."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer

from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.vocabulary import Encoded, Vocabulary


@dataclass(frozen=True)
class ForeignVocabulary(Vocabulary):
    """Any fast tokenizer of the Hugging Face ecosystem; a raw text never becomes one of its special tokens."""

    end_id: int = -1
    """Id of its end-of-text token."""

    @cached_property
    def eos_id(self) -> int:  # type: ignore[override]
        return self.end_id

    def encode_plain(self, text: str) -> Encoded:
        # A lone surrogate cannot reach the tokenizer; one character takes its place, so that offsets hold.
        clean = "".join("�" if "\ud800" <= c <= "\udfff" else c for c in text) if not text.isascii() else text
        encoding = self.base.encode(clean, add_special_tokens=False)
        ends = np.maximum.accumulate(np.array([end for _, end in encoding.offsets], dtype=np.int64))
        return Encoded(np.array(encoding.ids, dtype=np.int32), ends)

    def encode_plain_many(self, texts: list[str]) -> list[Encoded]:
        return [self.encode_plain(text) for text in texts]

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        return str(self.base.decode([int(i) for i in ids], skip_special_tokens=False))


@dataclass(frozen=True)
class ForeignCodec(Codec):
    """Text to ids and back with a foreign tokenizer."""

    def render(self, ids: Sequence[int] | np.ndarray) -> str:
        return str(self.vocabulary.base.decode([int(i) for i in ids], skip_special_tokens=True))


def foreign_codec(tokenizer: Tokenizer, end_id: int, rows: int) -> ForeignCodec:
    """The codec of a foreign model.

    Args:
        tokenizer: its tokenizer; a copy is changed to spell special tokens out.
        end_id: id of its end-of-text token.
        rows: rows of the model's head.
    """
    own = Tokenizer.from_str(tokenizer.to_str())
    # A literal <|endoftext|> in a text is text (rule 1).
    own.encode_special_tokens = True
    own.no_truncation()
    own.no_padding()
    return ForeignCodec(ForeignVocabulary(own, (), max(rows, own.get_vocab_size()), end_id), NoChange())
