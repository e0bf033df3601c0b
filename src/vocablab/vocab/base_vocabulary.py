"""Where an arm's base tokens come from; the same for every arm of a study."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import Tokenizer, pre_tokenizers, trainers

from vocablab.base.errors import UserError
from vocablab.vocab.vocabulary import EOS, bpe_tokenizer, gpt2_base


@dataclass(frozen=True)
class BaseVocabulary(ABC):
    """A base vocabulary's config."""

    @property
    @abstractmethod
    def expected_size(self) -> int:
        """Number of tokens it will have, EOS included: for planning before it is built."""

    @abstractmethod
    def build(self, texts: Iterable[str]) -> Tokenizer:
        """The base tokenizer.

        Args:
            texts: the raw training documents, for a vocabulary that is trained; others do not read them.
        """


@dataclass(frozen=True)
class GPT2Vocabulary(BaseVocabulary):
    """GPT-2's own 50,257 tokens."""

    @property
    def expected_size(self) -> int:
        return 50257

    def build(self, texts: Iterable[str]) -> Tokenizer:
        return gpt2_base()


@dataclass(frozen=True)
class TrainedBPE(BaseVocabulary):
    """A byte-level BPE trained on the raw corpus, before any intervention."""

    size: int
    """Number of tokens, the 256 bytes and EOS included."""

    @property
    def expected_size(self) -> int:
        return self.size

    def build(self, texts: Iterable[str]) -> Tokenizer:
        if self.size < 257:
            raise UserError(f"base_vocabulary.size: {self.size} is below the 256 bytes and {EOS}.")
        tokenizer = bpe_tokenizer({}, [])
        trainer = trainers.BpeTrainer(
            vocab_size=self.size - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        # Lone surrogates cannot reach the trainer; they are spelled in bytes when encoding.
        tokenizer.train_from_iterator((t.encode("utf-8", "replace").decode() for t in texts), trainer)
        vocab = tokenizer.get_vocab()
        if len(vocab) < self.size - 1:
            raise UserError(
                f"base_vocabulary.size: {self.size} are declared, the corpus has text for {len(vocab) + 1} tokens."
            )
        model = json.loads(tokenizer.to_str())["model"]
        merges = [(left, right) for left, right in model["merges"]]
        # EOS is a plain entry that no merge reaches: a literal in a text is never encoded as it.
        return bpe_tokenizer({**vocab, EOS: len(vocab)}, merges)
