"""`vocablab curves` as a user's shell has it, and its page in a browser."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.shell import vocablab

from vocablab.base.errors import UserError
from vocablab.lab.cli import app


def write_runs(study: Path, *, hellaswag: bool) -> Path:
    for arm, gain in {"control": 0.0, "<b>&": 0.1}.items():
        for seed in range(3):
            directory = study / arm / f"seed{seed}" / "pretrain"
            directory.mkdir(parents=True)
            with open(directory / "metrics.jsonl", "w") as file:
                for step in range(1, 41):
                    line: dict[str, Any] = {"step": step, "tokens": step * 100, "source_bytes": step * (400 + seed)}
                    line["train_bits_per_byte"] = 1 + 3 / step - gain + 0.01 * seed
                    if step % 10 == 0:
                        line["val_bits_per_byte"] = 1.1 + 3 / step - gain
                        if hellaswag:
                            line |= {"hellaswag.acc_norm": 0.25 + 0.001 * step, "hellaswag.items": 100}
                    file.write(json.dumps(line) + "\n")
    return study


def test_a_study_becomes_a_page_pictures_and_numbers(tmp_path: Path) -> None:
    study = write_runs(tmp_path / "s", hellaswag=True)
    done = vocablab("curves", str(study))
    assert done.returncode == 0, done.stderr.decode()
    out = study / "curves"
    listed = {path.name for path in out.iterdir()}
    assert listed == {"curves.html", "curves.json", "loss.png", "hellaswag.png"}
    for name in listed:
        assert str(out / name) in done.stdout.decode()
    page = (out / "curves.html").read_text()
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="http', page)
    known = json.loads((out / "curves.json").read_text())
    assert known["x"] == "source_bytes"
    again = vocablab("curves", str(study), "--json", "--x", "tokens", "--out", str(tmp_path / "other"))
    said = json.loads(again.stdout)
    assert said["x"] == "tokens"
    assert said["table"] == known["table"]
    assert said["files"][0] == str(tmp_path / "other" / "curves.json")
    first = page, (out / "loss.png").read_bytes()
    assert vocablab("curves", *(str(study / arm) for arm in ("<b>&", "control")), "--out", str(out)).returncode == 0
    assert ((out / "curves.html").read_text(), (out / "loss.png").read_bytes()) == first


def test_without_hellaswag_one_sentence_says_so(tmp_path: Path) -> None:
    study = write_runs(tmp_path / "s", hellaswag=False)
    done = vocablab("curves", str(study / "control" / "seed0" / "pretrain"))
    assert done.returncode == 0, done.stderr.decode()
    assert b"No run evaluated HellaSwag during training" in done.stdout
    # Beside the artifact, which stays as it was published.
    out = study / "control" / "seed0" / "curves"
    assert {path.name for path in out.iterdir()} == {"curves.html", "curves.json", "loss.png"}
    assert "No run evaluated HellaSwag during training" in (out / "curves.html").read_text()


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    study = write_runs(tmp_path / "s", hellaswag=False)
    metrics = study / "control" / "seed0" / "pretrain" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"step":\n')
    done = vocablab("curves", str(study))
    assert done.returncode == 2
    assert f"{metrics}, line 41 is not JSON" in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    with pytest.raises(UserError, match=r"--x hours: it is source_bytes, tokens, steps\."):
        app(["curves", str(study), "--x", "hours"])
    with pytest.raises(UserError, match="nowhere is not there"):
        app(["curves", str(tmp_path / "nowhere")])
    assert not (study / "curves").exists()


def test_neither_torch_nor_pyplot_is_loaded(tmp_path: Path) -> None:
    study = write_runs(tmp_path / "s", hellaswag=True)
    code = (
        "import sys; from pathlib import Path; from vocablab.analysis.curve_page import write_curves; "
        "from vocablab.analysis.curve_runs import find_runs; from vocablab.analysis.curves import build_curves; "
        "write_curves(build_curves(find_runs(Path(sys.argv[1]))), Path(sys.argv[2])); "
        "print(sorted({'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(study), str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


_BROWSER = shutil.which("chromium")
# A window cannot be as narrow as a phone, a frame can.
_FRAME = """<!DOCTYPE html><body style="margin:0"><iframe id="f" width="{width}" height="2400" style="border:0"
srcdoc="{page}"></iframe><script>
const frame = document.getElementById("f");
const copy = () => Object.assign(document.documentElement.dataset, frame.contentDocument.documentElement.dataset);
frame.addEventListener("load", () => {{ copy(); setTimeout(copy, 500); }});
</script></body>"""


@pytest.mark.skipif(_BROWSER is None, reason="no chromium on this system")
@pytest.mark.parametrize("width", [1200, 390])
def test_a_browser_draws_the_page_without_errors_or_overflow(tmp_path: Path, width: int) -> None:
    assert _BROWSER is not None
    study = write_runs(tmp_path / "s", hellaswag=True)
    assert vocablab("curves", str(study)).returncode == 0
    page = (study / "curves" / "curves.html").read_text()
    framed = tmp_path / "framed.html"
    framed.write_text(_FRAME.format(width=width, page=html.escape(page, quote=True)))
    command = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,2400", "--virtual-time-budget=5000"]
    dom = subprocess.run(
        [*command, "--dump-dom", framed.as_uri()], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    found = dict(re.findall(r'\bdata-([\w-]+)="([^"]*)"', dom[: dom.index(">", dom.index("<html"))]))
    assert found["errors"] == ""
    assert int(found["plots"]) >= 2
    assert int(found["client-width"]) == width
    assert int(found["scroll-width"]) <= width
