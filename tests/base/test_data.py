"""The hub path, on a local copy of the hub's cache layout and against a hub that is not there."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vocablab.base.data import DataSet, HubFile, data_directory, iterate_rows, read_rows, rows_fingerprint
from vocablab.base.errors import UserError

ROWS = [{"question": f"How many are {i} and {i}?", "answer": f"{i} + {i} = {2 * i}\n#### {2 * i}"} for i in range(7)]
REVISION = "0123456789abcdef0123456789abcdef01234567"
SET = DataSet(
    "toys/train.jsonl", 7, HubFile("someone/toys", REVISION, "main/train-00000-of-00001.parquet"), "The toy set"
)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, laid out as `huggingface_hub` documents it, and no network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "hub/datasets--someone--toys/snapshots" / REVISION / "main"
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "train-00000-of-00001.parquet")
    return folder


def test_rows_come_from_the_hub_at_the_pinned_revision(hub_cache: Path, tmp_path: Path) -> None:
    assert read_rows(SET, None) == ROWS
    assert read_rows(SET, tmp_path) == ROWS  # a data directory without the file changes nothing
    other = DataSet(SET.local, 7, HubFile("someone/toys", "f" * 40, SET.hub.filename), SET.title)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="someone/toys"):
        read_rows(other, None)


def test_a_local_copy_comes_first(hub_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys/train.jsonl").write_text("")
    with pytest.raises(UserError, match="has 0 rows"):
        read_rows(SET, tmp_path)


def test_a_truncated_download_is_one_sentence(hub_cache: Path) -> None:
    path = hub_cache / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="truncated or damaged") as caught:
        read_rows(SET, None)
    assert "\n" not in str(caught.value)


def test_neither_here_nor_there_is_one_sentence(tmp_path: Path, hub_cache: Path) -> None:
    (hub_cache / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(UserError, match=r"The toy set is missing: give --data DIR with toys/train\.jsonl, or connect"):
        read_rows(SET, None)


def test_the_data_directory_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOCABLAB_DATA", raising=False)
    assert data_directory(None) is None
    assert data_directory(str(tmp_path)) == tmp_path
    monkeypatch.setenv("VOCABLAB_DATA", str(tmp_path / "gone"))
    with pytest.raises(UserError, match="VOCABLAB_DATA"):
        data_directory(None)


def test_a_list_and_a_line_that_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text('[{"a": 1}, {"a": 2}]')
    assert [row["a"] for row in iterate_rows(tmp_path / "rows.json")] == [1, 2]
    (tmp_path / "rows.json").write_text("[1]")
    with pytest.raises(UserError, match="not a list of objects"):
        list(iterate_rows(tmp_path / "rows.json"))
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n\n3\n')
    with pytest.raises(UserError, match="line 3 is not an object"):
        list(iterate_rows(tmp_path / "rows.jsonl"))


def test_fingerprints_see_order_and_content() -> None:
    assert rows_fingerprint(ROWS) == rows_fingerprint([dict(reversed(row.items())) for row in ROWS])
    assert rows_fingerprint(ROWS) != rows_fingerprint(ROWS[::-1])
