"""Work handed out ahead is over before its caller goes on, and what a late worker writes comes into no corpus."""

import time
from pathlib import Path

import pytest

from vocablab.corpus.encoding import set_up
from vocablab.corpus.runs import write_block_summary
from vocablab.corpus.workers import LocalWorkers


def test_a_caller_who_stops_early_is_alone_in_the_directory(tmp_path: Path) -> None:
    # A worker can import what is installed, not this file: it gets its work as source.
    late = "import pathlib, time; time.sleep({seconds}); pathlib.Path({path!r}).touch()"
    work = [(late.format(seconds=0.3 if n else 0.0, path=str(tmp_path / str(n))),) for n in range(40)]
    with LocalWorkers(2) as workers:
        for _ in workers._ordered(exec, work):
            break
        found = sorted(path.name for path in tmp_path.iterdir())
        time.sleep(1.0)
        assert sorted(path.name for path in tmp_path.iterdir()) == found
    assert 0 < len(found) < 10


def test_a_late_worker_brings_no_directory_back(tmp_path: Path) -> None:
    set_up(tmp_path / "work", 0, 0.1, [], {}, None)
    write_block_summary(tmp_path / "work" / "runs" / "a.json", [])
    (tmp_path / "work").rename(tmp_path / "retired")
    with pytest.raises(FileNotFoundError):
        write_block_summary(tmp_path / "work" / "runs" / "b.json", [])
    assert not (tmp_path / "work").exists()
