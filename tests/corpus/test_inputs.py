"""Odd inputs: everything that is left out is counted by reason, and past a rate the corpus is refused."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import build_corpus, matched

from vocablab.base.errors import RunError, UserError
from vocablab.corpus import blocks, parts
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.shards import read_split
from vocablab.corpus.sources import Files, document_name
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens

GOOD = [f"A good document, the {i}th of them: {i % 9 + 1} * 2 = {(i % 9 + 1) * 2}." for i in range(400)]


def lines(texts: list[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def documents(path: Path, field: str | None = None) -> list[str]:
    return [d.text for d in Files("source", str(path), field).documents(None, 0)]


def counts_of(path: Path, tmp_path: Path) -> dict[str, Any]:
    corpus = Corpus((Files("source", str(path)),), 0.1)
    return build_corpus(corpus, matched({"control": NoChange(), "mul_facts": FactTokens()}), tmp_path / "out")


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(data)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "a.json", "a.txt"])
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(parts, "READ_BYTES", 700)
    path = tmp_path / name
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"id": list(range(400)), "text": GOOD}), path, row_group_size=70)
    elif name.endswith(".json"):
        path.write_text(json.dumps([{"text": text} for text in GOOD]))
    elif name.endswith(".txt"):
        path.write_text(GOOD[0])
    else:
        data = lines(GOOD)
        path.write_bytes({"gz": lambda d: compressed(d, "gzip"), "zst": lambda d: compressed(d, "zstd")}.get(
            name.rsplit(".", maxsplit=1)[-1], lambda d: d)(data))  # fmt: skip
    assert documents(path) == (GOOD[:1] if name.endswith(".txt") else GOOD)
    assert documents(tmp_path) == documents(path)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compressed_files_of_several_frames_are_read_to_their_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / {"gzip": "a.jsonl.gz", "zstd": "a.jsonl.zst"}[kind]
    path.write_bytes(compressed(lines(GOOD[:150]), kind) + compressed(lines(GOOD[150:]), kind))
    assert documents(path) == GOOD


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=12), st.integers(1, 90), st.booleans())
def test_blocks_cut_nothing(texts: list[str], size: int, final: bool) -> None:
    data = lines(texts)
    data = data if final else data[:-1]
    pieces = iter([data[i : i + size] for i in range(0, len(data), size)])
    before = parts.BLOCK_BYTES
    parts.BLOCK_BYTES = 50
    try:
        found = list(parts._line_blocks(pieces))
    finally:
        parts.BLOCK_BYTES = before
    assert b"".join(block or b"" for block, _ in found) == data
    assert sum(number for _, number in found) == len(texts)


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    odd = [
        b'{"text": "   "}', b'{"text": ""}', b'{"text": broken', b'{"title": "no text"}', b"[1, 2]",
        b'{"text": "caf\xe9"}', b'{"text": null}',
    ]  # fmt: skip
    kept = [
        b'{"text": "a literal <|endoftext|> and <MUL_6_9_54>"}', b'{"text": "a lone \\ud83d surrogate"}', b"", b"  ",
    ]  # fmt: skip
    many = [f"filler {i}" for i in range(2000)]
    path.write_bytes(b"\n".join([*odd, *kept]) + b"\n" + lines(many))
    found = counts_of(path, tmp_path)
    assert found["dropped"] == {"empty": 2, "malformed line": 2, "no text field": 2, "invalid UTF-8": 1}
    assert found["noticed"] == {"literal <|endoftext|>": 1, "lone surrogate": 1}
    arm = found["arms"]["control"]
    assert arm["train"]["documents"] + arm["validation"]["documents"] == 2002
    # EOS stands at the end of documents only.
    codec = matched({"control": NoChange()})["control"]
    for split in ("train", "validation"):
        shard = read_split(tmp_path / "out/control" / split)
        tokens = shard.tokens[0 : len(shard.tokens)]
        assert int((tokens == codec.vocabulary.eos_id).sum()) == len(shard.documents)


def test_past_a_rate_the_corpus_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(GOOD) + b"broken\n" * 5)
    with pytest.raises(RunError, match=r"5 of 405 documents of source source were dropped .5 malformed line"):
        counts_of(path, tmp_path)
    path.write_bytes(b"\n\n")
    with pytest.raises(RunError, match="no document that can be used"):
        counts_of(path, tmp_path)


def test_a_file_that_cannot_be_read_is_counted_and_refused(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jsonl").write_bytes(lines([f"{number} {text}" for text in GOOD]))
    (folder / "broken.jsonl.zst").write_bytes(compressed(lines(GOOD), "zstd")[:-40])
    with pytest.raises(RunError, match=r"cannot be read, or not to their end: broken\.jsonl\.zst"):
        counts_of(folder, tmp_path)
    (folder / "broken.jsonl.zst").write_bytes(b"no zstd at all")
    found = counts_of(folder, tmp_path)  # 14 bytes of 100,000: below the rate, and counted
    assert found["dropped"] == {"unreadable file: broken.jsonl.zst": 1}
    (folder / "broken.parquet").write_bytes(os.urandom(5000))
    with pytest.raises(RunError, match=r"broken\.parquet"):
        build_corpus(Corpus((Files("s", str(folder)),), 0.1), matched({"a": NoChange()}), tmp_path / "b")


def test_a_damaged_row_group_is_counted_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [text * 20 for text in GOOD]}), path, row_group_size=100, compression="none")
    offset = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    raws = [raw for block in Files("s", str(path)).parts(None, 0)[0].blocks(0) for raw in block.documents()]
    assert len(raws) == 400
    assert sum(bool(raw.dropped) for raw in raws) == 100
    with pytest.raises(RunError, match="dropped"):
        counts_of(path, tmp_path)


def test_cells_that_are_no_utf8_are_counted(tmp_path: Path) -> None:
    binary = pa.array([b"caf\xe9", *(text.encode() for text in GOOD)], pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(binary), binary.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "a.parquet")
    found = counts_of(tmp_path / "a.parquet", tmp_path)
    assert found["dropped"] == {"invalid UTF-8": 1}


def test_a_long_document_is_cut_and_nothing_of_it_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_CHARACTERS", 1000)
    texts = ["a line of words\n" * 300, "word " * 500, "x" * 3500, "short"]
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(texts))
    found = documents(path)
    assert "".join(found) == "".join(texts)
    assert max(map(len, found)) <= 1000
    assert all(piece.endswith("\n") for piece in found[:4])
    names = [d.name for d in Files("s", str(path)).documents(None, 0)]
    assert len(set(names)) == len(names)
    assert names[:2] == ["s/a.jsonl/0", "s/a.jsonl/0#1"]
    assert document_name("s", "", 4096 * 7) == "s/7"
    path.write_bytes(lines([*texts, *GOOD]))
    assert counts_of(path, tmp_path)["noticed"]["later piece of a long document"] == len(found) - 4


def test_a_long_plain_text_is_cut_at_lines_or_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PIECE_BYTES", 1000)
    monkeypatch.setattr(parts, "READ_BYTES", 300)
    for text in ("a line of text\n" * 400, "ümläut" * 900, "九九" * 700):
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        found = documents(tmp_path / "a.txt")
        assert "".join(found) == text
        assert len(found) > 3


def test_a_line_beyond_all_bounds_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LINE_LIMIT", 20_000)
    monkeypatch.setattr(parts, "BLOCK_BYTES", 2_000)
    monkeypatch.setattr(parts, "READ_BYTES", 500)
    path = tmp_path / "a.jsonl"
    for position in (0, 200, 400):
        path.write_bytes(lines([*GOOD[:position], "y" * 50_000, *GOOD[position:]]))
        found = counts_of(path, tmp_path / str(position))
        assert found["dropped"] == {"a line over 0 MiB": 1}
        assert found["arms"]["control"]["train"]["documents"] > 300
        assert documents(path) == GOOD


def test_sources_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        documents(tmp_path / "gone")
    with pytest.raises(UserError, match="holds no file of documents"):
        documents(tmp_path)
    (tmp_path / "README.md").write_text("not a document")
    with pytest.raises(UserError, match="holds no file of documents"):
        documents(tmp_path)


def test_a_field_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "one", "text": "two"}\n{"body": 3}\n')
    assert documents(path, "body") == ["one"]
    assert documents(path) == ["two"]
    pq.write_table(pa.table({"body": ["one"], "text": ["two"]}), tmp_path / "a.parquet")
    assert documents(tmp_path / "a.parquet", "body") == ["one"]
    found = [raw for p in Files("s", str(tmp_path / "a.parquet"), "nobody").parts(None, 0)
             for block in p.blocks(0) for raw in block.documents()]  # fmt: skip
    assert [raw.dropped for raw in found] == ["unreadable file: a.parquet"]
