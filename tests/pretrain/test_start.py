"""Continuing from a Hugging Face checkpoint: base rows bit-identical, everything that is another model refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import TEXT
from support.training import BRIEF, MODEL, MODERN, Parts, base_vocabulary, shards, train

from vocablab.base.errors import UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.export.hugging_face import export
from vocablab.model.network import ModelConfig, Network
from vocablab.model.new_rows import ComposedRows, MeanRows, NewRows, PieceRows, RandomRows
from vocablab.pretrain.start import Checkpoint, read_checkpoint, start
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary

MODELS: dict[str, ModelConfig] = {"gpt2": MODEL, "modern": MODERN, "tied": replace(MODERN, tied=True)}
METHODS: list[NewRows] = [
    RandomRows(), MeanRows(), PieceRows(), ComposedRows(width=8), ComposedRows(width=8, mode="first"),
]  # fmt: skip


def trained(config: ModelConfig, rows: int) -> Network:
    """Weights far from any initialisation."""
    network = config.build(rows, 3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return shards(base_vocabulary(), FactTokens(), tmp_path_factory.mktemp("facts"))


@pytest.fixture(scope="module")
def exported(facts: Parts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of the control: the base vocabulary without added tokens, padded otherwise than the run's."""
    base = facts[1].vocabulary.base
    codec = Codec(Vocabulary(base, (), 330), NoChange())
    found = {}
    for name, config in MODELS.items():
        found[name] = tmp_path_factory.mktemp("exported") / name
        found[name].mkdir()
        export(trained(config, 330), codec, found[name], FormCode.empty(), {})
    return found


def copy(exported: Path, tmp_path: Path, without: str = "") -> Path:
    out = tmp_path / "copy"
    out.mkdir()
    for file in exported.iterdir():
        if file.name != without:
            (out / file.name).write_bytes(file.read_bytes())
    return out


def read(path: Path, parts: Parts) -> Checkpoint:
    return read_checkpoint(str(path), "main", None, parts[1].vocabulary)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_base_rows_are_the_checkpoints(facts: Parts, exported: dict[str, Path], name: str, method: NewRows) -> None:
    codec, config = facts[1], MODELS[name]
    network, zero = start(config, codec, method, 0, read(exported[name], facts))
    base, theirs = codec.vocabulary.base_size, trained(config, 330)
    assert zero is not None
    assert zero.positions > 0
    assert 0 < zero.new_mass < 1
    with torch.no_grad():
        tables = network.tables()
    for ours, old in zip(tables, (theirs.input_rows, theirs.output_rows), strict=True):
        assert torch.equal(ours[:base], old[:base])
        assert not torch.equal(ours[base : codec.vocabulary.size], old[base : codec.vocabulary.size])
    rows = (theirs.input_rows, theirs.output_rows)
    for key, old_parameter in theirs.named_parameters():
        if not any(old_parameter is table for table in rows):
            assert torch.equal(dict(network.named_parameters())[key], old_parameter), key
    # And so what it computes for base tokens is what the checkpoint does.
    ids = torch.randint(0, base, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(ids)[..., :base], theirs(ids)[..., :base], atol=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "modern"])
def test_training_goes_on_from_there(facts: Parts, exported: dict[str, Path], tmp_path: Path, name: str) -> None:
    checkpoint = read(exported[name], facts)
    config = replace(BRIEF, init_from=str(exported[name]), new_rows=MeanRows())
    counts = train(facts, tmp_path / "run", config, MODELS[name], checkpoint=checkpoint)
    zero = counts["step_zero"]
    assert zero.keys() >= {"kl_bits", "new_mass", "padding_mass", "positions"}
    # Mean rows have at most their share of the probability (the docstring's bound).
    added = facts[1].vocabulary.size - facts[1].vocabulary.base_size
    assert 0 < zero["new_mass"] <= added / facts[1].vocabulary.size + 1e-6
    state = load_file(tmp_path / "run/model.safetensors")
    table = "transformer.wte.weight" if name == "gpt2" else "embed.weight"
    base = facts[1].vocabulary.base_size
    moved = (state[table][:base] != trained(MODELS[name], 330).state_dict()[table][:base]).any(1)
    assert moved.float().mean() > 0.5


def test_the_control_continues_without_step_zero(exported: dict[str, Path], tmp_path: Path) -> None:
    parts = shards(base_vocabulary(), NoChange(), tmp_path / "c")
    network, zero = start(MODEL, parts[1], RandomRows(), 0, read(exported["gpt2"], parts))
    assert zero is None
    assert torch.equal(network.input_rows[:320], trained(MODEL, 330).input_rows[:320])


def test_another_tokenizer_is_refused(facts: Parts, exported: dict[str, Path]) -> None:
    longer = TEXT[::-1] + " zebras quizzed jumping foxes over lazy dogs"
    for base in (TrainedBPE(320).build([longer] * 9), TrainedBPE(300).build([TEXT] * 9)):
        with pytest.raises(UserError, match=r"its rows belong to other tokens|checkpoint without added tokens"):
            read_checkpoint(str(exported["gpt2"]), "main", None, Vocabulary(base, (), 384))


def test_a_checkpoint_with_added_tokens_is_refused(facts: Parts, tmp_path: Path) -> None:
    export(trained(MODEL, facts[1].vocabulary.padded_size), facts[1], tmp_path, FormCode.empty(), {})
    with pytest.raises(UserError, match="continue from a checkpoint without added tokens"):
        read(tmp_path, facts)


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("gpt2", replace(MODEL, n_positions=32), "positions: 64, the recipe's model 32"),
        ("gpt2", replace(MODEL, n_layer=2), "layers"),
        ("gpt2", replace(MODEL, n_embd=64), "width"),
        # The same shapes, another function.
        ("gpt2", replace(MODEL, n_head=4), "heads: 2, the recipe's model 4"),
        ("modern", replace(MODERN, rope_theta=5e5), "rotary base"),
        ("modern", replace(MODERN, n_positions=32), "positions"),
        ("modern", replace(MODERN, tied=True), "tied head"),
        ("modern", replace(MODERN, n_head=4), "heads"),
        ("modern", MODEL, "is a ModernConfig, the recipe's model a GPT2Config"),
    ],
)
def test_another_size_is_refused(
    facts: Parts, exported: dict[str, Path], name: str, model: ModelConfig, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        start(model, facts[1], RandomRows(), 0, read(exported[name], facts))


def test_a_name_that_is_nowhere_is_one_sentence(facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*arguments: Any, **options: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"--init-from owner/name: there is no directory .*LocalEntryNotFoundError"):
        read_checkpoint("owner/name", "main", None, facts[1].vocabulary)
    with pytest.raises(UserError, match=f"nor a folder no/where in {tmp_path}"):
        read_checkpoint("no/where", "main", tmp_path, facts[1].vocabulary)


def test_the_data_directory_and_the_hub_are_asked_in_turn(
    facts: Parts, exported: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def download(name: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(exported["gpt2"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    local = read(exported["gpt2"], facts)
    hub = read_checkpoint("owner/name", "v2", tmp_path, facts[1].vocabulary)
    assert (hub.sha256, hub.name) == (local.sha256, "owner/name")
    assert asked[0][:2] == ("owner/name", "v2")
    # Nothing that could hold a pickle is fetched.
    assert not any(pattern.endswith(("bin", "pt", "*", "pkl")) for pattern in asked[0][2])
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner/name").symlink_to(exported["modern"])
    assert read_checkpoint("owner/name", "v2", tmp_path, facts[1].vocabulary).config == MODERN
    assert len(asked) == 1


def test_pickled_weights_are_not_read(facts: Parts, exported: dict[str, Path], tmp_path: Path) -> None:
    out = copy(exported["gpt2"], tmp_path, "model.safetensors")
    torch.save(load_file(exported["gpt2"] / "model.safetensors"), out / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled weights are not read"):
        read(out, facts)


def test_sharded_weights(facts: Parts, exported: dict[str, Path], tmp_path: Path) -> None:
    out = copy(exported["modern"], tmp_path, "model.safetensors")
    tensors = load_file(exported["modern"] / "model.safetensors")
    places = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(places.values()):
        save_file({n: t for n, t in tensors.items() if places[n] == file}, out / file)
    index = out / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    whole, cut = read(exported["modern"], facts), read(out, facts)
    assert all(torch.equal(whole.state[n], cut.state[n]) for n in whole.state)
    (out / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="model-00002-of-00002"):
        read(out, facts)
    index.write_text("{}")
    with pytest.raises(UserError, match="no weight_map"):
        read(out, facts)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_one_sentence(facts: Parts, exported: dict[str, Path], tmp_path: Path, file: str) -> None:
    out = copy(exported["gpt2"], tmp_path)
    (out / file).write_bytes((out / file).read_bytes()[:40])
    with pytest.raises(UserError) as error:
        read(out, facts)
    assert "\n" not in str(error.value)


def test_the_weights_are_part_of_the_identity(facts: Parts, exported: dict[str, Path], tmp_path: Path) -> None:
    out = copy(exported["gpt2"], tmp_path)
    tensors = load_file(out / "model.safetensors")
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, out / "model.safetensors")
    assert read(out, facts).sha256 != read(exported["gpt2"], facts).sha256
