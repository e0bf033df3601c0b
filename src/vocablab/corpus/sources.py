"""Where raw documents come from. Every arm gets the same ones in the same order."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from vocablab.base.config import execution_only
from vocablab.base.data import DataSet, HubFile, locate, read_rows
from vocablab.base.errors import UserError
from vocablab.base.random_streams import numpy_stream
from vocablab.corpus.blocks import PIECES
from vocablab.corpus.files import PLAIN, TABLES, text_files
from vocablab.corpus.parts import FilePart, HubPart, Part, WrittenPart
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

    @property
    @abstractmethod
    def label(self) -> str:
        """A short name for records and documents."""

    @property
    def most_bytes(self) -> int | None:
        """How many bytes of raw text to take at most, the document that passes it included; None: no limit."""
        return None

    @abstractmethod
    def parts(self, data: Path | None, seed: int) -> list[Part]:
        """What the source consists of, in a fixed order.

        Args:
            data: the data directory, or None.
            seed: seed of the run; only generated text depends on it.

        Raises:
            UserError: if it is missing.
        """

    def ordered_parts(self, data: Path | None, seed: int) -> list[tuple[int, Part]]:
        """The parts, each with its number in `parts`, in the order in which a corpus takes them: that of the seed, so
        that who takes the beginning of a source takes a fair part of it."""
        parts = self.parts(data, seed)
        order = numpy_stream(seed, "parts", self.label).permutation(len(parts))
        return [(int(number), parts[int(number)]) for number in order]

    def documents(self, data: Path | None, seed: int) -> Iterator[Document]:
        """The source's documents in the order of `parts`, without those that are left out."""
        taken = 0
        for number, part in enumerate(self.parts(data, seed)):
            for raw in (raw for block in part.blocks(number) for raw in block.documents()):
                if raw.dropped:
                    continue
                yield Document(document_name(self.label, part.name, raw.position), raw.text, self.label)
                taken += len(raw.text.encode("utf-8", "surrogatepass"))
                if self.most_bytes is not None and taken >= self.most_bytes:
                    return


def document_name(source: str, part: str, position: int) -> str:
    """The stable name of a document: ``openstax/openstax-00.jsonl.zst/12``."""
    row, piece = divmod(position, PIECES)
    return "/".join(filter(None, [source, part, str(row)])) + (f"#{piece}" if piece else "")


@dataclass(frozen=True)
class Written(Source):
    """A source that writes its documents: needs no data at all."""

    @property
    @abstractmethod
    def number(self) -> int:
        """How many documents."""

    @abstractmethod
    def write(self, seed: int, index: int) -> str:
        """The document with this number."""

    def parts(self, data: Path | None, seed: int) -> list[Part]:
        return [WrittenPart("", 0, self, seed, self.number)]


@dataclass(frozen=True)
class GeneratedProse(Written):
    """Short everyday stories, some with a sum in them, written by templates."""

    documents_count: int
    """How many documents."""
    dose: float
    """Share of documents that state products of the one-digit table; the rest are plain prose."""

    @property
    def label(self) -> str:
        return "prose"

    @property
    def number(self) -> int:
        return self.documents_count

    def write(self, seed: int, index: int) -> str:
        return write_document(numpy_stream(seed, "prose", index), self.dose)


@dataclass(frozen=True)
class Files(Source):
    """A file, or every file below a directory: ``.jsonl`` (also ``.gz``, ``.zst``), ``.json``, ``.parquet``, plain
    text."""

    name: str
    """What records call it."""
    path: str = execution_only("")
    """Where it lies. What it holds is proved by the hash of its documents, so the place is not identity."""
    field: str | None = None
    """The field that holds the text; None: the first known one."""

    @property
    def label(self) -> str:
        return self.name

    def parts(self, data: Path | None, seed: int) -> list[Part]:
        path = Path(self.path)
        if not path.exists():
            raise UserError(f"--source {self.path}: there is no such file or directory.")
        return file_parts(path, self.field, "*")


@dataclass(frozen=True)
class Public(Source):
    """A public data set: a copy in the data directory, else streamed from the Hugging Face hub."""

    name: str
    """What records call it, and its folder in the data directory."""
    repository: str
    """``owner/name`` on the hub."""
    pattern: str = "**"
    """Which of its files, with ``*`` and ``**``."""
    revision: str = "main"
    """Commit it is pinned to; a branch is resolved to its commit, which the record holds."""
    field: str | None = None
    """The field that holds the text; None: the first known one."""

    @property
    def label(self) -> str:
        return self.name

    def parts(self, data: Path | None, seed: int) -> list[Part]:
        if data is not None and (data / self.name).exists():
            return file_parts(data / self.name, self.field, self.pattern)
        return self._hub_parts()

    def _hub_parts(self) -> list[Part]:
        from huggingface_hub import HfApi

        try:
            api = HfApi()
            commit = api.dataset_info(self.repository, revision=self.revision).sha
            fixed = self.pattern.partition("*")[0].rpartition("/")[0]
            tree = api.list_repo_tree(
                self.repository, fixed or None, repo_type="dataset", revision=commit, recursive=True
            )
            sizes = {f.path: f.size for f in tree if hasattr(f, "size") and _wanted(f.path, self.pattern)}
        except Exception as error:  # the hub's client raises dozens of kinds; the user can only do one thing
            raise UserError(
                f"{self.name} is missing: put a copy into {self.name}/ of the data directory (--data), or connect to "
                f"the Hugging Face hub, where it is {self.repository} ({type(error).__name__} on trying)."
            ) from None
        if not sizes:
            raise UserError(f"{self.repository} on the Hugging Face hub has no file {self.pattern} that holds text.")
        root = f"datasets/{self.repository}@{commit}"
        return [HubPart(name, sizes[name], f"{root}/{name}", self.field) for name in sorted(sizes)]


def file_parts(path: Path, field: str | None, pattern: str) -> list[Part]:
    """The parts of a local file or directory; a README is none.

    Raises:
        UserError: if there is nothing to read.
    """
    files = [path] if path.is_file() else text_files(path)
    root = path.parent if path.is_file() else path
    inside = [(file.relative_to(root).as_posix(), file) for file in files]
    # A copy may keep the hub's folders or not.
    chosen = [(name, file) for name, file in inside if _wanted(name, pattern)] or (
        [(name, file) for name, file in inside if fnmatch(name, PurePosixPath(pattern).name)]
    )
    if not chosen:
        raise UserError(f"{path} holds no file of documents ({', '.join((*TABLES, *PLAIN))}).")
    return [FilePart(name, file.stat().st_size, str(file), field) for name, file in chosen]


def _wanted(name: str, pattern: str) -> bool:
    readable = name.endswith((*TABLES, *PLAIN)) and not PurePosixPath(name).name.startswith("README")
    return readable and fnmatch(name, pattern)


@dataclass(frozen=True)
class GSM8KText(Source):
    """Questions and answers of GSM8K's training set, calculator annotations included. Never the test set."""

    @property
    def label(self) -> str:
        return "gsm8k"

    def parts(self, data: Path | None, seed: int) -> list[Part]:
        path = locate(GSM8K_TRAIN, data)
        read_rows(GSM8K_TRAIN, data)  # a copy that is short is refused
        return [FilePart("train", path.stat().st_size, str(path), None)]


@dataclass(frozen=True)
class OpenStaxText(Source):
    """OpenStax textbooks, or, where the data directory has none, generated prose in their place."""

    max_bytes: int
    """Stop after the document that reaches this many bytes of raw text."""
    instead: GeneratedProse
    """What stands in where there is no OpenStax text: the record's inputs then name it."""

    @property
    def label(self) -> str:
        return "openstax"

    @property
    def most_bytes(self) -> int | None:
        return self.max_bytes

    def parts(self, data: Path | None, seed: int) -> list[Part]:
        shards = sorted((data / "openstax").glob("openstax-[0-9]*.jsonl.zst")) if data else []
        if not shards:
            return [replace(part, name="generated-prose") for part in self.instead.parts(data, seed)]
        return [FilePart(path.name, path.stat().st_size, str(path), "text") for path in shards]
