"""`vocablab evaluate` as a user types it."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.models import make_codec
from support.shell import vocablab

from vocablab.base.errors import UserError
from vocablab.base.proportions import wilson
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.answering import Answering
from vocablab.export.hugging_face import export
from vocablab.lab.evaluations import wanted
from vocablab.lab.models import checkpoints_of, model_source
from vocablab.model.gpt2 import GPT2Config
from vocablab.vocab.interventions import FactTokens

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "facts"
    directory.mkdir()
    codec = make_codec(FactTokens())
    network = GPT2Config(1, 2, 32, 192).build(codec.vocabulary.padded_size, 0)
    export(network, codec, directory, FormCode(Counter({"{a} * {b} = {c}": 3})), {})
    return directory


@needs_data
def test_the_acceptance_command(model: Path) -> None:
    arguments = ("evaluate", str(model), "--tasks", "hellaswag,gsm8k,arithmetic", "--data", str(DATA), "--limit", "12",
                 "--max-new-tokens", "16")  # fmt: skip
    done = vocablab(*arguments)
    assert done.returncode == 0, done.stderr.decode()
    shown = done.stdout.decode()
    scores = Path(shown.rsplit("Scores: ", 1)[1].strip())
    assert scores.parent.parent == model.parent / "evaluations"
    rows = pq.read_table(scores).to_pylist()
    asked = Counter((row["task"], row["mode"], row["decoding"]) for row in rows)
    assert asked == {
        ("hellaswag", "harness", ""): 12, ("hellaswag", "karpathy", ""): 12, ("gsm8k", "", "free"): 12,
        ("arithmetic", "", "free"): 12,
    }  # fmt: skip
    report = json.loads((scores.parent / "scores.json").read_text())
    line = next(one for one in report["table"] if one["way"] == "harness")
    own = [row["score"] for row in rows if row["mode"] == "harness"]
    assert (line["n"], line["score"]) == (12, sum(own) / 12)
    assert (line["low"], line["high"]) == wilson(sum(own) / 12, 12)
    assert f"{line['low']:.3f} .. {line['high']:.3f}" in shown
    # The same again shows what is there; anything else gets a directory of its own.
    before = scores.stat().st_mtime_ns
    assert vocablab(*arguments).stdout.decode() == shown
    assert scores.stat().st_mtime_ns == before


def test_ways_to_answer_and_json(model: Path, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("So 6 * 9 = 54, she said, and 7 * 8 = 56.")
    done = vocablab(
        "evaluate", str(model), "--tasks", "arithmetic,text,forced_prefix", "--limit", "40", "--max-new-tokens", "8",
        "--decoding", "free,banned,forced,counterfactual,sampled", "--text", str(text), "--out", str(tmp_path / "out"),
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    ways = {(line["task"], line["way"]) for line in found["table"]}
    assert {way for task, way in ways if task == "arithmetic"} == {"", "banned", "forced", "counterfactual", "sampled"}
    assert {way for task, way in ways if task == "text"} == {"native", "plain", "outside"}
    assert {way for task, way in ways if task == "forced_prefix"} == {"pieces", "token"}
    assert (tmp_path / "out/scores.parquet").exists()
    assert (tmp_path / "out/record.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tasks", "helaswag"), "there is no task 'helaswag'"),
        (("--tasks", "gsm8k"), "GSM8K's test set is missing"),
        (("--tasks", "text"), "the task text needs documents"),
        (("--tasks", "arithmetic", "--decoding", "forsed"), "decoding 'forsed' is none of"),
        (("--tasks", "arithmetic", "--limit", "0"), "limit of 0"),
        (("--tasks", "arithmetic", "--limit", "2", "--max-new-tokens", "500"), "leaves no room for a prompt"),
    ],
)
def test_mistakes_are_one_sentence(model: Path, arguments: tuple[str, ...], said: str) -> None:
    done = vocablab("evaluate", str(model), *arguments)
    assert done.returncode == 2
    shown = done.stderr.decode()
    assert said in shown
    assert "Traceback" not in shown


def test_which_model_a_name_means(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "study" / "arm" / "seed0"
    run.mkdir(parents=True)
    (run / "export").symlink_to(model)
    assert model_source(str(run), "main", None).directory == model
    (run / "sft").symlink_to(model)
    assert model_source(str(run), "main", None).name.endswith("facts")
    data = tmp_path / "data"
    (data / "openai-community").mkdir(parents=True)
    (data / "openai-community/gpt2").symlink_to(model)
    assert model_source("openai-community/gpt2", "main", data).directory == model
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="the Hugging Face hub did not give it"):
        model_source("openai-community/gpt3", "main", data)
    with pytest.raises(UserError, match="holds no model"):
        model_source(str(tmp_path), "main", None)
    with pytest.raises(UserError, match="no run of pretraining with kept checkpoints"):
        checkpoints_of(model_source(str(model), "main", None))


def test_documents_are_spread_evenly_and_named_apart(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.jsonl").write_text("".join(f'{{"text": "{folder}{i}"}}\n' for i in range(3)))
    found = wanted(["text"], None, 0, Answering(), tmp_path, ("native",), None).texts
    assert len({name for name, _ in found}) == len(found) == 6
    few = wanted(["text"], 2, 0, Answering(), tmp_path, ("native",), None).texts
    assert [text for _, text in few] == ["a0", "b0"]
