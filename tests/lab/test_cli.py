"""The command line, end to end, on a study of seconds: as a user's shell sees it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

HERE = Path(__file__).parent
STUDY = str(HERE / "tiny_study.py")
DATA = HERE.parents[1].parent / "shared" / "data"


def vocablab(*arguments: str, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": "/nonexistent"}
    environment.pop("VOCABLAB_DATA", None)
    command = [sys.executable, "-c", "from vocablab.lab.cli import main; main()", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, cwd=cwd, env=environment)


def scores(runs: Path) -> dict[str, list[dict[str, object]]]:
    found = sorted(runs.glob("tiny/*/seed*/evaluate/scores.parquet"))
    return {str(path.relative_to(runs)): pq.read_table(path).to_pylist() for path in found}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    runs = tmp_path_factory.mktemp("runs")
    done = vocablab("run", STUDY, "--runs", str(runs), "--jobs", "2", "--device", "cpu")
    assert done.returncode == 0, done.stderr.decode()
    return runs, done.stdout


def test_a_study_ends_in_a_verdict_and_a_report(finished: tuple[Path, bytes]) -> None:
    runs, out = finished
    assert b"pilot" in out.lower()
    assert f"Report: {runs}/tiny/report.html".encode() in out
    report = json.loads((runs / "tiny/report.json").read_text())
    assert [verdict["word"] for verdict in report["verdicts"]] == ["PILOT", "PILOT"]
    rows = scores(runs)
    assert len(rows) == 4
    for run in rows.values():
        keys = {(row["task"], row["item_id"]) for row in run}
        assert len(keys) == len(run) > 100
    records = list(runs.glob("tiny/*/seed*/*/record.json"))
    assert len(records) == 4 * 5
    for path in records:
        assert all(gate["passed"] for gate in json.loads(path.read_text())["counts"].get("gates", []))


def test_a_second_run_does_nothing_and_says_so(finished: tuple[Path, bytes]) -> None:
    runs, _ = finished
    before = {path: path.stat().st_mtime_ns for path in runs.glob("tiny/*/seed*/*/record.json")}
    done = vocablab("run", STUDY, "--runs", str(runs), "--device", "cpu")
    assert done.returncode == 0
    assert b"Nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_configuration_is_refused(finished: tuple[Path, bytes]) -> None:
    done = vocablab("run", STUDY, "--runs", str(finished[0]), "--set", "recipe.pretrain.batch_size=4")
    assert done.returncode == 2
    assert b"batch_size: 8 -> 4" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("seconds", [9.0, 14.0])
def test_killed_anywhere_it_ends_in_the_same_scores(
    finished: tuple[Path, bytes], tmp_path: Path, seconds: float
) -> None:
    code = "from vocablab.lab.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        STUDY,
        "--runs",
        str(tmp_path),
        "--jobs",
        "2",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    time.sleep(1.0)  # the workers notice within a fifth of a second that nobody waits for them
    done = vocablab("run", STUDY, "--runs", str(tmp_path), "--jobs", "2", "--device", "cpu")
    assert done.returncode == 0, done.stderr.decode()
    assert scores(tmp_path) == scores(finished[0])


def test_report_is_rebuilt_from_the_records(finished: tuple[Path, bytes]) -> None:
    runs, _ = finished
    before = json.loads((runs / "tiny/report.json").read_text())
    (runs / "tiny/report.json").unlink()
    done = vocablab("report", "tiny", "--runs", str(runs), "--json")
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["verdicts"] == before["verdicts"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "nosuch"], b"nosuch"),
        (["plan", "nosuch.py"], b"nosuch.py"),
        (["run", "quickstart", "--arm", "nosuch"], b"nosuch"),
        (["run", "quickstart", "--seed", "99"], b"99"),
        (["run", "quickstart", "--stage", "nosuch"], b"nosuch"),
        (["run", "quickstart", "--preset", "nosuch"], b"nosuch"),
        (["run", "quickstart", "--set", "recipe.nosuch=1"], b"nosuch"),
        (["run", "quickstart", "--data", "/nonexistent"], b"/nonexistent"),
        (["run", "quickstart", "--device", "tpu"], b"tpu"),
        (["report", "quickstart", "--runs", "/nonexistent"], b"quickstart"),
        (["inject", "--intervention", "nosuch"], b"nosuch"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], named: bytes, tmp_path: Path) -> None:
    done = vocablab(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_missing_and_truncated_data_are_one_sentence(tmp_path: Path) -> None:
    missing = vocablab("run", "gsm8k-mul-facts", cwd=tmp_path)
    assert missing.returncode == 2
    assert b"GSM8K's training set is missing" in missing.stderr
    (tmp_path / "data/gsm8k").mkdir(parents=True)
    (tmp_path / "data/gsm8k/train.jsonl").write_text('{"question": "q", "answer": "#### 1"}\n{"question": "tr')
    truncated = vocablab("run", "gsm8k-mul-facts", "--data", "data", cwd=tmp_path)
    assert truncated.returncode == 2
    assert b"train.jsonl, line 2" in truncated.stderr
    assert truncated.stderr.count(b"\n") == 1


def test_studies_plan_and_doctor_answer_in_json() -> None:
    names = [row["name"] for row in json.loads(vocablab("studies", "--json").stdout)]
    assert {"quickstart", "gsm8k-mul-facts"} <= set(names)
    plan = json.loads(vocablab("plan", "quickstart", "--json", "--device", "cpu").stdout)
    assert plan["runs"] == 12
    assert plan["coverage_ceiling"]["arithmetic.transfer"] == 1.0
    assert plan["claims"][0]["minimum_detectable_effect"] > 0.05
    doctor = json.loads(vocablab("doctor", "--json").stdout)
    assert {check["name"] for check in doctor} >= {"packages", "memory", "disk", "GPT-2 vocabulary"}


def test_inject_and_restore_are_inverse_on_bytes(tmp_path: Path) -> None:
    text = b"103*4=412 and 6*9=54,000; 6 * 9 = 54\n<MUL_6_9_54> 9\xc3\x976=54 \xff\r\n"
    audit = tmp_path / "audit.json"
    done = vocablab("inject", "--intervention", "mul_facts", "--audit", str(audit), stdin=text)
    assert done.stdout.startswith(b"103*4=412 and 6*9=54,000; <MUL_6_9_54>\n")
    assert json.loads(audit.read_text())["counts"]["sites"] == 2
    back = vocablab("inject", "--intervention", "mul_facts", "--audit", str(audit), "--restore", stdin=done.stdout)
    assert back.stdout == text
    canonical = vocablab("inject", "--intervention", "mul_facts", "--restore", stdin=b"so <MUL_6_9_54>")
    assert canonical.stdout == b"so 6 * 9 = 54"
    assert b"1 tokens restored" in canonical.stderr
