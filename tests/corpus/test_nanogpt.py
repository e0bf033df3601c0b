"""nanoGPT's token files, there and back; and shards in five lines of numpy."""

from pathlib import Path

import numpy as np
import pytest
from support.corpora import build_corpus, matched
from support.shell import vocablab

from vocablab.base.errors import UserError
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.nanogpt import export_bin, import_bin
from vocablab.corpus.shards import read_split
from vocablab.corpus.sources import GeneratedProse
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base

CORPUS = Corpus((GeneratedProse(300, 0.2),), 0.1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    build_corpus(CORPUS, matched({"control": NoChange()}), out)
    return out


def test_there_and_back(corpus: Path, tmp_path: Path) -> None:
    sizes = export_bin(corpus / "control", tmp_path / "bin")
    tokens = np.fromfile(tmp_path / "bin/train.bin", dtype=np.uint16)  # as nanoGPT's train.py reads it
    before = read_split(corpus / "control/train")
    assert sizes["train.bin"] == len(tokens) == len(before.tokens)
    assert (tokens == before.tokens[0 : len(tokens)]).all()
    codec = matched({"control": NoChange()})["control"]
    for shard_tokens in (1 << 25, 3000):
        out = tmp_path / f"back{shard_tokens}"
        counts = import_bin(tmp_path / "bin", codec, out, shard_tokens)
        for split in ("train", "validation"):
            old, new = read_split(corpus / "control" / split), read_split(out / split)
            assert len(new.documents) == counts[split]["documents"] == len(old.documents)
            assert (new.tokens[0 : len(new.tokens)] == old.tokens[0 : len(old.tokens)]).all()
            # The text of a control arm is what its tokens decode to.
            for column in ("start", "tokens", "raw_bytes", "sha256", "lost_bits"):
                assert (new.documents[column] == old.documents[column]).all(), column
    assert len(list((tmp_path / "back3000/train").glob("*.tokens.npy"))) > 3


def test_what_does_not_fit_is_refused(corpus: Path, tmp_path: Path) -> None:
    codec = matched({"control": NoChange()})["control"]
    with pytest.raises(UserError, match=r"no train\.bin"):
        import_bin(tmp_path, codec, tmp_path / "out")
    (tmp_path / "train.bin").write_bytes(b"123")
    with pytest.raises(UserError, match="odd"):
        import_bin(tmp_path, codec, tmp_path / "a")
    np.array([5, 60_000], np.uint16).tofile(tmp_path / "train.bin")
    with pytest.raises(UserError, match="the vocabulary ends at"):
        import_bin(tmp_path, codec, tmp_path / "b")
    export_bin(corpus / "control", tmp_path / "bin")
    with pytest.raises(UserError, match="exists already"):
        export_bin(corpus / "control", tmp_path / "bin")
    wide = Codec(Vocabulary(codec.vocabulary.base, (), 2**17), NoChange())
    build_corpus(CORPUS, {"control": wide}, tmp_path / "wide")
    with pytest.raises(UserError, match="uint16"):
        export_bin(tmp_path / "wide/control", tmp_path / "bin2")
    assert read_split(tmp_path / "wide/control/train").tokens[0:1].dtype == np.uint32


def test_a_document_that_was_cut_off_is_kept(tmp_path: Path) -> None:
    codec = matched({"control": NoChange()})["control"]
    ids = codec.vocabulary.encode_plain("a document").ids
    eos = codec.vocabulary.eos_id
    np.array([*ids, eos, eos, *ids], np.uint16).tofile(tmp_path / "train.bin")
    assert import_bin(tmp_path, codec, tmp_path / "out")["train"] == {"documents": 3, "tokens": 2 * len(ids) + 2}
    rows = read_split(tmp_path / "out/train").documents
    assert rows["tokens"].tolist() == [len(ids) + 1, 1, len(ids)]
    assert rows["raw_bytes"].tolist() == [10, 0, 10]


def test_the_command_line_and_five_lines_of_numpy(tmp_path: Path) -> None:
    ids = Vocabulary(gpt2_base(), (), 50304).encode_plain("Hello from nanoGPT.").ids
    np.array([*ids, 50256], np.uint16).tofile(tmp_path / "train.bin")
    done = vocablab("shards", "import", str(tmp_path), "--out", str(tmp_path / "arm"))
    assert done.returncode == 0, done.stderr.decode()
    assert b"1 documents, 7 tokens" in done.stdout
    tokens = np.load(tmp_path / "arm/train/00000.tokens.npy", mmap_mode="r")
    documents = np.load(tmp_path / "arm/train/00000.documents.npy", mmap_mode="r")
    row = documents[0]
    found = tokens[row["start"] : row["start"] + row["tokens"]]
    assert found.tolist() == [*ids.tolist(), 50256]
    done = vocablab("shards", "export", str(tmp_path / "arm"), "--out", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "again/train.bin").read_bytes() == (tmp_path / "train.bin").read_bytes()
    assert (tmp_path / "again/val.bin").read_bytes() == b""
