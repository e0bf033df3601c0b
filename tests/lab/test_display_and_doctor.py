"""What a person sees: bars on a terminal, a line per stage elsewhere, and the doctor's checks."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from vocablab.lab import doctor
from vocablab.lab.display import Display
from vocablab.lab.engine import Event, Job
from vocablab.lab.stages import STAGES

JOBS = [Job("control", 0, STAGES[-1]), Job("mul_facts", 0, STAGES[-1])]


def whole_study(display: Display) -> None:
    with display:
        for job in JOBS:
            for stage in STAGES:
                display(Event(job, stage, 0, 1, ""))
                display(Event(job, stage, 0.5, 1, "loss 2.000"))
                display(Event(job, stage, 1, 1, ""))


def test_no_terminal_means_a_line_per_stage(capsys: pytest.CaptureFixture[str]) -> None:
    whole_study(Display(JOBS, quiet=False))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0] == "[1/2] control seed0: prepare done in 0 s"
    assert len(err.splitlines()) == len(JOBS) * len(STAGES)
    assert "\x1b" not in err


def test_quiet_means_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    whole_study(Display(JOBS, quiet=True))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_bars_with_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        "vocablab.lab.display.Console", lambda **_: Console(file=screen, force_terminal=True, width=100)
    )
    display = Display(JOBS, quiet=False)
    with display:
        display(Event(JOBS[0], "prepare", 1, 1, ""))
        display(Event(JOBS[0], "pretrain", 50, 100, "loss 2.000"))
    shown = screen.getvalue()
    assert "2 runs" in shown
    assert "control seed0" in shown
    assert "pretrain loss 2.000" in shown
    assert " 30%" in shown  # all of prepare and half of pretraining, by their rough shares
    assert "-:--:--" in shown or "0:00:" in shown


def test_doctor_looks_at_everything(tmp_path: Path) -> None:
    checks = {check.name: check for check in doctor.examine(None, tmp_path)}
    assert list(checks) == [
        "python", "packages", "cores", "memory", "accelerator", "disk", "GPT-2 vocabulary", "data",
    ]  # fmt: skip
    assert "50257" in checks["GPT-2 vocabulary"].detail
    assert all(check.passed for check in checks.values())
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k/train.jsonl").touch()
    found = {check.name: check for check in doctor.examine(tmp_path, tmp_path)}["data"].detail
    assert "found gsm8k/train.jsonl; missing gsm8k/test.jsonl" in found


def test_doctor_sees_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED_GIGABYTES", 1e9)
    monkeypatch.setattr(doctor, "package_versions", lambda: {"python": "3.11", "torch": "absent"})
    failed = {check.name: check.detail for check in doctor.examine(None, tmp_path) if not check.passed}
    assert set(failed) == {"packages", "disk"}
    assert failed["packages"] == "absent: torch"
