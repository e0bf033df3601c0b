"""Agreement with lm-evaluation-harness on the same model and items, and the items where it goes wrong."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval import evaluator
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks.hellaswag.utils import process_docs
from transformers import AutoTokenizer

from vocablab.base.data import iterate_rows
from vocablab.corpus.lost_form import FormCode
from vocablab.evaluate.answering import Answering, score_answers
from vocablab.evaluate.choosing import choice_costs, score_choices
from vocablab.evaluate.likelihood import Scored, score_continuations
from vocablab.evaluate.model import Loaded, load
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.tasks.arithmetic_probes import ArithmeticProbes
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.hellaswag import HellaSwag, split_context
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens, NoChange
from vocablab.vocab.vocabulary import Vocabulary, padded

DATA = Path(__file__).parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")
# Networks this small are many times as fast on one thread on a busy machine, where threads wait for each other.
torch.set_num_threads(1)

ITEMS = 60
SHORT = 64
"""A context that most items do not fit."""


def codec_of_stories(facts: bool) -> Codec:
    """A vocabulary of real stories, so that an item has a few hundred tokens at most."""
    rows = [row for _, row in zip(range(400), iterate_rows(DATA / "hellaswag/hellaswag_val.jsonl"), strict=False)]
    base = TrainedBPE(2000).build(row["ctx"] + " " + " ".join(row["endings"]) for row in rows)
    rule = FactTokens() if facts else NoChange()
    return Codec(Vocabulary(base, rule.tokens(), padded(2050)), rule)


def exported(codec: Codec, size: ModelConfig, directory: Path) -> Path:
    network = size.build(codec.vocabulary.padded_size, 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    directory.mkdir()
    export(network, codec, directory, FormCode.empty(), {})
    return directory


def harness(directory: Path, batch_size: int = 8) -> HFLM:
    return HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=batch_size)


def compared(directory: Path, task: ConfigurableTask, name: str) -> list[dict[str, Any]]:
    """What lm-eval logs for each item, in order."""
    found = evaluator.evaluate(harness(directory), {name: task}, log_samples=True, bootstrap_iters=0)
    samples: list[dict[str, Any]] = sorted(found["samples"][name], key=lambda one: one["doc_id"])
    return samples


def require_same(samples: list[dict[str, Any]], costs: list[list[Scored]], label: Callable[[int], int]) -> None:
    """Log-likelihoods within 1e-3 nats and the same accuracy, item by item."""
    for number, (sample, mine) in enumerate(zip(samples, costs, strict=True)):
        theirs = [float(response[0]) for response in sample["filtered_resps"]]
        for value, one in zip(theirs, mine, strict=True):
            assert -one.bits * math.log(2) == pytest.approx(value, abs=1e-3)
        best = min(range(len(mine)), key=lambda i: mine[i].bits)
        assert sample["acc"] == float(best == label(number))


def fits(loaded: Loaded, text: str) -> bool:
    """Whether the context holds a text; the harness refuses an ending that it does not hold."""
    return len(loaded.codec.encode(text).ids) < loaded.context


@needs_data
@pytest.mark.parametrize(
    ("facts", "size"),
    [
        (False, GPT2Config(2, 2, 32, 512)),
        (True, GPT2Config(2, 2, 32, 512)),
        (True, ModernConfig(2, 4, 32, 512, n_kv_head=2)),
        # Prompts that do not fit are cut from the left.
        (False, GPT2Config(2, 2, 32, SHORT)),
    ],
)
def test_hellaswag_is_scored_as_the_harness_scores_it(facts: bool, size: ModelConfig, tmp_path: Path) -> None:
    directory = exported(codec_of_stories(facts), size, tmp_path / "model")
    loaded = load(directory, "cpu")
    ours = HellaSwag(limit=6 * ITEMS)
    items = [item for item in ours.items(DATA) if all(fits(loaded, choice) for choice in item.choices)]
    if size.n_positions == SHORT:
        # What is cut is what this case is for.
        items = [item for item in items if not fits(loaded, item.prompt + item.gold)]
    items = items[:ITEMS]
    assert len(items) == ITEMS
    rows = list(iterate_rows(DATA / "hellaswag/hellaswag_val.jsonl"))
    chosen = [rows[int(item.item_id.split("/")[1])] for item in items]
    for row in chosen:
        row["ctx_a"], row["ctx_b"] = split_context(row["ctx"])
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    task = ConfigurableTask(
        config={
            "task": "hellaswag_local", "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"validation": str(file)}}, "validation_split": "validation",
            "output_type": "multiple_choice", "process_docs": process_docs, "doc_to_text": "{{query}}",
            "doc_to_target": "{{label}}", "doc_to_choice": "choices",
            "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in
                            ("acc", "acc_norm")],
        }
    )  # fmt: skip
    samples = compared(directory, task, "hellaswag_local")
    require_same(samples, choice_costs(loaded, ours, items, 16), lambda i: items[i].label)
    scored = score_choices(loaded, ours, items, "r", 16)
    assert [row.acc_norm for row in scored] == [sample["acc_norm"] for sample in samples]
    assert [row.acc for row in scored] == [sample["acc"] for sample in samples]


@needs_data
def test_a_choice_of_products_is_scored_as_the_harness_scores_it(tmp_path: Path) -> None:
    directory = exported(codec_of_stories(True), GPT2Config(2, 2, 32, 256), tmp_path / "model")
    items = [item for item in ArithmeticProbes().items(None) if item.choices][::20]
    assert len(items) > 40
    file = tmp_path / "rows.jsonl"
    lines = [{"q": item.prompt, "choices": item.choices, "label": item.label} for item in items]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = ConfigurableTask(
        config={
            "task": "products", "dataset_path": "json", "dataset_kwargs": {"data_files": {"validation": str(file)}},
            "validation_split": "validation", "output_type": "multiple_choice", "doc_to_text": "{{q}}",
            "doc_to_target": "{{label}}", "doc_to_choice": "choices", "target_delimiter": "",
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        }
    )  # fmt: skip
    samples = compared(directory, task, "products")
    # The harness reads raw text without an intervention, and with no token before it.
    plain = load(directory, "cpu").plain
    pairs = [(item.item_id, item.prompt, choice) for item in items for choice in item.choices]
    flat = iter(score_continuations(plain, pairs, 16, bare=True))
    require_same(samples, [[next(flat) for _ in item.choices] for item in items], lambda i: items[i].label)


def bits_of(theirs: Any, loaded: Loaded, ids: list[int], scored: list[bool]) -> float:
    """Bits of the scored tokens after the end-of-text token, by transformers."""
    whole = torch.tensor([[loaded.codec.vocabulary.eos_id, *ids]])
    with torch.no_grad():
        logs = theirs(whole).logits[0, :-1].log_softmax(-1)
    nats = -logs.gather(1, whole[0, 1:, None])[:, 0]
    return float(nats[torch.tensor(scored)].sum()) / math.log(2)


def test_where_context_and_answer_merge_the_harness_scores_nothing(exported: Path, loaded: Loaded, theirs: Any) -> None:
    """The roadmap's forced prefix: the exported tokenizer finds the name of a token across the boundary."""
    lm = harness(exported)
    context, continuation = lm._encode_pair("<MUL_6_9_", "54>")
    assert len(context) > 1
    assert continuation == []
    with pytest.raises(AssertionError):  # its own: a continuation has tokens
        lm.loglikelihood([Instance("loglikelihood", {}, ("<MUL_6_9_", "54>"), 0)], disable_tqdm=True)
    (spelled,) = score_continuations(loaded.plain, [("a", "<MUL_6_9_", "54>")], 1)
    assert spelled.n_tokens >= 2
    text = "<MUL_6_9_54>"
    encoded = loaded.plain.codec.encode(text)
    ends = encoded.ends > len("<MUL_6_9_")
    assert spelled.bits == pytest.approx(bits_of(theirs, loaded, encoded.ids.tolist(), ends.tolist()), abs=1e-3)
    # And where the arm's own form merges, the token counts for the answer, whole.
    (merged,) = score_continuations(loaded, [("a", "6 * 9 =", " 54")], 1)
    assert merged.n_tokens == 1
    form = loaded.forms.bits(loaded.codec.intervention.spans("6 * 9 = 54", "a"))
    token = loaded.codec.vocabulary.added_ids["<MUL_6_9_54>"]
    assert merged.bits == pytest.approx(form + bits_of(theirs, loaded, [token], [True]), abs=1e-3)
    tokens = AutoTokenizer.from_pretrained(exported)
    assert tokens.convert_tokens_to_ids("<MUL_6_9_54>") == loaded.codec.encode("6 * 9 = 54").ids[-1]


@needs_data
def test_batches_change_no_row(tmp_path: Path) -> None:
    loaded = load(exported(codec_of_stories(True), GPT2Config(2, 2, 32, 512), tmp_path / "model"), "cpu")
    for mode in ("harness", "karpathy"):
        task = HellaSwag(mode=mode, limit=200)
        items = task.items(DATA)
        alone, together = (score_choices(loaded, task, items, "r", size) for size in (1, 16))
        for one, other in zip(alone, together, strict=True):
            assert (one.score, one.acc, one.acc_bytes, one.acc_tokens) == (
                other.score, other.acc, other.acc_bytes, other.acc_tokens,
            )  # fmt: skip
            assert one.gold_bits == pytest.approx(other.gold_bits, rel=1e-5)
    problems = GSM8K(limit=24)
    answers = [
        score_answers(loaded, problems, problems.items(DATA), "r", size, Answering(max_new_tokens=48), [])
        for size in (1, 16)
    ]
    assert [row.output for row in answers[0]] == [row.output for row in answers[1]]
    assert [row.score for row in answers[0]] == [row.score for row in answers[1]]


def _weights() -> Path | None:
    places = [Path(os.environ[name]) for name in ("VOCABLAB_DATA",) if name in os.environ] + [DATA]
    found = (place / "openai-community/gpt2" for place in places)
    return next((place for place in found if (place / "config.json").exists()), None)


@pytest.mark.slow
@pytest.mark.skipif(_weights() is None, reason="needs the weights of openai-community/gpt2 in the data directory")
@pytest.mark.parametrize(("mode", "published"), [("karpathy", 0.2955), ("harness", 0.3114)])
def test_openai_gpt2_scores_what_is_published(mode: str, published: float) -> None:
    directory = _weights()
    assert directory is not None
    task = HellaSwag(mode=mode)
    rows = score_choices(load(directory, "cpu"), task, task.items(DATA), "r", 64)
    assert len(rows) == 10042
    # The local file's WikiHow items lost their marks.
    assert sum(row.score or 0.0 for row in rows) / len(rows) == pytest.approx(published, abs=0.004)
