"""`vocablab export` and `import`: what is published computes what was trained; what cannot be is one sentence."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.networks import randomised
from support.shell import vocablab
from support.training import base_vocabulary
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel
from transformers import GPT2Config as TheirConfig

from vocablab.base.errors import UserError
from vocablab.base.modules import load_file as load_python
from vocablab.base.records import read_record
from vocablab.corpus.lost_form import FormCode
from vocablab.corpus.sources import GeneratedProse
from vocablab.export.hugging_face import export
from vocablab.lab import cli
from vocablab.lab.run_context import Place, RunContext
from vocablab.lab.stages import make_vocabulary, run_stages
from vocablab.lab.trained import kept_checkpoints, read_trained
from vocablab.model import hugging_face
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.pretrain import loop
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.vocabulary import Vocabulary

SMALL = (
    "--recipe", "tiny", "--device", "cpu", "--set", "model.n_layer=1", "--set", "model.n_embd=32",
    "--set", "model.n_head=2", "--set", "pretrain.precision=float32", "--set", "pretrain.keep_checkpoints=true",
)  # fmt: skip
IDS = torch.randint(0, 320, (2, 40), generator=torch.Generator().manual_seed(0))
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command line in this process: status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vocablab", *map(str, arguments)])
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        monkeypatch.delenv("VOCABLAB_DATA", raising=False)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return run


def sentence(done: tuple[int, str, str], status: int = 2) -> str:
    assert done[0] == status, done
    said = done[2].splitlines()[-1]
    assert said.startswith("vocablab: ")
    assert "Traceback" not in done[2]
    return said


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("corpus")
    (place / "vocabulary").mkdir()
    base_vocabulary().save(place / "vocabulary")
    text = place / "prose.jsonl"
    text.write_text("\n".join(json.dumps({"text": d.text}) for d in GeneratedProse(400, 0.5).documents(None, 0)))
    done = vocablab(
        "prepare", "--source", str(text), "--vocabulary", str(place / "vocabulary"), "--out", str(place / "corpus"),
        "--intervention", "mul_facts", "--validation-share", "0.05", "--jobs", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return place / "corpus/mul_facts"


@pytest.fixture(scope="module")
def pretrained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "facts"
    done = vocablab("pretrain", str(corpus), "--out", str(out), *SMALL)
    assert done.returncode == 0, done.stderr.decode()
    return out


@pytest.fixture
def run(pretrained: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(pretrained, tmp_path / "run")


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    tiny = load_python(str(Path(__file__).with_name("tiny_study.py")), "study").study()
    declared, place = tiny, Place(tmp_path_factory.mktemp("runs"), None)
    recipe = replace(declared.arms[1].recipe, pretrain=replace(declared.arms[1].recipe.pretrain, keep_checkpoints=True))
    declared = replace(declared, arms=tuple(replace(arm, recipe=recipe) for arm in declared.arms))
    make_vocabulary(declared, place)
    context = RunContext(declared, declared.arms[1], 0, place)
    run_stages(context, "export")
    return context


def same_logits(directory: Path, network: Any, ids: torch.Tensor = IDS) -> bool:
    theirs = AutoModelForCausalLM.from_pretrained(directory).eval()
    with torch.no_grad():
        return torch.allclose(theirs(ids).logits, network(ids), atol=1e-4)


def test_a_run_is_exported_with_its_record(corpus: Path, pretrained: Path, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "model"
    status, said, _ = call("export", pretrained, "--out", out)
    assert status == 0
    assert "largest difference" in said
    trained = read_trained(pretrained)
    assert same_logits(out, trained.network)
    assert not same_logits(out, trained.network.config.build(trained.codec.vocabulary.padded_size, 0))
    assert AutoTokenizer.from_pretrained(out).convert_tokens_to_ids("<MUL_9_9_81>") == 364
    assert FormCode.load(out).counts == FormCode.load(pretrained).counts == FormCode.load(corpus).counts
    assert FormCode.load(out).counts
    record, made = read_record(out), read_record(pretrained)
    assert record is not None
    assert made is not None
    assert record.inputs == {"pretrain": made.fingerprint}
    assert "README.md" in record.files
    card = (out / "README.md").read_text(encoding="utf-8")
    final = made.counts["final"]["val_bits_per_byte"]
    for said in (made.fingerprint, f"steps: {made.counts['steps']:,}", f"{final:.4f} held out"):
        assert said in card
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    status, again, _ = call("export", pretrained, "--out", out, "--json")
    assert status == 0
    assert json.loads(again)["largest_logit_difference"] == record.counts["largest_logit_difference"]
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    kept = kept_checkpoints(pretrained)[0][1]
    assert "another configuration" in sentence(call("export", pretrained, "--checkpoint", kept, "--out", out))


def test_kept_checkpoints_are_exported_too_also_of_an_unfinished_run(
    pretrained: Path, run: Path, tmp_path: Path, call: Call
) -> None:
    kept = kept_checkpoints(pretrained)
    steps = json.loads((pretrained / "record.json").read_text())["counts"]["steps"]
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})
    assert kept[-1] == (steps, pretrained / "model.safetensors")
    assert len(kept) >= 4
    step, file = kept[0]
    trained = read_trained(pretrained, file)
    assert trained.record["steps"] == step
    assert trained.record["tokens"] < read_trained(pretrained).record["tokens"]
    assert f"step {step}" in trained.name
    partial = run.rename(tmp_path / "run.partial")
    for name in ("record.json", "model.safetensors"):
        (partial / name).unlink()
    inside = partial / "checkpoints" / file.name
    for number, arguments in enumerate(([pretrained, "--checkpoint", file], [file], [partial, "--checkpoint", inside])):
        out = tmp_path / str(number)
        assert call("export", *arguments, "--out", out)[0] == 0
        assert same_logits(out, trained.network)
        assert not same_logits(out, read_trained(pretrained).network)
        assert f"steps: {step}\n" in (out / "README.md").read_text(encoding="utf-8")
    # Of an unfinished run nothing says which code made it.
    assert "commit" not in (tmp_path / "2/README.md").read_text(encoding="utf-8")
    assert kept_checkpoints(partial)[0] == (step, inside)
    assert "is unfinished" in sentence(call("export", partial, "--out", tmp_path / "x"))
    assert "an unfinished run lies at" in sentence(call("export", tmp_path / "run", "--out", tmp_path / "x"))


def test_an_interrupted_run_can_be_read(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    def stop(self: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop._Run, "finish", stop)
    assert call("pretrain", corpus, "--out", tmp_path / "run", *SMALL)[0] == 130
    partial = tmp_path / "run.partial"
    step, file = kept_checkpoints(partial)[-1]
    trained = read_trained(partial, file)
    assert trained.record["steps"] == step
    assert trained.forms.counts == FormCode.load(corpus).counts


def test_weights_of_a_compiled_network_have_plain_names(run: Path) -> None:
    _, file = kept_checkpoints(run)[0]
    plain = read_trained(run, file).network.state_dict()
    state = {name.replace("h.0.", "h.0._orig_mod."): tensor for name, tensor in load_file(file).items()}
    assert any("_orig_mod" in name for name in state)
    (run / "record.json").unlink()
    partial = run.rename(run.with_name("run.partial"))
    file = partial / "checkpoints" / file.name
    save_file(state, file)
    read = read_trained(partial, file).network.state_dict()
    assert all(torch.equal(read[name], plain[name]) for name in plain)


def test_a_study_is_exported_as_its_stage_did(studied: RunContext, tmp_path: Path, call: Call) -> None:
    stage = studied.path("pretrain")
    trained = read_trained(stage)
    assert trained.codec.vocabulary.fingerprint() == studied.codec().vocabulary.fingerprint()
    assert trained.codec.intervention == studied.arm.intervention
    assert trained.forms.counts == FormCode.load(studied.path("prepare")).counts
    assert trained.forms.counts
    assert trained.name == "tiny/mul_facts/seed0/pretrain"
    exported = studied.path("export")
    assert same_logits(exported, trained.network)
    assert FormCode.load(exported).counts == trained.forms.counts
    assert "tiny/mul_facts/seed0" in (exported / "README.md").read_text(encoding="utf-8")
    for number, path in enumerate((stage, stage.parent)):
        out = tmp_path / str(number)
        assert call("export", path, "--out", out)[0] == 0
        assert (out / "model.safetensors").read_bytes() == (exported / "model.safetensors").read_bytes()
    step, file = kept_checkpoints(stage.parent)[0]
    copy = shutil.copytree(stage.parent, tmp_path / "seed0")
    partial = (copy / "pretrain").rename(copy / "pretrain.partial")
    for name in ("record.json", "model.safetensors"):
        (partial / name).unlink()
    unfinished = read_trained(copy, partial / "checkpoints" / file.name)
    assert unfinished.record["steps"] == step
    assert torch.equal(unfinished.network.input_rows, read_trained(stage, file).network.input_rows)


@pytest.mark.parametrize("fault", ["untransposed", "swapped fact rows", "lost bias"])
def test_a_wrong_layout_publishes_nothing_and_exits_1(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, fault: str
) -> None:
    """The planted fault is in the exporter itself, where it would be in life."""
    real = hugging_face._gpt2

    def layout(config: GPT2Config) -> hugging_face.Layout:
        found = real(config)
        square = [replace(p, transposed=False) if p.ours.endswith("attn.c_proj.weight") else p for p in found.places]
        return replace(found, places=tuple(square))

    original = hugging_face.to_hugging_face

    def converted(config: Any, state: Any) -> dict[str, torch.Tensor]:
        out = original(config, state)
        if fault == "lost bias":
            out["transformer.h.0.attn.c_attn.bias"] = torch.ones_like(out["transformer.h.0.attn.c_attn.bias"])
        elif fault == "swapped fact rows":
            rows = out["transformer.wte.weight"]
            rows[[320, 364]] = rows[[364, 320]]
        return out

    if fault == "untransposed":
        monkeypatch.setattr(hugging_face, "_gpt2", layout)
    monkeypatch.setattr(hugging_face, "to_hugging_face", converted)
    out = tmp_path / "model"
    said = sentence(call("export", pretrained, "--out", out), 1)
    assert "rule 6" in said
    assert "nothing published" in said
    assert not out.exists()
    monkeypatch.undo()
    assert not out.exists()


def test_after_a_failure_the_same_command_publishes(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    out = tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr("vocablab.export.hugging_face.TOLERANCE", -1.0)
        sentence(call("export", pretrained, "--out", out), 1)
    assert call("export", pretrained, "--out", out)[0] == 0
    assert same_logits(out, read_trained(pretrained).network)


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _rescale(path: Path, **changes: Any) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


def _forget(run: Path) -> None:
    """As if unfinished, so that no hash protects the files."""
    (run / "record.json").unlink()
    run.rename(run.with_name("run.partial"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: (run / "model.safetensors").write_bytes(b"x"), "model.safetensors is damaged or missing"),
        (lambda run: (run / "model.safetensors").unlink(), "has no last weights"),
        (lambda run: _write(run / "intervention.json", '{"type": "NoChange"}'), "intervention.json is damaged"),
        (lambda run: _rescale(run / "model.json", n_head=4), "model.json is damaged"),
        (lambda run: (run / "forms.json").unlink(), "forms.json is damaged or missing"),
        (lambda run: (run / "model.json").unlink(), "neither a directory of vocablab pretrain"),
        (lambda run: (run / "record.json").unlink(), "has no record.json"),
        (lambda run: _rescale(run / "record.json", stage="sft"), "is of the stage sft"),
        (lambda run: _write(run / "record.json", "{"), "a record is damaged"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_one_sentence(run: Path, call: Call, spoil: Callable[[Path], None], said: str) -> None:
    spoil(run)
    assert said in sentence(call("export", run, "--out", run.parent / "model"))
    assert not (run.parent / "model").exists()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run, file: _rescale(run / "model.json", n_layer=2), "transformer.h.1.attn.c_attn.bias is not in both"),
        (lambda run, file: _rescale(run / "model.json", n_layer="x"), "expected int"),
        (lambda run, file: _rescale(run / "model.json", n_embd=64), "has shape"),
        (lambda run, file: _rescale(run / "model.json", type="Nothing"), "'Nothing' is not one of"),
        (lambda run, file: (run / "forms.json").unlink(), "the code of lost forms is missing"),
        (lambda run, file: (run / "vocabulary.json").unlink(), "there is no vocabulary at"),
        (lambda run, file: file.write_bytes(b"x" * 99), "cannot be read"),
        (lambda run, file: save_file({**load_file(file), "extra": torch.zeros(1)}, file), "extra is not in both"),
        (lambda run, file: _write(run / "metrics.jsonl", "{"), "the readings"),
    ],
)  # fmt: skip
def test_what_does_not_fit_an_unfinished_run_is_one_sentence(
    run: Path, spoil: Callable[[Path, Path], None], said: str
) -> None:
    name = kept_checkpoints(run)[0][1].name
    _forget(run)
    run = run.with_name("run.partial")
    spoil(run, run / "checkpoints" / name)
    with pytest.raises(UserError, match=said):
        read_trained(run, run / "checkpoints" / name)


def test_weights_of_another_run_are_refused(pretrained: Path, run: Path, tmp_path: Path, call: Call) -> None:
    other = kept_checkpoints(run)[0][1]
    assert "neither model.safetensors nor a kept checkpoint" in sentence(
        call("export", pretrained, "--checkpoint", other, "--out", tmp_path / "model")
    )
    assert "there are no weights" in sentence(
        call("export", pretrained, "--checkpoint", tmp_path / "none", "--out", tmp_path / "model")
    )
    wrong = call("export", run / "model.json", "--out", tmp_path / "m")
    assert "is no file of weights in safetensors" in sentence(wrong)
    assert "a file of weights itself" in sentence(
        call("export", other, "--checkpoint", other, "--out", tmp_path / "model")
    )


def test_a_study_whose_corpus_was_made_anew_is_refused(studied: RunContext, tmp_path: Path) -> None:
    copy = shutil.copytree(studied.path("prepare").parent, tmp_path / "seed0")
    _rescale(copy / "prepare/record.json", fingerprint="0" * 64)
    with pytest.raises(UserError, match="another corpus"):
        read_trained(copy)


# Import.


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base vocabulary of 320 tokens, as `--vocabulary` takes it."""
    directory = tmp_path_factory.mktemp("base")
    Vocabulary(base_vocabulary().base, (), 320).save(directory)
    return directory


ROWS = 384
OURS = GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=48)


def nanogpt(path: Path, network: Any, config: GPT2Config, prefix: str = "_orig_mod.") -> Path:
    """Our network as nanoGPT saves one: its names are ours."""
    state = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    state[f"{prefix}lm_head.weight"] = network.input_rows
    state[f"{prefix}transformer.h.0.attn.bias"] = torch.ones(1, 1, config.n_positions, config.n_positions).tril()
    sizes = {
        "n_layer": config.n_layer, "n_head": config.n_head, "n_embd": config.n_embd, "block_size": config.n_positions,
        "bias": True, "vocab_size": ROWS, "dropout": 0.1,
    }  # fmt: skip
    torch.save({"model": state, "model_args": sizes, "iter_num": 300, "best_val_loss": torch.tensor(3.0)}, path)
    return path


def round_trip(call: Call, source: Path, base: Path, tmp_path: Path, network: Any) -> dict[str, Any]:
    """Import, export, and compare with `network`; returns the counts of the import."""
    status, said, _ = call("import", source, "--out", tmp_path / "in", "--vocabulary", base, "--json")
    assert status == 0, said
    trained = read_trained(tmp_path / "in")
    with torch.no_grad():
        assert torch.equal(trained.network(IDS), network(IDS))
    assert trained.codec.vocabulary.padded_size == ROWS
    assert trained.codec.intervention == NoChange()
    assert call("export", tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    assert same_logits(tmp_path / "out", network)
    found: dict[str, Any] = json.loads(said)
    return found


def test_nanogpt_in_and_out(tmp_path: Path, base: Path, call: Call) -> None:
    network = randomised(OURS, ROWS)
    counts = round_trip(call, nanogpt(tmp_path / "ckpt.pt", network, OURS), base, tmp_path, network)
    assert (counts["steps"], counts["val_nats_per_token"], counts["kind"]) == (300, 3.0, "nanoGPT")
    assert "exactly" in counts["notes"][0]
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "steps: 300" in card
    assert "imported from: `ckpt.pt`" in card
    assert counts["notes"][0] in card
    assert "commit of vocablab" in card
    assert kept_checkpoints(tmp_path / "in") == [(300, tmp_path / "in/model.safetensors")]
    # The second time there is nothing to do; another file is another network.
    status, said, _ = call("import", tmp_path / "ckpt.pt", "--out", tmp_path / "in", "--vocabulary", base)
    assert status == 0
    assert "384 rows for 320 tokens" in said
    nanogpt(tmp_path / "ckpt.pt", randomised(OURS, ROWS, 1), OURS)
    again = call("import", tmp_path / "ckpt.pt", "--out", tmp_path / "in", "--vocabulary", base)
    assert "another configuration (source:" in sentence(again)


def _foreign(directory: Path, network: Any) -> Path:
    """A directory as transformers alone makes it, without our files."""
    codec = Codec(Vocabulary(base_vocabulary().base, (), ROWS), NoChange())
    export(network, codec, directory, FormCode.empty(), {})
    for name in ("vocabulary.json", "intervention.json", "forms.json", "README.md"):
        (directory / name).unlink()
    return directory


@pytest.mark.parametrize(
    "config", [OURS, ModernConfig(2, 4, 32, 48, n_kv_head=2, head_width=16, mlp_width=48, tied=True),
               ModernConfig(n_layer=2, n_head=2, n_embd=32, n_positions=48)]
)  # fmt: skip
def test_hugging_face_in_and_out(tmp_path: Path, base: Path, call: Call, config: Any) -> None:
    network = randomised(config, ROWS)
    (tmp_path / "theirs").mkdir()
    counts = round_trip(call, _foreign(tmp_path / "theirs", network), base, tmp_path, network)
    assert (counts["kind"], counts["source"], counts["notes"]) == ("Hugging Face", "theirs", [])
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "steps:" not in card
    with pytest.raises(UserError, match="does not say after how many steps"):
        kept_checkpoints(tmp_path / "in")


def test_a_model_that_transformers_made_computes_the_same(tmp_path: Path, base: Path, call: Call) -> None:
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(TheirConfig(vocab_size=ROWS, n_positions=48, n_embd=32, n_layer=2, n_head=2)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    base_vocabulary().base.save(str(tmp_path / "theirs/tokenizer.json"))
    assert call("import", tmp_path / "theirs", "--out", tmp_path / "in", "--vocabulary", base)[0] == 0
    with torch.no_grad():
        ours = read_trained(tmp_path / "in").network(IDS)
        assert torch.allclose(ours, theirs(IDS).logits, atol=1e-4)


def test_gpt2s_vocabulary_is_the_default(tmp_path: Path, call: Call) -> None:
    config, rows = GPT2Config(1, 1, 4, 8), 50304
    network = randomised(config, rows)
    assert call("import", nanogpt(tmp_path / "ckpt.pt", network, config, ""), "--out", tmp_path / "in")[0] == 0
    vocabulary = read_trained(tmp_path / "in").codec.vocabulary
    assert (vocabulary.base_size, vocabulary.size, vocabulary.padded_size) == (50257, 50257, 50304)
    assert call("export", tmp_path / "in", "--out", tmp_path / "out")[0] == 0
    ids = AutoTokenizer.from_pretrained(tmp_path / "out").encode("Hello, world")
    assert ids == [15496, 11, 995]
    suppressed = AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config.suppress_tokens
    assert suppressed == list(range(50257, 50304))


def test_what_cannot_be_imported_is_one_sentence(tmp_path: Path, base: Path, corpus: Path, call: Call) -> None:
    path, out = nanogpt(tmp_path / "ckpt.pt", randomised(OURS, ROWS), OURS), tmp_path / "in"
    (tmp_path / "x.bin").write_bytes(b"x")
    other = tmp_path / "other"
    other.mkdir()
    Vocabulary(base_vocabulary().base, (), 320).save(other)
    for source, vocabulary, said in (
        (path, "gpt2", "384 rows, the vocabulary 50257 tokens"),
        (path, tmp_path / "none", "it is gpt2 or a directory with a vocabulary.json"),
        (path, corpus, "it has 45 added tokens"),
        (tmp_path / "none.pt", base, "there is no file"),
        (tmp_path / "x.bin", base, "neither a .pt file nor a directory"),
        ("nobody/nothing", base, "SOURCE nobody/nothing: there is no directory"),
    ):
        assert said in sentence(call("import", source, "--out", out, "--vocabulary", vocabulary))
        assert not out.exists()
    path.write_bytes(b"x" * 100)
    assert "no checkpoint that torch can read" in sentence(call("import", path, "--out", out, "--vocabulary", base))
    assert not out.exists()
