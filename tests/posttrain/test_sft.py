"""Fine-tuning: rules 7 and 11 on TRL's real collator and optimiser, packing, best and last, resume."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vocablab.base.errors import RunError, UserError
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.model import load
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.posttrain import supervised
from vocablab.posttrain.checkpoints import load_model
from vocablab.posttrain.labels import IGNORE, Labelled, check_labels, check_packed, label
from vocablab.posttrain.packing import PackedCollator, first_fit
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.posttrain.sft_trainer import nats_of
from vocablab.posttrain.supervised import fine_tune
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.drills import Drills
from vocablab.tasks.one_step import OneStep
from vocablab.tasks.task import Example
from vocablab.vocab.codec import Codec

EXAMPLES = Arithmetic().examples(None)[:40]
QUIET = lambda *a: None  # noqa: E731


def rows_of(codec: Codec, count: int) -> list[Labelled]:
    return [row for e in EXAMPLES[:count] if (row := label(codec, e, 96)) is not None]


def test_target_and_one_eos_are_learned(codec: Codec) -> None:
    row = label(codec, EXAMPLES[0], 96)
    assert row is not None
    learned = [i for i in row.labels if i != IGNORE]
    assert codec.decode(learned[:-1]) == " <MUL_1_1_1>. The answer is 1."
    assert learned[-1] == codec.vocabulary.eos_id
    assert learned.count(codec.vocabulary.eos_id) == 1
    assert row.target_bytes == len(EXAMPLES[0].target)
    assert label(codec, EXAMPLES[0], 5) is None


def test_literal_eos_in_a_text_is_no_eos(codec: Codec) -> None:
    row = label(codec, Example("x", "User: <|endoftext|>\nAssistant:", " <|endoftext|>"), 96)
    assert row is not None
    assert row.labels.count(codec.vocabulary.eos_id) == 1


def test_a_prompt_that_ends_inside_a_token_is_a_template_mismatch_that_spans_survive(codec: Codec) -> None:
    """A target without its space merges otherwise alone than behind the prompt: who re-tokenizes the prompt to find
    where the completion begins labels the wrong tokens; spans do not care."""
    example = Example("x", "User: What is 6 * 9", " = 54? It is.")
    row = label(codec, example, 96)
    assert row is not None
    # The site 6 * 9 = 54 straddles the boundary: one token, which ends inside the target and so is learned.
    assert codec.vocabulary.added_ids["<MUL_6_9_54>"] in row.labels
    by_template = codec.encode(example.prompt).ids.tolist()
    assert row.input_ids[1 : 1 + len(by_template)] != by_template


def collated(codec: Codec) -> tuple[dict[str, torch.Tensor], list[dict[str, list[int]]]]:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [row.row() for row in rows_of(codec, 4)]
    rows[0] = {key: value[:3] + value[-2:] for key, value in rows[0].items()}
    return DataCollatorForLanguageModeling(pad_token_id=codec.vocabulary.eos_id)(rows), rows


def test_trls_collator_keeps_eos_although_it_is_the_padding(codec: Codec) -> None:
    batch, rows = collated(codec)
    check_labels(batch, codec.vocabulary.eos_id, rows)


@pytest.mark.parametrize("fault", ["eos masked", "padding labelled", "shifted"])
def test_planted_label_faults_are_caught(codec: Codec, fault: str) -> None:
    batch, rows = collated(codec)
    labels, eos = batch["labels"], codec.vocabulary.eos_id
    if fault == "eos masked":  # what a collator does that masks every padding id where pad == eos
        labels[labels == eos] = IGNORE
    elif fault == "padding labelled":
        labels[0, -1] = 7
    else:
        labels[1, 5:-3] = (labels[1, 5:-3] + 1).clamp(min=0)
    with pytest.raises(RunError, match="rule 7"):
        check_labels(batch, eos, rows)


@pytest.mark.parametrize(
    "fault", ["none", "sees another", "label dropped", "example dropped", "positions run on", "eos"]
)
def test_planted_packing_faults_are_caught(codec: Codec, fault: str) -> None:
    rows, eos = [row.row() for row in rows_of(codec, 6)], codec.vocabulary.eos_id
    rows[2] = {key: value[:3] + value[-2:] for key, value in rows[2].items()}
    rows[4] = {key: value[:2] + value[-3:] for key, value in rows[4].items()}
    batch = PackedCollator(eos)(rows)
    assert len(batch["input_ids"]) < len(rows)
    row, start = next(
        (r, int(s)) for r, p in enumerate(batch["position_ids"]) for s in torch.nonzero(p == 0)[1:, 0]
        if bool((batch["labels"][r, s:] != IGNORE).any())
    )  # fmt: skip
    if fault == "none":
        check_packed(batch, eos, rows)
        return
    if fault == "sees another":
        batch["attention_mask"][row, 0, start, start - 1] = True
    elif fault == "label dropped":
        place = int(torch.nonzero(batch["labels"][row] != IGNORE)[0, 0])
        batch["labels"][row, place] = IGNORE
    elif fault == "example dropped":
        batch["labels"][row, start:] = IGNORE
    elif fault == "positions run on":
        batch["position_ids"][row] = torch.arange(batch["position_ids"].shape[1])
    else:
        batch["labels"][batch["labels"] == eos] = IGNORE
    with pytest.raises(RunError, match="rule 7"):
        check_packed(batch, eos, rows)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_every_example_has_one_row_and_no_row_is_too_long(lengths: list[int]) -> None:
    rows = first_fit(lengths)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in row) <= max(lengths) for row in rows)


@pytest.mark.parametrize("size", [GPT2Config(2, 2, 16, 96), ModernConfig(2, 2, 16, 96)])
def test_packed_and_padded_batches_have_the_same_loss_and_gradients(
    codec: Codec, size: ModelConfig, tmp_path: Path
) -> None:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    export(size.build(codec.vocabulary.padded_size, 3), codec, tmp_path / "m", FormCode.empty(), {})
    rows = [row.row() for row in rows_of(codec, 12)]
    rows[3] = {key: value[:3] + value[-2:] for key, value in rows[3].items()}
    found = []
    for collate in (PackedCollator(0), DataCollatorForLanguageModeling(pad_token_id=0)):
        model = load_model(tmp_path / "m")
        nats, learned = nats_of(model, collate(rows))
        nats.backward()
        found.append((nats.item(), learned, torch.cat([p.grad.flatten() for p in model.parameters()])))
    assert found[0][1] == found[1][1] == sum(i != IGNORE for row in rows for i in row["labels"])
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert torch.allclose(found[0][2], found[1][2], atol=2e-5 * float(found[1][2].abs().max()))
    # transformers' own loss of the padded batch, with every position through the head
    padded = DataCollatorForLanguageModeling(pad_token_id=0)(rows)
    theirs = load_model(tmp_path / "m")(**padded).loss * found[0][1]
    assert found[0][0] == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("size", [GPT2Config(1, 2, 16, 96), ModernConfig(1, 2, 16, 96)])
def test_a_small_step_moves_almost_every_parameter(codec: Codec, size: ModelConfig, tmp_path: Path) -> None:
    export(size.build(codec.vocabulary.padded_size, 0), codec, tmp_path / "checkpoint", FormCode.empty(), {})
    config = SupervisedFineTuning(epochs=0.4, batch_size=16, learning_rate=2e-5, warmup_share=0.0)
    counts = fine_tune(config, tmp_path / "checkpoint", EXAMPLES, 0, "cpu", tmp_path, QUIET)
    assert counts["steps"] == 1
    assert counts["parameters_changed"] > 0.99
    assert all(gate["passed"] for gate in counts["gates"])
    assert load(tmp_path, "cpu").codec.intervention == codec.intervention


def tuned(config: SupervisedFineTuning, checkpoint: Path, out: Path, seed: int = 3) -> tuple[bytes, dict]:
    out.mkdir(parents=True, exist_ok=True)
    counts = fine_tune(config, checkpoint, EXAMPLES, seed, "cpu", out, QUIET)
    return (out / "model.safetensors").read_bytes(), counts


def test_the_same_seed_gives_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    config = SupervisedFineTuning(epochs=1, batch_size=16, learning_rate=1e-3)
    first, second = (tuned(config, checkpoint, tmp_path / name)[0] for name in ("a", "b"))
    assert first == second
    assert tuned(config, checkpoint, tmp_path / "c", seed=4)[0] != first


def test_accumulating_small_batches_is_the_large_batch(checkpoint: Path, tmp_path: Path) -> None:
    whole = SupervisedFineTuning(epochs=1, batch_size=16, learning_rate=1e-3, precision="float32")
    losses = []
    for name, config in {
        "whole": whole,
        "parts": SupervisedFineTuning(**{**vars(whole), "micro_batch": 2}),
        "padded": SupervisedFineTuning(**{**vars(whole), "packing": False}),
    }.items():
        tuned(config, checkpoint, tmp_path / name)
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses.append([line.get("loss", line.get("held_out_bits_per_byte")) for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] == pytest.approx(losses[2], rel=1e-4)


class Killed(Exception):
    pass


@pytest.mark.parametrize("order", ["mixed", "drills_first"])
def test_interrupted_and_resumed_equals_uninterrupted(
    checkpoint: Path, tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drills = Drills(examples_count=64)
    config = SupervisedFineTuning(
        epochs=3, batch_size=8, learning_rate=1e-3, drills=drills, order=order, checkpoint_seconds=0.0
    )
    wanted, counts = tuned(config, checkpoint, tmp_path / "whole")
    assert len(counts["lessons"]) == (2 if order == "drills_first" else 1)
    last = counts["steps"]
    for stop in (last // 3, last - 2):

        def stopping(done: float, total: float, note: str, stop: int = stop) -> None:
            if done >= stop:
                raise Killed

        out = tmp_path / f"killed{stop}"
        out.mkdir()
        with pytest.raises(Killed):
            fine_tune(config, checkpoint, EXAMPLES, 3, "cpu", out, stopping)
        assert not (out / "model.safetensors").exists()
        found, again = tuned(config, checkpoint, out)
        assert found == wanted
        assert again == counts
        assert (out / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


@pytest.mark.parametrize("use", ["last", "best"])
def test_best_and_last_are_kept(checkpoint: Path, tmp_path: Path, use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A reading that gets worse: the first epoch is the best.
    worse = iter(range(1, 100))
    monkeypatch.setattr("vocablab.posttrain.sft_trainer.held_out_bits", lambda *a, **k: float(next(worse)))
    config = SupervisedFineTuning(epochs=3, batch_size=8, learning_rate=1e-3, use=use, held_out_share=0.2)
    counts = tuned(config, checkpoint, tmp_path / "out")[1]
    assert counts["best_step"] == counts["readings"][0]["step"] < counts["steps"]
    other = tmp_path / "out" / ("best" if use == "last" else "last")
    assert (
        load(other, "cpu").codec.vocabulary.fingerprint()
        == load(tmp_path / "out", "cpu").codec.vocabulary.fingerprint()
    )
    assert (other / "model.safetensors").read_bytes() != (tmp_path / "out" / "model.safetensors").read_bytes()
    last = tmp_path / "out" if use == "last" else other
    monkeypatch.undo()
    plain = SupervisedFineTuning(**{**vars(config), "use": "last"})
    assert (last / "model.safetensors").read_bytes() == tuned(plain, checkpoint, tmp_path / "b")[0]
    assert not (tmp_path / "out" / supervised.WORK).exists()


def test_a_better_epoch_replaces_a_worse_one(checkpoint: Path, tmp_path: Path) -> None:
    config = SupervisedFineTuning(epochs=4, batch_size=8, learning_rate=2e-3, held_out_share=0.2)
    counts = tuned(config, checkpoint, tmp_path / "out")[1]
    bits = [reading["bits_per_byte"] for reading in counts["readings"]]
    assert len(bits) == 4
    assert bits[0] > bits[1] > bits[3]
    assert counts["best_step"] == counts["steps"]


def test_drills_reach_the_model_at_their_share_and_are_counted(checkpoint: Path, tmp_path: Path, codec: Codec) -> None:
    config = SupervisedFineTuning(epochs=2, batch_size=8, learning_rate=1e-3, drills=Drills(), drill_share=0.5)
    counts = tuned(config, checkpoint, tmp_path / "out")[1]
    assert counts["lessons"][0]["drill_share"] == pytest.approx(0.5, abs=0.06)
    # Every learned example states one fact.
    assert sum(counts["exposures"].values()) == counts["lessons"][0]["examples"]
    # A batch of 8 may state a fact twice, and that is one update.
    assert counts["steps"] < sum(counts["updates"].values()) < sum(counts["exposures"].values())
    assert max(counts["updates"].values()) <= counts["steps"]


def test_mistakes_are_named_before_a_model_loads(checkpoint: Path, tmp_path: Path) -> None:
    config = SupervisedFineTuning(epochs=1, batch_size=10, learning_rate=1e-3, micro_batch=4)
    with pytest.raises(UserError, match=r"batch_size 10 is no multiple of micro_batch 4"):
        fine_tune(config, tmp_path / "nosuch", EXAMPLES, 0, "cpu", tmp_path, QUIET)
    config = SupervisedFineTuning(epochs=1, batch_size=1, learning_rate=1e-3)
    with pytest.raises(UserError, match="no problems"):
        fine_tune(config, tmp_path / "nosuch", [], 0, "cpu", tmp_path, QUIET)
    long = [Example("long", "User: " + "word " * 200, " x")]
    with pytest.raises(UserError, match="do not fit"):
        fine_tune(config, checkpoint, long, 0, "cpu", tmp_path, QUIET)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"order": "shuffled"}, "sft.order"),
        ({"use": "first"}, "sft.use"),
        ({"drill_share": 1.0}, "drill_share"),
        ({"held_out_share": 0.5}, "held_out_share"),
        ({"use": "best", "held_out_share": 0.0}, "best epoch"),
        ({"epochs": 0}, "epochs"),
        ({"micro_batch": 0}, "at least 1"),
    ],
)
def test_wrong_fields_are_named(wrong: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        SupervisedFineTuning(**{"epochs": 1, "batch_size": 8, "learning_rate": 1e-3, **wrong})


def test_the_control_learns_the_same_problems_in_plain_text(codec: Codec) -> None:
    from dataclasses import replace

    from vocablab.vocab.intervention import NoChange
    from vocablab.vocab.vocabulary import Vocabulary

    plain = Codec(Vocabulary(codec.vocabulary.base, (), codec.vocabulary.padded_size), NoChange())
    for example in OneStep().examples(None)[:20]:
        texts = []
        for one in (codec, plain):
            row = label(one, example, 128)
            assert row is not None
            texts.append(one.render([i for i in row.input_ids if i != one.vocabulary.eos_id]))
        assert texts == [example.prompt + example.target] * 2
    assert replace(plain) == plain


def test_a_modern_network_keeps_training_its_eos_row(codec: Codec, tmp_path: Path) -> None:
    """TRL makes EOS the padding of the config; a Qwen3 loaded with it never trains that row again."""
    export(
        ModernConfig(1, 2, 16, 96).build(codec.vocabulary.padded_size, 0), codec, tmp_path / "m", FormCode.empty(), {}
    )
    before = load_model(tmp_path / "m").config.pad_token_id
    config = SupervisedFineTuning(
        epochs=2, batch_size=8, learning_rate=1e-3, drills=Drills(examples_count=40), order="drills_first",
        use="best", held_out_share=0.2, checkpoint_seconds=0.0,
    )  # fmt: skip
    wanted, counts = tuned(config, tmp_path / "m", tmp_path / "whole")
    assert load_model(tmp_path / "whole").config.pad_token_id == before
    assert load_model(tmp_path / "whole").get_input_embeddings().padding_idx is None

    def stopping(done: float, total: float, note: str) -> None:
        if done >= counts["steps"] - 2:
            raise Killed

    (tmp_path / "killed").mkdir()
    with pytest.raises(Killed):
        fine_tune(config, tmp_path / "m", EXAMPLES, 3, "cpu", tmp_path / "killed", stopping)
    assert tuned(config, tmp_path / "m", tmp_path / "killed") == (wanted, counts)


def test_what_is_too_long_leaves_whole_batches_and_true_counts(checkpoint: Path, tmp_path: Path) -> None:
    long = [Example(f"long/{i}", "User: " + "6 " * 200, " 6 * 9 = 54.") for i in range(2)]
    config = SupervisedFineTuning(epochs=2, batch_size=8, learning_rate=1e-3, held_out_share=0.0)
    (tmp_path / "out").mkdir()
    counts = fine_tune(config, checkpoint, [*EXAMPLES, *long], 0, "cpu", tmp_path / "out", QUIET)
    assert counts["too_long"] == 2
    assert counts["steps"] == 10
    assert counts["lessons"][0]["examples"] == 80
    assert sum(counts["exposures"].values()) == 80


@pytest.mark.parametrize("use", ["last", "best"])
def test_a_second_attempt_after_the_work_was_done(
    checkpoint: Path, tmp_path: Path, use: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vocablab.posttrain.sft_trainer.held_out_bits", lambda *a, **k: float(next(worse)))
    config = SupervisedFineTuning(epochs=3, batch_size=8, learning_rate=1e-3, use=use, held_out_share=0.2)
    worse = iter(range(1, 100))
    first = tuned(config, checkpoint, tmp_path / "out")
    worse = iter(range(1, 100))
    assert tuned(config, checkpoint, tmp_path / "out") == first
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == ["best" if use == "last" else "last"]
    assert not [p for p in (tmp_path / "out").glob("*/*") if p.is_dir()]


def test_two_examples_of_one_name_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    config = SupervisedFineTuning(epochs=1, batch_size=8, learning_rate=1e-3)
    twice = [*EXAMPLES, Example(EXAMPLES[0].example_id, "User: something else", " 1.")]
    with pytest.raises(UserError, match="two SFT examples are called"):
        fine_tune(config, checkpoint, twice, 0, "cpu", tmp_path, QUIET)
