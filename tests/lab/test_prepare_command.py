"""`vocablab prepare` as a user's shell sees it."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.shell import vocablab

from vocablab.corpus.shards import read_split
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.evaluation_texts import held_out_tokens, leak_gates, named_evaluation_sets
from vocablab.vocab.interventions import FactTokens, NoChange

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "prose.jsonl"
    rows = [json.dumps({"text": d.text}) for d in GeneratedProse(2000, 0.0).documents(None, 0)]
    path.write_text("\n".join(rows))
    return path


def prepare(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    return vocablab("prepare", *map(str, arguments), cwd=cwd)


def test_the_dose_and_the_counts_are_printed(text: Path, tmp_path: Path) -> None:
    done = prepare("--source", text, "--intervention", "mul_facts", "--target-dose", "0.01", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    assert "of the training tokens are added ones, 1.0000% wanted." in shown
    assert "<MUL_6_9_54>" in shown
    assert (tmp_path / "corpus/mul_facts/train/00000.tokens.npy").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]
    record = json.loads((tmp_path / "corpus/record.json").read_text())
    assert record["status"] == "complete"
    arm = record["counts"]["arms"]["mul_facts"]
    split = read_split(tmp_path / "corpus/mul_facts/train")
    tokens = np.asarray(split.tokens[0 : len(split.tokens)])
    assert (tokens >= 50257).sum() / len(tokens) == pytest.approx(arm["dose"]) == pytest.approx(0.01, rel=0.05)
    assert sum(arm["exposures"].values()) == (tokens >= 50257).sum()


def test_a_target_that_is_not_reached_publishes_nothing(text: Path, tmp_path: Path) -> None:
    done = prepare("--source", text, "--target-tokens", "1B", "--out", tmp_path / "c")
    assert done.returncode == 1
    assert b"stops short of its target" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "c").exists()


def test_generated_sources_and_a_mixture(tmp_path: Path) -> None:
    arms = ("--intervention", "control", "--intervention", "mul_facts")
    done = prepare("--source", "offline-math", "--target-tokens", "60k", *arms, "--out", tmp_path / "c", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    tokens = {name: counts["train"]["base_tokens"] for name, counts in found["sources"].items()}
    assert tokens["prose"] == pytest.approx(30_000, rel=0.02)
    assert tokens["arithmetic"] == pytest.approx(18_000, rel=0.02)
    assert tokens["mathematics"] == pytest.approx(12_000, rel=0.04)
    assert (
        found["arms"]["control"]["train"]["documents_sha256"] == found["arms"]["mul_facts"]["train"]["documents_sha256"]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "spark"], "--engine spark"),
        (["--validation-share", "1"], "--validation-share"),
        (["--intervention", "nonsense"], "--intervention nonsense"),
        (["--target-tokens", "many"], "--target-tokens many"),
        (["--target-dose", "0.01"], "needs an --intervention with tokens"),
        (["--target-dose", "2", "--intervention", "mul_facts"], "--target-dose 2"),
        (["--against", "nothing"], "--against nothing"),
        (["--vocabulary", "/nonexistent"], "no vocabulary at"),
    ],
)
def test_mistakes_are_one_sentence(text: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    done = prepare("--source", text, "--out", tmp_path / "c", *arguments)
    assert done.returncode == 2, done.stderr.decode()
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_treatment_that_changes_nothing_is_refused(text: Path, tmp_path: Path) -> None:
    done = prepare("--source", text, "--intervention", "mul_facts", "--out", tmp_path / "c")
    assert done.returncode == 1
    assert "Control changes nothing, treatment something (rule 3) does not hold" in done.stderr.decode()


def test_tokens_of_held_out_facts_are_named_and_red_in_a_study() -> None:
    assert held_out_tokens(FactTokens(), {"MUL:6,9=54", "MUL:11,12=132"}) == ["<MUL_6_9_54>"]
    assert held_out_tokens(NoChange(), {"MUL:6,9=54"}) == []
    texts = named_evaluation_sets(None)["arithmetic"]()
    assert all(gate["passed"] for gate in leak_gates(FactTokens(), texts, {"leak: arithmetic": 2}))
    from vocablab.facts.families import Multiplication

    larger = leak_gates(FactTokens(Multiplication(1, 19)), texts, {})
    assert [gate["passed"] for gate in larger] == [True, False]


@needs_data
def test_the_acceptance_command_on_a_part_of_openstax(tmp_path: Path) -> None:
    source = ("--source", DATA / "openstax/openstax-val.jsonl.zst", "--against", "arithmetic")
    arms = ("--intervention", "control", "--intervention", "mul_facts", "--target-dose", "0.01")
    done = prepare(*source, *arms, "--out", tmp_path / "c", "--json")
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["arms"]["mul_facts"]["dose"] == pytest.approx(0.01, rel=0.05)
    assert all(gate["passed"] for arm in found["arms"].values() for gate in arm["gates"])
    assert set(found["too_short_to_scan"]) == {"arithmetic"}
