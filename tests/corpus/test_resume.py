"""Killed at any moment, also twice, a build ends with the bytes of an uninterrupted one; with any number of workers."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.shell import vocablab

from vocablab.corpus.sources import GeneratedProse

COMMAND = (
    "prepare", "--intervention", "control", "--intervention", "mul_facts", "--target-dose", "0.01", "--against",
    "arithmetic", "--validation-share", "0.05",
)  # fmt: skip


def digests(out: Path) -> dict[str, str]:
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "record.json")
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def counts(out: Path) -> object:
    record = json.loads((out / "record.json").read_text())
    return record["counts"], record["files"], record["fingerprint"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for number in range(6):
        rows = [json.dumps({"text": d.text}) for d in GeneratedProse(800, 0.0).documents(None, number)]
        (folder / f"{number}.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "corpus"
    done = vocablab(*COMMAND, "--source", str(text), "--out", str(out), "--jobs", "1")
    assert done.returncode == 0, done.stderr.decode()
    return out


def test_the_number_of_workers_changes_no_byte(text: Path, whole: Path, tmp_path: Path) -> None:
    done = vocablab(*COMMAND, "--source", str(text), "--out", str(tmp_path / "corpus"), "--jobs", "3", "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert digests(tmp_path / "corpus") == digests(whole)
    assert counts(tmp_path / "corpus") == counts(whole)
    found = json.loads(done.stdout)
    assert found["arms"]["mul_facts"]["dose"] == pytest.approx(0.01, rel=0.05)


def start(text: Path, out: Path) -> subprocess.Popen[bytes]:
    code = "from vocablab.lab.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *COMMAND, "--source", str(text), "--out", str(out), "--jobs", "2"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def stages_seen(out: Path) -> int:
    """How far a build is, in files: runs, then shards."""
    partial = out.with_name(out.name + ".partial")
    return sum(1 for pattern in ("*.run", "*.tokens.npy") for _ in partial.rglob(pattern))


@pytest.mark.parametrize("moments", [(1, 4), (3,), (7, 9)], ids=str)
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    text: Path, whole: Path, tmp_path: Path, moments: tuple[int, ...]
) -> None:
    out = tmp_path / "corpus"
    killed = 0
    for moment in moments:
        process = start(text, out)
        while process.poll() is None and stages_seen(out) < moment:
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        assert not (out / "record.json").exists() or killed < len(moments)
    assert killed >= 1
    done = vocablab(*COMMAND, "--source", str(text), "--out", str(out), "--jobs", "2")
    assert done.returncode == 0, done.stderr.decode()
    assert digests(out) == digests(whole)
    assert counts(out) == counts(whole)
    assert not out.with_name("corpus.partial").exists()


def killed_worker(text: Path, out: Path) -> tuple[int, bytes]:
    """Status and words of a build whose workers were killed half-way."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from vocablab.lab.cli import main; main()", *COMMAND, "--source", str(text), "--out",
         str(out), "--jobs", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    import psutil

    workers: list[psutil.Process] = []
    while process.poll() is None and (len(workers) < 4 or stages_seen(out) < 2):
        workers = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.002)
    if process.poll() is None:
        for worker in workers:
            if any("forkserver" in word for word in worker.cmdline()) and worker.parent().pid != process.pid:
                worker.kill()
    _, err = process.communicate()
    return process.returncode, err


def test_a_killed_worker_is_one_sentence_and_the_same_command_goes_on(text: Path, whole: Path, tmp_path: Path) -> None:
    # On a busy machine a build may be over before its workers are killed: then it is begun anew elsewhere.
    for attempt in range(4):
        out = tmp_path / f"corpus{attempt}"
        status, err = killed_worker(text, out)
        if status:
            break
    assert status == 1
    assert b"the same command goes on" in err
    assert err.count(b"Traceback") == 0
    assert vocablab(*COMMAND, "--source", str(text), "--out", str(out)).returncode == 0
    assert digests(out) == digests(whole)


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(text: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    # A limit on the size of a file stops a write as a full disk does.
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
        "from vocablab.lab.cli import main; main()"
    )
    for jobs in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", limited, *COMMAND, "--source", str(text), "--out", str(out), "--jobs", jobs],
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert b"Traceback" not in done.stderr
        assert b"File too large" in done.stderr
        assert not (out / "record.json").exists()
    assert vocablab(*COMMAND, "--source", str(text), "--out", str(out)).returncode == 0
    assert digests(out) == digests(whole)


def test_another_command_does_not_go_on_with_it(text: Path, whole: Path, tmp_path: Path) -> None:
    again = vocablab(*COMMAND, "--source", str(text), "--out", str(whole))
    assert again.returncode == 0
    assert b"Nothing to do" in again.stdout
    other = vocablab(*COMMAND, "--source", str(text), "--out", str(whole), "--seed", "1")
    assert other.returncode == 2
    assert b"another configuration (seed: 0 -> 1)" in other.stderr
    out = tmp_path / "corpus"
    process = start(text, out)
    while process.poll() is None and stages_seen(out) < 2:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    other = vocablab(*COMMAND, "--source", str(text), "--out", str(out), "--seed", "1")
    assert other.returncode == 2
    assert b"begun by another configuration (seed: 0 -> 1)" in other.stderr
    (text / "6.jsonl").write_text('{"text": "one more"}\n')
    try:
        changed = vocablab(*COMMAND, "--source", str(text), "--out", str(whole))
    finally:
        (text / "6.jsonl").unlink()
    assert changed.returncode == 2
    assert b"files" in changed.stderr
