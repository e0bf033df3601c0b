"""`vocablab compare` on recorded files of lm-eval.

The files in lm_eval_samples were written by lm-eval 0.4.13 (`simple_evaluate` with ``log_samples``, saved by its
`EvaluationTracker`): two random GPT-2 models of one block, ten questions with three choices, six words to repeat under
two filters.
"""

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vocablab.base.errors import UserError
from vocablab.lab.compare_command import compare_command

SAMPLES = Path(__file__).with_name("lm_eval_samples")
A, B = str(SAMPLES / "model_a"), str(SAMPLES / "model_b")


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(compare_command)
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None:
        raise done.exception
    return done.stdout


def edited(tmp_path: Path, task: str, change: object) -> str:
    """A copy of model_b whose rows of `task` went through `change`."""
    copy = tmp_path / "model_b"
    shutil.copytree(B, copy)
    (path,) = copy.glob(f"samples_{task}_*.jsonl")
    found = [change(json.loads(line)) for line in path.read_text().splitlines()]  # type: ignore[operator]
    path.write_text("".join(json.dumps(row) + "\n" for row in found if row is not None))
    return str(copy)


def test_lm_evals_own_numbers_are_found_again() -> None:
    found = json.loads(run(A, B, "--json"))
    measures = {(one["target"], one["metric"]): one for one in found["measures"]}
    assert set(measures) == {
        ("toy_choice", "acc"),
        ("toy_choice", "acc_norm"),
        ("toy_words:strict", "exact_match"),
        ("toy_words:flexible", "exact_match"),
    }
    acc = measures[("toy_choice", "acc")]
    # What lm-eval itself printed for the two models: acc 0.2 and 0.1, acc_norm 0.1 and 0.1.
    assert (acc["n_items"], acc["a_mean"], acc["b_mean"]) == (10, 0.2, 0.1)
    assert acc["difference"] == pytest.approx(-0.1)
    assert measures[("toy_choice", "acc_norm")]["difference"] == 0
    assert acc["word"] == "PILOT"
    assert acc["low"] < -0.1 < acc["high"]


def test_it_prints_a_table_and_sentences() -> None:
    shown = run(A, B, "--task", "toy_choice", "--metric", "acc", "--delta", "0.05")
    assert "-0.1000" in shown
    assert "PILOT" in shown
    assert "how much another seed would change is unknown" in shown
    assert "toy_words" not in shown


def test_another_document_under_the_same_number_does_not_pair(tmp_path: Path) -> None:
    def other(row: dict[str, object]) -> dict[str, object]:
        return row | {"doc_hash": "f" * 64} if row["doc_id"] == 3 else row

    changed = edited(tmp_path, "toy_choice", other)
    with pytest.raises(UserError, match="1 items are in A only and 1 in B only, the first is '3/"):
        run(A, changed, "--task", "toy_choice")
    shown = run(A, changed, "--task", "toy_choice", "--common")
    assert "2 items that only one side has are left out." in shown


def test_seeds_are_read_from_directories(tmp_path: Path) -> None:
    for seed in range(5):
        for side in "ab":
            shutil.copytree(SAMPLES / f"model_{side}", tmp_path / side / f"seed{seed}" / f"model_{side}")
    (one,) = json.loads(run(str(tmp_path / "a"), str(tmp_path / "b"), "--metric", "acc", "--json"))["measures"]
    assert one["seeds"] == [f"seed{seed}" for seed in range(5)]
    assert one["word"] in ("DIFFERENT", "NOT DECIDED")


def test_metrics_that_are_no_means_are_left_aside(tmp_path: Path) -> None:
    def rolling(row: dict[str, object]) -> dict[str, object]:
        return row | {
            "metrics": ["word_perplexity", "bits_per_byte"], "word_perplexity": [-8.0, 4],
            "bits_per_byte": [-6.931471805599453, 10],
        }  # fmt: skip

    changed = edited(tmp_path, "toy_choice", rolling)
    found = json.loads(run(changed, changed, "--task", "toy_choice", "--json"))
    (one,) = found["measures"]
    assert one["metric"] == "bits_per_byte"
    assert one["a_mean"] == pytest.approx(1.0)
    assert "word_perplexity of toy_choice is left aside" in found["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([A, B, "--delta", "0.1", "--margin", "0.1"], "give one of them"),
        ([A, B, "--delta", "0"], "--delta 0"),
        ([A, B, "--margin", "nan"], "--margin nan"),
        ([A, B, "--metric", "bleu"], "no measure bleu in common"),
        ([A, "nowhere"], "nowhere"),
        ([A, __file__], "cannot|not"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
