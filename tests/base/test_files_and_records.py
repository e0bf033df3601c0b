"""Artifacts are whole or absent, never overwritten, and damage is seen."""

from pathlib import Path
from typing import Any

import pytest

from vocablab.base.data import DataSet, iterate_rows, read_rows
from vocablab.base.errors import RunError, UserError
from vocablab.base.files import exclusive, partial_directory, publish_directory, write_bytes_atomically
from vocablab.base.random_streams import numpy_stream, stream_seed, unit_interval
from vocablab.base.records import first_difference
from vocablab.lab.stages import is_done, run_stage

IDENTITY: dict[str, Any] = {"stage": "prepare", "inputs": {}, "recipe": {"steps": 200}}


def make(directory: Path, text: str = "whole") -> None:
    def work(partial: Path) -> dict[str, Any]:
        (partial / "data.txt").write_text(text)
        return {}

    run_stage(directory, IDENTITY, work, "cpu", resumes=False)


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    make(tmp_path / "prepare")
    make(tmp_path / "prepare", "again")
    assert (tmp_path / "prepare/data.txt").read_text() == "whole"


def test_a_failing_stage_publishes_nothing(tmp_path: Path) -> None:
    def work(partial: Path) -> dict[str, Any]:
        (partial / "data.txt").write_text("half")
        raise RunError("stopped")

    with pytest.raises(RunError):
        run_stage(tmp_path / "prepare", IDENTITY, work, "cpu", resumes=False)
    assert not (tmp_path / "prepare").exists()
    make(tmp_path / "prepare")
    assert (tmp_path / "prepare/data.txt").read_text() == "whole"


def test_another_configuration_is_refused_and_named(tmp_path: Path) -> None:
    make(tmp_path / "prepare")
    with pytest.raises(UserError, match=r"recipe\.steps: 200 -> 100"):
        is_done(tmp_path / "prepare", {**IDENTITY, "recipe": {"steps": 100}})


@pytest.mark.parametrize("damage", ["changed", None])
def test_damage_is_seen(tmp_path: Path, damage: str | None) -> None:
    make(tmp_path / "prepare")
    path = tmp_path / "prepare/data.txt"
    path.write_text(damage) if damage else path.unlink()
    with pytest.raises(UserError, match="damaged"):
        is_done(tmp_path / "prepare", IDENTITY)


def test_publishing_never_overwrites(tmp_path: Path) -> None:
    make(tmp_path / "prepare")
    with pytest.raises(RunError, match="overwritten"):
        publish_directory(partial_directory(tmp_path / "prepare", keep=False), tmp_path / "prepare")


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / ".lock"),
        pytest.raises(UserError, match="in use"),
        exclusive(tmp_path / ".lock"),
    ):
        pass


def test_streams_depend_on_every_name() -> None:
    assert stream_seed(0, "a", "b") != stream_seed(0, "ab")
    assert stream_seed(0, "a") != stream_seed(1, "a")
    assert 0 <= unit_interval(0, "x") < 1
    assert (numpy_stream(3, "x").integers(100, size=5) == numpy_stream(3, "x").integers(100, size=5)).all()


def test_first_difference_finds_the_inner_field() -> None:
    assert first_difference({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}) == "a.b[1]: 2 -> 3"


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.jsonl.zst"])
def test_truncated_data_is_one_sentence(tmp_path: Path, name: str) -> None:
    import pyarrow as pa

    lines = b"".join(b'{"question": "q%d", "answer": "%d"}\n' % (i, i * i) for i in range(5000))
    kind = {"gz": "gzip", "zst": "zstd"}.get(name.rsplit(".", 1)[1])
    path = tmp_path / name
    if kind:
        with pa.output_stream(str(path), compression=kind) as stream:
            stream.write(lines)
    else:
        path.write_bytes(lines)
    assert len(list(iterate_rows(path))) == 5000
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 3])
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        list(iterate_rows(path))


def test_missing_rows_and_missing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_bytes_atomically(tmp_path / "set/train.jsonl", b'{"a": 1}\n')
    with pytest.raises(UserError, match="has 1 rows where The Set has 2"):
        read_rows(DataSet("set/train.jsonl", 2, None, "The Set"), tmp_path)
    with pytest.raises(UserError, match="The Other is missing"):
        read_rows(DataSet("other.jsonl", 2, None, "The Other"), tmp_path)
