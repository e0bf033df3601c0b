"""The command line, end to end, on a study of seconds: as a user's shell sees it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.shell import vocablab

HERE = Path(__file__).parent
STUDY = str(HERE / "tiny_study.py")
DATA = HERE.parents[1].parent / "shared" / "data"


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
        (["inject", "--intervention", "nosuch.py"], b"nosuch.py"),
        (["inject", "--intervention", "nosuch.json"], b"nosuch.json"),
        (["inject", "--intervention", "mul_facts", "--restore", "--audit", "nosuch.json"], b"nosuch.json"),
        (["inject", "--intervention", "mul_facts", "--restore", "--audit", "a.html"], b"a.html"),
        (["coverage", "--intervention", "mul_facts", "--data", "/nonexistent"], b"/nonexistent"),
        (["coverage", "--intervention", "mul_facts", "--data", "."], b"no document"),
        (["mine", "nosuch.py", "--out", "a.json"], b"nosuch.py"),
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
    text = b"103*4=412 and 6*9=54,000; 6 * 9 = 54\n<MUL_6_9_54>, 9\xc3\x976=54 \xff\r\n"
    audit = tmp_path / "audit.json"
    done = vocablab("inject", "--intervention", "mul_facts", "--audit", str(audit), stdin=text)
    assert done.stdout.startswith(b"103*4=412 and 6*9=54,000; <MUL_6_9_54>\n")
    assert json.loads(audit.read_text())["counts"]["sites"] == 2
    back = vocablab("inject", "--intervention", "mul_facts", "--audit", str(audit), "--restore", stdin=done.stdout)
    assert back.stdout == text
    canonical = vocablab("inject", "--intervention", "mul_facts", "--restore", stdin=b"so <MUL_6_9_54>")
    assert canonical.stdout == b"so 6 * 9 = 54"
    assert b"1 tokens restored" in canonical.stderr


def test_a_file_of_ones_own_declares_an_intervention(tmp_path: Path) -> None:
    (tmp_path / "none.py").write_text("x = 1\n")
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "wrong.py").write_text("def intervention():\n    return 3\n")
    (tmp_path / "fails.py").write_text("def intervention():\n    return {}['x']\n")
    for name, words in (
        ("fails", b"intervention() fails: KeyError"),
        ("none", b"no function"),
        ("broken", b"ZeroDivisionError"),
        ("wrong", b"gives a int"),
    ):
        done = vocablab("inject", "--intervention", f"./{name}.py", cwd=tmp_path)
        assert done.returncode == 2
        assert words in done.stderr
    (tmp_path / "rule.json").write_text('{"type": "FactTokens", "weak": true}')
    done = vocablab("inject", "--intervention", "rule.json", stdin=b"6 * 9", cwd=tmp_path)
    assert done.stdout == b"<MUL_6_9_54>"


def test_mined_code_is_an_intervention(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import numpy as np\n" + "x = np.zeros(3)\n" * 30)
    (tmp_path / "b.py").write_text("y = np.zeros(4)\nz = other.thing(4)\n")
    mined = vocablab("mine", "a.py", "--held-out", "b.py", "--out", "code.json", cwd=tmp_path)
    assert mined.returncode == 0, mined.stderr
    assert b"1 idioms from 1 files cover 54" in mined.stdout
    assert b"They cover 25.7% of 1 held-out files" in mined.stdout
    done = vocablab("inject", "--intervention", "code.json", stdin=b"np.zeros(9)", cwd=tmp_path)
    assert done.stdout == b"<CODE_0_np.zeros>9)"
    again = vocablab("mine", "a.py", "--out", "code.json", cwd=tmp_path)
    assert again.returncode == 2
    assert b"nothing is overwritten" in again.stderr
    leak = vocablab("mine", "a.py", "--held-out", "a.py", "--out", "other.json", cwd=tmp_path)
    assert leak.returncode == 2
    assert b"held out must not be" in leak.stderr


def test_coverage_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    answer = "She has <<6*9=54>>54 eggs.\\n#### 54"
    row = f'{{"question": "How many?", "answer": "{answer}"}}\n'
    (tmp_path / "gsm8k/test.jsonl").write_text(row * 1319)
    (tmp_path / "my corpus.txt").write_text("7*8=56, and nothing else")
    done = vocablab("coverage", "--data", ".", "--intervention", "mul_facts", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["corpora"]["my corpus.txt"]["sites"] == 1
    assert found["ceilings"]["GSM8K test"]["problems_share"] == 1.0
    shown = vocablab("coverage", "--data", ".", "--intervention", "mul_facts", cwd=tmp_path).stdout.decode()
    assert "my corpus.txt" in shown
    assert "covers 1,319 of 1,319 calculator steps (100.0%)" in shown
    prose = vocablab("coverage", "--intervention", "digits", cwd=tmp_path).stdout.decode()
    assert "generated prose" in prose
