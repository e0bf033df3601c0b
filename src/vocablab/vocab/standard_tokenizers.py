"""One vocabulary as the standard tokenizers of others, with the same ids in each.

In all of them the added tokens are found in the text by name, so that a prompt may hold ``<MUL_6_9_54>``. Our own
encoding of raw text never does that (see `vocablab.vocab.vocabulary`).
"""

from importlib import import_module
from typing import Any

from tokenizers import AddedToken, Tokenizer

from vocablab.base.errors import UserError
from vocablab.vocab.vocabulary import EOS, Vocabulary

GPT2_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
"""GPT-2's pre-tokenization as tiktoken's `r50k_base` writes it (github.com/openai/tiktoken)."""


def hugging_face_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    """The same vocabulary as one standard `tokenizer.json`: EOS special, added tokens ordinary and visible."""
    tokenizer = Tokenizer.from_str(vocabulary.base.to_str())
    tokenizer.add_special_tokens([AddedToken(EOS, special=True, normalized=False)])
    tokenizer.add_tokens(
        [AddedToken(name, special=False, normalized=False, lstrip=False, rstrip=False) for name in vocabulary.added]
    )
    for name, index in vocabulary.added_ids.items():
        if tokenizer.token_to_id(name) != index:
            raise UserError(f"the token {name} got id {tokenizer.token_to_id(name)} instead of {index}.")
    return tokenizer


def gigatoken_tokenizer(vocabulary: Vocabulary) -> Any:
    """The same vocabulary as a `gigatoken.Tokenizer`.

    Letters added in Unicode 17 are punctuation to gigatoken 0.10 (see `vocablab.vocab.batch_encoding`).

    Raises:
        UserError: if gigatoken is not installed.
    """
    return _package("gigatoken").Tokenizer.from_json(hugging_face_tokenizer(vocabulary).to_str())


def tiktoken_encoding(vocabulary: Vocabulary, name: str = "vocablab") -> Any:
    """The same vocabulary as a `tiktoken.Encoding`; encode with ``allowed_special="all"`` to find the added tokens.

    Raises:
        UserError: if tiktoken is not installed.
    """
    ranks = {vocabulary.token_bytes(i): i for i in range(vocabulary.base_size) if i != vocabulary.eos_id}
    return _package("tiktoken").Encoding(
        name,
        pat_str=GPT2_SPLIT,
        mergeable_ranks=ranks,
        special_tokens={EOS: vocabulary.eos_id, **vocabulary.added_ids},
    )


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise UserError(f"this needs the package {name}: pip install {name}.") from None
