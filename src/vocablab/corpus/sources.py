"""Where raw documents come from. A document is a name and a text; every arm gets the same ones in the same order."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vocablab.base.data import DataSet, HubFile, iterate_rows, read_rows
from vocablab.base.errors import UserError
from vocablab.base.random_streams import numpy_stream
from vocablab.corpus.prose import write_document

GSM8K_TRAIN = DataSet(
    local="gsm8k/train.jsonl",
    rows=7473,
    hub=HubFile("openai/gsm8k", "740312add88f781978c0658806c59bc2815b9866", "main/train-00000-of-00001.parquet"),
    title="GSM8K's training set",
)


@dataclass(frozen=True)
class Document:
    """One raw document."""

    name: str
    """Stable and unique in its corpus: the seed of everything drawn at random for it."""
    text: str
    """Its raw text."""
    source: str
    """Which source it came from."""


@dataclass(frozen=True)
class Source(ABC):
    """A source's config."""

    @abstractmethod
    def documents(self, data: Path | None, seed: int) -> Iterator[Document]:
        """Yield the source's documents in a fixed order.

        Args:
            data: the data directory, or None.
            seed: seed of the run; only generated text depends on it.
        """


@dataclass(frozen=True)
class GeneratedProse(Source):
    """Short everyday stories, some with a sum in them, written by templates: needs no data at all."""

    documents_count: int
    """How many documents."""
    dose: float
    """Share of documents that state products of the one-digit table; the rest are plain prose."""

    def documents(self, data: Path | None, seed: int) -> Iterator[Document]:
        for index in range(self.documents_count):
            rng = numpy_stream(seed, "prose", index)
            yield Document(f"prose-{index}", write_document(rng, self.dose), "generated prose")


@dataclass(frozen=True)
class GSM8KText(Source):
    """Questions and answers of GSM8K's training set, calculator annotations included. Never the test set."""

    def documents(self, data: Path | None, seed: int) -> Iterator[Document]:
        for index, row in enumerate(read_rows(GSM8K_TRAIN, data)):
            yield Document(f"gsm8k-train-{index}", f"{row['question']}\n{row['answer']}\n", "gsm8k train")


@dataclass(frozen=True)
class OpenStaxText(Source):
    """OpenStax textbooks, or, where the data directory has none, generated prose in their place."""

    max_bytes: int
    """Stop after the document that reaches this many bytes of raw text."""
    instead: GeneratedProse
    """What stands in where there is no OpenStax text."""

    def documents(self, data: Path | None, seed: int) -> Iterator[Document]:
        shards = sorted((data / "openstax").glob("openstax-[0-9]*.jsonl.zst")) if data else []
        if not shards:
            yield from self.instead.documents(data, seed)
            return
        taken = 0
        for shard in shards:
            for row in iterate_rows(shard):
                if "text" not in row or "id" not in row:
                    raise UserError(f"{shard}: a row has no 'id' or no 'text'.")
                yield Document(f"openstax-{row['id']}", row["text"], "openstax")
                taken += len(row["text"].encode())
                if taken >= self.max_bytes:
                    return


@dataclass(frozen=True)
class Corpus:
    """Sources put together, shuffled by seed, with a validation part split off by document name."""

    sources: tuple[Source, ...]
    """Where the documents come from."""
    validation_share: float
    """Share of documents held out for validation, chosen by a hash of the document's name."""
