"""Planted models: what probes say of one that copies its facts, one that recomputes, and one that knows nothing."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from vocablab.analysis.probe_questions import answers
from vocablab.facts.fact import Fact
from vocablab.facts.families import Multiplication
from vocablab.facts.held_out import HeldOutFacts
from vocablab.probe.attention import attention
from vocablab.probe.causal import causal
from vocablab.probe.composed import composed
from vocablab.probe.contexts import ASKED, BARE, Frame, Placed, answer_ids, frames, place, placed_facts
from vocablab.probe.layer_patching import layer_patching
from vocablab.probe.lens import lens
from vocablab.probe.measures import Findings, Measure
from vocablab.probe.passes import bits_after, changed_output, layers
from vocablab.probe.retrieval import retrieval
from vocablab.probe.row_prediction import predict
from vocablab.probe.shares import chance_reciprocal_rank, reciprocal_ranks
from vocablab.probe.subject import Subject, facts_of, untaught_ids
from vocablab.probe.untaught import placed_p, untaught
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.meaning import token_meanings
from vocablab.vocab.vocabulary import Vocabulary

FAMILY = Multiplication(2, 7)
FACTS = FAMILY.facts(ordered=False)
WIDTH = 64


def subject_of(model: GPT2LMHeadModel, codec: Codec, exposures: np.ndarray | None = None) -> Subject:
    ids = tuple(codec.vocabulary.added_ids.values())
    meanings = token_meanings(codec.vocabulary, codec.intervention)
    return Subject("planted", model.eval(), codec, ids, meanings, facts_of(codec), None, exposures)


def tiny(codec: Codec, *, depth: int = 2, width: int = WIDTH, heads: int = 4) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=codec.vocabulary.padded_size, n_positions=96, n_embd=width, n_layer=depth, n_head=heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False,
    )  # fmt: skip
    return GPT2LMHeadModel._from_config(config, attn_implementation="eager", dtype=torch.float32)


@pytest.fixture(scope="module")
def codec() -> Codec:
    rule = FactTokens(FAMILY)
    texts = [f.head.format(a=a, b=b, q="") + f"{a} * {b} = {a * b}" + f.tail + f" {a * b}."
             for f in (*frames(FAMILY), BARE) for a in range(2, 8) for b in range(2, 8)]  # fmt: skip
    base = TrainedBPE(340).build(texts)
    return Codec(Vocabulary(base, rule.tokens(), base.get_vocab_size() + len(rule.tokens())), rule)


def train(subject: Subject, answer: Callable[[Placed], Fact], used: tuple[Frame, ...], steps: int) -> None:
    """Teach the answer that `answer` chooses, and the right token after a question."""
    placed = [place(subject, FAMILY, f, a, s, token=True) for f in used for a in FACTS for s in FACTS]
    lessons = [_lesson(subject, text, answer(text)) for text in placed if text is not None]
    right = [n for n, text in enumerate(placed) if text is not None and text.asked == text.stated]
    rng = np.random.default_rng(0)
    parameters = [p for p in subject.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=0.0)
    width = max(len(ids) for ids, _ in lessons)
    eos = subject.codec.vocabulary.eos_id
    every = torch.tensor([ids + [eos] * (width - len(ids)) for ids, _ in lessons])
    wanted = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in lessons])
    for step in range(steps):
        chosen = np.concatenate([rng.integers(len(lessons), size=36), rng.choice(right, 12)])
        ids = every[chosen]
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, 2 * (1 - step / steps))
        loss = subject.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=wanted[chosen]).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    subject.model.eval()


def _lesson(subject: Subject, text: Placed, fact: Fact) -> tuple[list[int], list[int]]:
    """Ids and labels: the answer, and where fact and question agree everything from the space before the token on."""
    more = [*answer_ids(subject, fact), subject.codec.vocabulary.eos_id]
    start = text.statement[0] - 1 if text.asked == text.stated else len(text.ids)
    return text.ids + more, [-100] * start + text.ids[start:] + more


@pytest.fixture(scope="module")
def copies(codec: Codec) -> Subject:
    """Reads the fact in its second layer: the first has no attention."""
    subject = subject_of(tiny(codec), codec, np.arange(len(FACTS)))
    for parameter in subject.model.transformer.h[0].attn.c_proj.parameters():
        torch.nn.init.zeros_(parameter)
        parameter.requires_grad_(False)
    train(subject, lambda one: one.stated, frames(FAMILY)[:2], 220)
    return subject


@pytest.fixture(scope="module")
def recomputes(codec: Codec) -> Subject:
    subject = subject_of(tiny(codec), codec)
    train(subject, lambda one: one.asked, frames(FAMILY)[:2], 300)
    return subject


@pytest.fixture(scope="module")
def knows_nothing(codec: Codec) -> Subject:
    return subject_of(tiny(codec), codec)


def one(found: Findings, target: str, metric: str, place: str = "") -> Measure:
    fits = [m for m in found.measures if m.target == target and m.metric == metric and place in ("", m.place)]
    assert len(fits) == 1, [(m.place, m.target, m.metric) for m in found.measures]
    return fits[0]


SAME = "token of the same first operand"


def test_a_model_that_copies_relies_on_its_tokens(copies: Subject) -> None:
    found = causal(copies)
    for kind in (SAME, "token of any other fact"):
        assert one(found, kind, "reliance").value > 0.9
        assert one(found, kind, "recomputed").value < 0.1
    assert one(found, "fact token", "bits lost to mean added row").value > 2
    recovered = [m for m in found.measures if m.metric == "recovered"]
    assert recovered[0].value == pytest.approx(1, abs=1e-3)
    assert recovered[1].value == pytest.approx(0, abs=1e-3)
    # A third fact takes the right answer away and brings another, not the exchanged one.
    assert recovered[0].control is not None
    assert 0.2 < recovered[0].control < 0.8
    curve = next(f for f in found.figures if f.name == "causal-layers").data["series"][0]
    assert curve["x"] == [0, 1, 2]
    assert curve["y"][0] == 1.0


def test_a_model_that_recomputes_does_not(recomputes: Subject) -> None:
    found = causal(recomputes)
    assert one(found, SAME, "reliance").value < 0.1
    assert one(found, SAME, "recomputed").value > 0.9
    assert abs(one(found, "fact token", "bits lost to mean added row").value) < 0.5
    assert not [m for m in found.measures if m.metric == "recovered"]
    assert any("would be noise" in note for note in found.notes)


def test_a_model_that_knows_nothing_gives_nothing(knows_nothing: Subject) -> None:
    found = causal(knows_nothing)
    for metric in ("reliance", "recomputed"):
        assert one(found, SAME, metric).value < 0.1
    ranked = retrieval(knows_nothing)
    for phrasing in ("what-is", "product-of"):
        measure = one(ranked, f"token by {phrasing}", "mean reciprocal rank")
        assert measure.control is not None
        assert abs(measure.value - measure.control) < 0.12
    for decoding in ("free", "banned", "forced"):
        assert one(ranked, f"questions, {decoding}", "accuracy").value < 0.2
    for measure in attention(knows_nothing).measures:
        if measure.metric.startswith("mass from the answer"):
            even = float(measure.note.split("gives ")[1].rstrip("."))
            assert measure.value == pytest.approx(even, rel=0.25)
    seen = lens(knows_nothing)
    last = [m for m in seen.measures if m.metric == "log2 probability"]
    assert all(abs(m.value - (m.control or 0)) < 1 for m in last)


def test_retrieval_finds_what_was_taught(copies: Subject) -> None:
    found = retrieval(copies)
    assert one(found, "token by what-is", "accuracy at 1").value > 0.5
    # The frequency of exposure knows nothing of the question.
    frequency = one(found, "token by frequency", "mean reciprocal rank")
    assert frequency.value == pytest.approx(frequency.control)
    right = one(found, "questions, forced", "accuracy")
    assert right.value > 0.2
    assert right.control is not None
    assert right.control < 0.2
    assert one(found, "begun spelled token", "completed").value < 0.2


def test_the_lens_sees_the_answer_where_it_is_read(copies: Subject) -> None:
    found = lens(copies)
    depth = len(layers(copies.model))
    after = one(found, "answer after the fact's token", "mean reciprocal rank", f"layer {depth}")
    assert after.value > 0.9
    assert after.control is not None
    assert after.control < 0.5
    assert one(found, "fact token before it", "mean reciprocal rank", f"layer {depth}").value > 0.6
    # At the input no text but the operands' own tokens has been read.
    assert one(found, "answer after the fact's token", "mean reciprocal rank", "input rows").value < 0.5


def test_the_last_layer_of_the_lens_is_the_model_itself(copies: Subject) -> None:
    placed = placed_facts(copies, FAMILY, [ASKED], FACTS, token=True)
    first = [answer_ids(copies, p.stated)[:1] for p in placed]
    assert len({row[0] for row in first}) > 1, "the lens is compared on the first token of the answer"
    bits = bits_after(copies, [p.ids for p in placed], first)
    depth = len(layers(copies.model))
    seen = one(lens(copies), "answer after the fact's token", "log2 probability", f"layer {depth}")
    assert seen.value == pytest.approx(-float(bits.mean()), abs=1e-3)


def test_patching_with_kept_keys_equals_patching_the_whole_text(copies: Subject) -> None:
    pairs = []
    for asked, planted in zip(FACTS[:6], FACTS[9:15], strict=True):
        assert asked.answer != planted.answer
        clean = place(copies, FAMILY, ASKED, asked, asked, token=True)
        other = place(copies, FAMILY, ASKED, asked, planted, token=True)
        assert clean
        assert other
        pairs.append((clean, other))
    found = layer_patching(copies, pairs)
    block = layers(copies.model)[0]
    shifts, parts = [], []
    for clean, other in pairs:
        a, b = answer_ids(copies, clean.stated), answer_ids(copies, other.stated)
        same = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        ids = [torch.tensor([p.ids + a[:same]]) for p in (clean, other)]
        kept: list[torch.Tensor] = []

        def odds(row: torch.Tensor, a: int = a[same], b: int = b[same]) -> float:
            log2 = copies.model(row).logits[0, -1].log_softmax(-1) / np.log(2)
            return float(log2[b] - log2[a])

        def keep(state: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
            kept.append(state)
            return state

        def put(state: torch.Tensor, kept: list[torch.Tensor] = kept, at: int = clean.statement[0]) -> torch.Tensor:
            state = state.clone()
            state[:, at] = kept[0][:, at]
            return state

        with torch.inference_mode():
            plain = odds(ids[0])
            with changed_output(block, keep):
                exchanged = odds(ids[1])
            with changed_output(block, put):
                patched = odds(ids[0])
        shifts.append(exchanged - plain)
        parts.append(patched - plain)
    assert found.measures[0].value == pytest.approx(np.mean(parts) / np.mean(shifts), abs=1e-3)


def test_planted_attention_is_found_and_an_empty_head_is_even(codec: Codec) -> None:
    """Head 1 looks at fact tokens, head 2 at digits, head 3 at nothing in particular; all rows are set by hand."""
    model = tiny(codec, depth=1, width=12, heads=3)
    rows = torch.zeros(codec.vocabulary.padded_size, 12)
    rows[:, 2] = 1
    rows[codec.vocabulary.base_size :] = torch.eye(12)[0]
    digits = [i for i in range(codec.vocabulary.base_size) if codec.vocabulary.token_bytes(i).strip().isdigit()]
    rows[digits] = torch.eye(12)[1]
    attend = model.transformer.h[0].attn.c_attn
    with torch.no_grad():
        model.transformer.wte.weight.copy_(rows)
        model.transformer.wpe.weight.zero_()
        attend.weight.zero_()
        attend.bias.zero_()
        # Columns: queries of the three heads (4 each), then keys, then values. A norm's rows are about 3 e - 0.3.
        for head, seen in enumerate((0, 1)):
            attend.bias[4 * head] = 20
            attend.weight[seen, 12 + 4 * head] = 1
    found = attention(subject_of(model, codec))
    answer, operands = (
        np.array(next(f for f in found.figures if f.name == name).data["values"])
        for name in ("attention-mass-from-the-answer-to-fact-token", "attention-mass-from-fact-token-to-operands")
    )
    assert answer[0, 0] > 0.99
    assert answer[0, 1] < 0.01
    assert operands[0, 1] > 0.99
    assert operands[0, 0] < 0.01
    even = float(found.measures[0].note.split("gives ")[1].rstrip("."))
    assert operands[0, 2] == pytest.approx(even, abs=1e-4)
    strongest = [m for m in found.measures if m.metric == "strongest mass from fact token"]
    assert strongest[0].place == "layer 1 head 2"


def test_a_copying_model_looks_at_its_token(copies: Subject) -> None:
    strongest = [m for m in attention(copies).measures if m.metric == "strongest mass from the answer"]
    token = next(m for m in strongest if m.target == "fact token")
    assert token.place.startswith("layer 2")
    assert token.control is not None
    assert token.value > 3 * token.control


@pytest.fixture(scope="module")
def reads_rows(codec: Codec) -> Subject:
    """Answers by the row of a token, which is a sum of a row per operand."""
    model = tiny(codec)
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, 8, WIDTH))
    table = model.transformer.wte.weight
    with torch.no_grad():
        for fact in FACTS:
            row = first[fact.operands[0]] + second[fact.operands[1]]
            table[codec.vocabulary.added_ids[FAMILY.token_name(fact)]] = torch.tensor(row / 30)
    table.requires_grad_(False)
    subject = subject_of(model, codec)
    train(subject, lambda one: one.stated, (BARE,), 180)
    return subject


def test_rows_that_follow_from_operands_are_composed(reads_rows: Subject) -> None:
    """If a result is held out the others say all, if an operand is, little."""
    found = composed(reads_rows)
    rank = "answer reciprocal rank"
    trained = one(found, "trained row by result", rank).value
    by_result = one(found, "composed row by result", rank)
    assert trained > 0.9
    assert by_result.value > 0.8 * trained
    assert by_result.p is not None
    assert by_result.p < 0.01
    assert one(found, "by result", "explained variance").value > 0.8
    assert one(found, "by operand", "explained variance").value < 0.5
    assert one(found, "composed row by operand", rank).value < 0.7 * trained
    assert one(found, "random row by result", rank).value < 0.7 * trained


UNTAUGHT = HeldOutFacts("operand", (4,))


def with_rows(subject: Subject, kind: str) -> Subject:
    """The tokens of `UNTAUGHT` are declared untaught and get the rows that a perfect composition would have found, or
    rows that know nothing of their fact."""
    codec = replace(subject.codec, intervention=FactTokens(FAMILY, untaught=UNTAUGHT))
    exposures = np.array([0 if fact in UNTAUGHT else 9 for fact in FACTS])
    planted = subject_of(deepcopy(subject.model), codec, exposures)
    ids = list(untaught_ids(codec).values())
    assert len(ids) == 6
    assert [planted.ids[n] in ids for n in range(len(FACTS))] == [fact is None for fact in planted.facts]
    others = [i for i in planted.ids if i not in ids]
    with torch.no_grad():
        for table in (planted.model.get_input_embeddings().weight, planted.model.get_output_embeddings().weight):
            rows = {
                "right": table[ids], "exchanged": table[[*ids[1:], ids[0]]],
                "mean": table[others].mean(0).expand(len(ids), -1), "noise": torch.randn(len(ids), WIDTH) / 20,
            }  # fmt: skip
            table[ids] = rows[kind].clone()
    return planted


def word_of(found: Findings) -> str:
    """The page's word on untaught rows that are read; the planted model was never taught to write a token."""
    rows = [asdict(measure) for measure in found.measures]
    asked = next(a for a in answers(rows) if a["question"] == "Do tokens that stood in no text work at once?")
    return next(part["word"] for part in asked["parts"] if part["name"] == "when read")


@pytest.mark.parametrize("kind", ["right", "exchanged", "mean", "noise"])
def test_rows_of_untaught_tokens_are_used_as_they_are(reads_rows: Subject, kind: str) -> None:
    found = untaught(with_rows(reads_rows, kind))
    assert not found.notes
    bits = one(found, "own row of untaught facts", "answer bits")
    rank = one(found, "own row of untaught facts", "answer reciprocal rank")
    assert bits.n == 6
    assert bits.control is not None
    assert bits.p is not None
    assert one(found, "taught row of taught facts", "answer reciprocal rank").value > 0.9
    if kind == "right":
        assert rank.value > 0.9
        assert bits.value < bits.control - 2
        # The best of all ways to place six rows; two facts have the same answer, 2 x 6 and 3 x 4.
        assert bits.p <= 2 / 720
        assert word_of(found) == "yes"
    else:
        assert word_of(found) == "no"
        assert rank.value < 0.7
    if kind == "mean":
        assert bits.value == pytest.approx(bits.control, abs=1e-3)
        assert bits.p == pytest.approx(1)


def test_rows_that_know_nothing_are_seldom_found_to_work() -> None:
    """What fact i gains by row j is noise, with facts and rows that are easy or hard altogether."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(200):
        values = rng.normal(size=(6, 6)) + rng.normal(size=(6, 1)) + rng.normal(size=(1, 6))
        found.append(placed_p(values))
    assert np.mean(np.array(found) < 0.05) < 0.09
    assert placed_p(np.eye(6)) == pytest.approx(1 / 720)
    assert placed_p(np.eye(9)) <= 2 / 5040
    assert placed_p(np.ones((5, 5))) == 1


def test_ties_have_the_reciprocal_rank_of_a_random_order() -> None:
    scores = np.array([[1.0, 1, 1, 0], [2, 1, 1, 1], [0, 1, 2, 3]])
    found = reciprocal_ranks(scores, np.array([0, 1, 0]))
    assert found == pytest.approx([(1 + 1 / 2 + 1 / 3) / 3, (1 / 2 + 1 / 3 + 1 / 4) / 3, 1 / 4])
    assert reciprocal_ranks(np.zeros((1, 7)), np.array([3]))[0] == pytest.approx(chance_reciprocal_rank(7))


def test_too_few_untaught_facts_are_said(reads_rows: Subject) -> None:
    codec = replace(reads_rows.codec, intervention=FactTokens(FAMILY, untaught=HeldOutFacts("result", (12, 20))))
    found = untaught(subject_of(reads_rows.model, codec))
    assert "3 untaught facts are too few" in found.notes[0]
    assert word_of(found) != "yes"


def test_untaught_tokens_that_were_shown_are_named(reads_rows: Subject) -> None:
    codec = replace(reads_rows.codec, intervention=FactTokens(FAMILY, untaught=HeldOutFacts("row", (3,))))
    subject = subject_of(reads_rows.model, codec, np.ones(len(FACTS), dtype=int))
    assert "declared untaught were shown 5 times" in untaught(subject).notes[0]
    assert not untaught(reads_rows).measures


def test_ridge_predicts_what_is_linear_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((40, 10))
    linear = features @ rng.standard_normal((10, 6)) + 3
    held = np.arange(40) < 8
    assert np.allclose(predict(features, linear, [held])[0], linear, atol=1e-2)
    noise = rng.standard_normal((40, 6))
    missed = ((predict(features, noise, [held])[0] - noise)[held] ** 2).mean()
    assert missed > 0.7 * (noise[held] ** 2).mean()
