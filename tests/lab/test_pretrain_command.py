"""`vocablab pretrain` as a user's shell has it: done once, resumed after a kill, refused in one sentence."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.shell import vocablab
from support.training import base_vocabulary

from vocablab.corpus.sources import GeneratedProse
from vocablab.training.checkpoint import CHECKPOINT

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SMALL = (
    "--recipe", "tiny", "--device", "cpu", "--set", "model.n_layer=1", "--set", "model.n_embd=32",
    "--set", "model.n_head=2", "--set", "pretrain.precision=float32", "--set", "pretrain.schedule.warmup_steps=3",
)  # fmt: skip
FILES = ("model.safetensors", "metrics.jsonl", "vocabulary.json", "model.json")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster so, and tests beside this one do not hold it up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("corpus")
    (place / "vocabulary").mkdir()
    base_vocabulary().save(place / "vocabulary")
    text = place / "prose.jsonl"
    text.write_text("\n".join(json.dumps({"text": d.text}) for d in GeneratedProse(400, 0.5).documents(None, 0)))
    done = vocablab(
        "prepare", "--source", str(text), "--vocabulary", str(place / "vocabulary"), "--out", str(place / "corpus"),
        "--intervention", "control", "--intervention", "mul_facts", "--validation-share", "0.05", "--jobs", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return place / "corpus"


def pretrain(corpus: Path, out: Path, *arguments: str, arm: str = "mul_facts") -> "subprocess.CompletedProcess[bytes]":
    return vocablab("pretrain", str(corpus / arm), "--out", str(out), *SMALL, *arguments)


def sentence(done: "subprocess.CompletedProcess[bytes]", status: int = 2) -> str:
    assert done.returncode == status, done.stderr.decode()
    said = done.stderr.decode()
    assert said.startswith("vocablab: ")
    assert said.count("\n") == 1
    return said


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in FILES)


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    out = tmp_path_factory.mktemp("runs") / "facts"
    done = pretrain(corpus, out)
    assert done.returncode == 0, done.stderr.decode()
    return out, done.stdout


def test_it_says_what_it_did_and_leaves_a_record(finished: tuple[Path, bytes]) -> None:
    out, said = finished
    assert all((out / name).exists() for name in (*FILES, "record.json", "intervention.json", "speed.jsonl"))
    assert not (out / CHECKPOINT).exists()
    assert not out.with_name("facts.partial").exists()
    counts = json.loads((out / "record.json").read_text())["counts"]
    shown = said.decode()
    assert f"{counts['steps']:,} steps, {counts['tokens']:,} tokens" in shown
    assert "MFU unknown" in shown
    assert "new rows at step 0" in shown
    assert counts["epochs"] == pytest.approx(1, abs=0.05)
    assert counts["final"]["val_bits_per_byte"] < 6


def test_a_second_call_does_nothing(corpus: Path, finished: tuple[Path, bytes]) -> None:
    out, said = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    done = pretrain(corpus, out, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["steps"] == json.loads((out / "record.json").read_text())["counts"]["steps"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert pretrain(corpus, out).stdout == said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "pretrain.batch_size=8"], "batch_size: 16 -> 8"),
        (["--seed", "1"], "seed: 0 -> 1"),
        (["--new-rows", "mean"], "new_rows"),
        (["--set", 'pretrain.new_rows={"type":"MeanRows"}'], "new_rows"),
        (["--tokens", "9000"], "budget"),
    ],
)
def test_another_configuration_is_refused(
    corpus: Path, finished: tuple[Path, bytes], arguments: list[str], said: str
) -> None:
    assert said in sentence(pretrain(corpus, finished[0], *arguments))


def test_how_it_runs_is_no_other_configuration(corpus: Path, finished: tuple[Path, bytes]) -> None:
    assert pretrain(corpus, finished[0], "--set", "pretrain.micro_batch=2").returncode == 0


def test_another_arm_is_refused(corpus: Path, finished: tuple[Path, bytes]) -> None:
    assert "another configuration" in sentence(pretrain(corpus, finished[0], arm="control"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--recipe", "gpt9"], "--recipe gpt9"),
        (["--tokens", "many"], "--tokens many"),
        (["--tokens", "0"], "--tokens 0"),
        (["--tokens", "1.2.3K"], "--tokens 1.2.3K"),
        (["--tokens", "1K", "--source-bytes", "1K"], "two budgets"),
        (["--tokens", "1B"], "rule 12"),
        (["--new-rows", "magic"], "--new-rows magic"),
        (["--set", "nonsense"], "--set nonsense"),
        (["--set", "pretrain.nonsense=1"], "nonsense"),
        (["--set", "pretrain.precision=float16"], "float16"),
        (["--set", "pretrain.batch_size=many"], "batch_size"),
        (["--device", "tpu"], "tpu"),
        (["--data", "/nonexistent"], "/nonexistent"),
        (["--init-from", "/nonexistent"], "/nonexistent"),
        (["--resume"], "there is no interrupted run"),
        (["--hellaswag", "5"], "HellaSwag"),
    ],
)
def test_what_cannot_be_is_one_sentence(corpus: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = pretrain(corpus, tmp_path / "run", *arguments)
    assert said in sentence(done, 1 if "1B" in arguments else 2)
    assert not (tmp_path / "run").exists()


def test_what_is_no_corpus_is_one_sentence(corpus: Path, tmp_path: Path) -> None:
    for place in (corpus, tmp_path, tmp_path / "nowhere"):
        sentence(vocablab("pretrain", str(place), "--out", str(tmp_path / "run"), *SMALL))


@pytest.mark.parametrize("resume", [True, False])
def test_killed_it_goes_on_and_ends_the_same(
    corpus: Path, finished: tuple[Path, bytes], tmp_path: Path, resume: bool
) -> None:
    out, slow = tmp_path / "run", ("--set", "pretrain.checkpoint_seconds=0", "--set", "pretrain.micro_batch=64")
    code = (
        "import time, math, vocablab.pretrain.loop as loop; loop.CHECKPOINT_SHARE = math.inf; real = loop._Run._step\n"
        "def step(*a):\n    time.sleep(0.05); return real(*a)\n"
        "loop._Run._step = step\nfrom vocablab.lab.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "pretrain", str(corpus / "mul_facts"), "--out", str(out), *SMALL, *slow]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    partial = out.with_name("run.partial")
    until = time.monotonic() + 60
    while not (partial / CHECKPOINT).exists() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (partial / "metrics.jsonl").read_text()
    assert not out.exists()
    assert "another configuration" in sentence(pretrain(corpus, out, "--set", "pretrain.clip=0.5"))
    done = pretrain(corpus, out, *(["--resume"] if resume else []))
    assert done.returncode == 0, done.stderr.decode()
    assert same(out, finished[0])


@pytest.mark.skipif(not (DATA / "hellaswag").is_dir(), reason="no ../shared/data/hellaswag beside the checkout")
def test_hellaswag_over_training_and_its_curve(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = pretrain(
        corpus, out, "--hellaswag", "4", "--data", str(DATA), "--tokens", "40K", "--set", "model.n_positions=320",
        "--set", "pretrain.evaluate_every=0.5", "--set", "pretrain.batch_size=8", arm="control",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"HellaSwag, 4 items: acc_norm" in done.stdout
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    scores = [line["hellaswag.acc_norm"] for line in lines if "val_bits_per_byte" in line]
    assert len(scores) >= 2
    assert all(score in (0, 0.25, 0.5, 0.75, 1) for score in scores)
    drawn = vocablab("curves", str(out))
    assert drawn.returncode == 0, drawn.stderr.decode()
    assert (out.parent / "curves/hellaswag.png").exists()
    # What is drawn is put beside the artifact, which stays as its record says.
    assert pretrain(
        corpus, out, "--hellaswag", "4", "--data", str(DATA), "--tokens", "40K", "--set", "model.n_positions=320",
        "--set", "pretrain.evaluate_every=0.5", "--set", "pretrain.batch_size=8", arm="control",
    ).returncode == 0  # fmt: skip


def test_curves_of_a_finished_run(finished: tuple[Path, bytes], tmp_path: Path) -> None:
    done = vocablab("curves", str(finished[0]), "--out", str(tmp_path / "curves"), "--json")
    assert done.returncode == 0, done.stderr.decode()
    last = json.loads((finished[0] / "metrics.jsonl").read_text().splitlines()[-1])
    row = json.loads(done.stdout)["table"][0]
    assert row["val_bits_per_byte"]["mean"] == pytest.approx(last["val_bits_per_byte"])


def test_under_torchrun_two_ranks_publish_one_run(corpus: Path, finished: tuple[Path, bytes], tmp_path: Path) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port),
        "-m", "vocablab", "pretrain", str(corpus / "mul_facts"), "--out", str(tmp_path / "run"), *SMALL,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for _ in range(2):  # the second time there is nothing to do
        done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=120)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        assert done.stdout.count(b"bits per byte: ") == 1
    counts = [json.loads((out / "record.json").read_text())["counts"] for out in (tmp_path / "run", finished[0])]
    assert counts[0]["ranks"] == 2
    assert counts[0]["final"]["val_bits_per_byte"] == pytest.approx(counts[1]["final"]["val_bits_per_byte"], rel=1e-4)
