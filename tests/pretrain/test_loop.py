"""The loop: golden losses, shared initialisation, bits per byte, accumulation, refusals, planted faults."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import CONFIG, MODEL, MODERN, MUON, Parts, base_vocabulary, shards, train

from vocablab.base.errors import RunError, UserError
from vocablab.model.network import ModelConfig
from vocablab.pretrain import loop
from vocablab.pretrain.config import Pretraining
from vocablab.pretrain.next_token import NextToken
from vocablab.pretrain.reading import BitsReader
from vocablab.training.budget import Flops, SourceBytes, Tokens
from vocablab.training.distributed import Ranks
from vocablab.training.optimizer import AdamW
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens, PlainTextFacts, ShuffledMeaning
from vocablab.vocab.vocabulary import Vocabulary

GOLDEN = Path(__file__).parents[1] / "golden/pretrain.json"


@pytest.fixture(scope="module")
def base() -> Vocabulary:
    return base_vocabulary()


@pytest.fixture(scope="module")
def facts(base: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return shards(base, FactTokens(), tmp_path_factory.mktemp("facts"))


@pytest.fixture(scope="module")
def control(base: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return shards(base, NoChange(), tmp_path_factory.mktemp("control"))


def test_all_arms_read_the_same_documents_and_start_equal(base: Vocabulary, tmp_path: Path) -> None:
    rules = [NoChange(), FactTokens(), PlainTextFacts(), ShuffledMeaning()]
    found = [shards(base, rule, tmp_path / str(i))[0] for i, rule in enumerate(rules)]
    assert len({counts["train"]["documents_sha256"] for counts in found}) == 1
    assert [counts["train"]["spans"] > 0 for counts in found] == [False, True, True, True]
    assert all(gate["passed"] for counts in found for gate in counts["gates"])
    # The sham loses the fact as well as the form.
    lost = [counts["validation"]["lost_bits"] for counts in found]
    assert lost[0] == 0
    assert lost[1] == lost[2] > 0
    assert lost[3] > 2 * lost[1]
    first, second = MODEL.build(base.padded_size, 7), MODEL.build(base.padded_size, 7)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    # A stream per name: a deeper model shares what both have (projections differ by their scale).
    deeper = replace(MODEL, n_layer=2).build(base.padded_size, 7).state_dict()
    for name, value in first.state_dict().items():
        if not name.endswith("c_proj.weight"):
            assert torch.equal(deeper[name], value), name


@pytest.mark.parametrize(("name", "model", "config"), [("gpt2", MODEL, CONFIG), ("modern", MODERN, MUON)])
def test_golden_loss(facts: Parts, tmp_path: Path, name: str, model: ModelConfig, config: Pretraining) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    counts = train(facts, tmp_path / "run", config, model)
    assert counts["steps"] == golden["steps"]
    # Exact on one machine; other processors add in another order, and Muon orthogonalises in bfloat16.
    loose = 1e-4 if name == "gpt2" else 2e-3
    for key in ("val_bits_per_byte", "train_bits_per_byte"):
        assert counts["final"][key] == pytest.approx(golden[key], rel=loose)


def test_the_golden_loss_sees_a_wrong_step(facts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: every step reads the same four windows."""
    real = loop._Run._windows
    monkeypatch.setattr(loop._Run, "_windows", lambda self, starts: real(self, [s % (4 * 64) for s in starts]))
    golden = json.loads(GOLDEN.read_text())["gpt2"]
    found = train(facts, tmp_path / "run")["final"]["val_bits_per_byte"]
    assert abs(found / golden["val_bits_per_byte"] - 1) > 1e-2


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_accumulation_equals_one_pass(control: Parts, tmp_path: Path, micro_batch: int) -> None:
    config = replace(CONFIG, budget=SourceBytes(20_000))
    one = train(control, tmp_path / "one", config)["final"]
    cut = train(control, tmp_path / "cut", replace(config, micro_batch=micro_batch))["final"]
    for key in ("val_bits_per_byte", "train_nats_per_token", "gradient_norm"):
        assert cut[key] == pytest.approx(one[key], rel=1e-4)


@torch.no_grad()
def test_validation_counts_every_byte_and_token_once(facts: Parts) -> None:
    _, codec, training, held = facts
    model = MODEL.build(codec.vocabulary.padded_size, 0)
    reader = BitsReader(training, held, 5, MODEL.n_positions, codec.vocabulary.eos_id)
    bits = 0.0
    for row in held.documents[:5]:
        ids = [codec.vocabulary.eos_id, *map(int, held.tokens[row["start"] : row["start"] + row["tokens"]])]
        for position in range(1, len(ids)):
            start = (position - 1) // MODEL.n_positions * MODEL.n_positions
            logits = model(torch.tensor([ids[start:position]]))[0, -1]
            bits -= float(logits.log_softmax(-1)[ids[position]]) / math.log(2)
        bits += float(row["lost_bits"])
    expected = bits / int(held.documents["raw_bytes"][:5].sum())
    assert reader.validation_bits_per_byte(NextToken(model), "cpu") == pytest.approx(expected, rel=1e-5)


def test_the_counts_say_what_was_done(facts: Parts, tmp_path: Path) -> None:
    counts = train(facts, tmp_path / "run", replace(CONFIG, budget=SourceBytes(20_000)))
    model = MODEL.build(facts[1].vocabulary.padded_size, 0)
    assert counts["parameters"] == sum(p.numel() for p in model.parameters())
    assert counts["tokens"] == counts["steps"] * 8 * MODEL.n_positions
    assert counts["source_bytes"] == pytest.approx(20_000, rel=0.06)
    assert counts["flops"]["head"] == 6 * 32 * facts[1].vocabulary.padded_size * counts["tokens"]
    assert counts["step_zero"]["new_mass"] > 0
    assert (counts["precision"], counts["compiled"], counts["ranks"]) == ("float32", False, 1)
    assert [gate["rule"] for gate in counts["gates"]] == [11, 12]
    assert sorted(p.name for p in (tmp_path / "run").glob("*.*")) == [
        "metrics.jsonl", "model.safetensors", "speed.jsonl",
    ]  # fmt: skip


def test_the_budget_has_a_unit() -> None:
    assert SourceBytes(1000).tokens(0.25, 1e6) == 250
    assert Tokens(1000).tokens(0.25, 1e6) == 1000
    assert Flops(1e9).tokens(0.25, 1e6) == 1000


def test_a_short_corpus_is_refused(control: Parts, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="rule 12"):
        train(control, tmp_path / "run", replace(CONFIG, budget=Tokens(1e6)))
    with pytest.raises(RunError, match="rule 12"):
        train(control, tmp_path / "run", replace(CONFIG, batch_size=4096, max_epochs=100.0))
    again = train(control, tmp_path / "run", replace(CONFIG, budget=SourceBytes(160_000), max_epochs=9.0))
    assert 1 < again["epochs"] < 9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"precision": "float16"}, "precision"),
        ({"compile": "yes"}, "compile"),
        ({"parallel": "tensor"}, "parallel"),
        ({"batch_size": 0}, "batch_size"),
        ({"micro_batch": 0}, "micro_batch"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        replace(CONFIG, **change)


def test_a_batch_that_ranks_do_not_divide_is_refused(control: Parts, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8 sequences cannot be split evenly over 3 ranks"):
        train(control, tmp_path / "run", place=Ranks(0, 3))


def test_low_precision_state_is_caught_after_the_first_step(
    control: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an optimiser whose moments are bfloat16 (rule 11)."""

    class Low(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    self.state[parameter]["exp_avg"] = torch.zeros(2, dtype=torch.bfloat16)
            return super().step(closure)

    monkeypatch.setattr(
        AdamW, "build", lambda self, named, matrices: [Low([{"params": [*named.values()], "peak_learning_rate": 1e-3}])]
    )
    with pytest.raises(RunError, match="rule 11"):
        train(control, tmp_path / "run")
    assert not (tmp_path / "run/model.safetensors").exists()
