"""Every probe in context on every kind of arm and on both architectures: nothing crashes, nothing is nan."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.models import make_codec

from vocablab.corpus.lost_form import FormCode
from vocablab.export.hugging_face import export
from vocablab.facts.families import Addition, Multiplication, Rhyme, Squares
from vocablab.facts.held_out import HeldOutFacts
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.probe.attention import attention
from vocablab.probe.causal import causal
from vocablab.probe.composed import composed
from vocablab.probe.contexts import ASKED, STORY, mode_of, place, spell
from vocablab.probe.lens import lens
from vocablab.probe.measures import Findings
from vocablab.probe.passes import final_norm, layers
from vocablab.probe.retrieval import retrieval
from vocablab.probe.subject import Subject, facts_of, load_subject
from vocablab.probe.untaught import untaught
from vocablab.vocab.controls import PlainTextFacts, ShuffledMeaning, WidenedModel
from vocablab.vocab.digits import DigitTokens, Hybrid
from vocablab.vocab.intervention import Intervention, NoChange
from vocablab.vocab.interventions import FactTokens

PROBES: tuple[Callable[[Subject], Findings], ...] = (attention, causal, lens, retrieval, composed)
WITH_TOKENS = [
    FactTokens(),
    FactTokens(dose=0.3),
    FactTokens(weak=True),
    FactTokens(mode="annotate"),
    FactTokens(mode="operands"),
    FactTokens(Multiplication(2, 4), ordered=True),
    FactTokens(Squares()),
    FactTokens(Addition(1, 5)),
    FactTokens(Rhyme()),
    Hybrid(FactTokens(), DigitTokens()),
]
WITH_UNTAUGHT = [
    FactTokens(untaught=HeldOutFacts("row", (5,))),
    FactTokens(mode="operands", untaught=HeldOutFacts("operand", (5,))),
    FactTokens(mode="annotate", untaught=HeldOutFacts("operand", (5,))),
    FactTokens(Squares(), untaught=HeldOutFacts("row", (5, 7))),
    Hybrid(FactTokens(weak=True, untaught=HeldOutFacts("result", (12, 24))), DigitTokens()),
]
WITHOUT = [NoChange(), PlainTextFacts(), ShuffledMeaning(), WidenedModel(), DigitTokens()]


def subject(rule: Intervention, config: ModelConfig, directory: Path) -> Subject:
    codec = make_codec(rule)
    export(config.build(codec.vocabulary.padded_size, 0), codec, directory, FormCode.empty(), {})
    return load_subject(directory, "arm", exposures=np.arange(len(codec.vocabulary.added)))


def check(found: Findings) -> None:
    for measure in found.measures:
        assert math.isfinite(measure.value), measure
        assert measure.control is None or math.isfinite(measure.control), measure
        assert measure.n > 0, measure
        bounds = (measure.low, measure.high)
        assert bounds == (None, None) or bounds[0] <= measure.value <= bounds[1], measure
    json.dumps(found.as_json(), allow_nan=False)
    names = [figure.name for figure in found.figures]
    assert len(set(names)) == len(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for name in names)
    keys = [(m.place, m.target, m.metric) for m in found.measures]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("rule", WITH_TOKENS, ids=repr)
def test_arms_with_fact_tokens(rule: Intervention, tmp_path: Path) -> None:
    arm = subject(rule, GPT2Config(2, 2, 16, 160), tmp_path)
    for probe in PROBES:
        found = probe(arm)
        check(found)
        # What a token annotates stands before it, so its row alone tells nothing.
        assert bool(found.measures) == (probe is not composed or mode_of(arm) != "annotate")
        assert not any("no tokens" in note for note in found.notes)
    assert not untaught(arm).measures


@pytest.mark.parametrize("rule", WITH_UNTAUGHT, ids=repr)
def test_arms_with_untaught_tokens(rule: Intervention, tmp_path: Path) -> None:
    arm = subject(rule, GPT2Config(2, 2, 16, 160), tmp_path)
    for probe in (retrieval, composed, untaught):
        found = probe(arm)
        check(found)
        assert bool(found.measures) == (probe is retrieval or mode_of(arm) != "annotate")


@pytest.mark.parametrize("rule", WITHOUT, ids=repr)
def test_arms_without_measure_plain_text_and_say_so(rule: Intervention, tmp_path: Path) -> None:
    arm = subject(rule, GPT2Config(2, 2, 16, 160), tmp_path)
    for probe in PROBES:
        found = probe(arm)
        check(found)
        assert any("no tokens" in note for note in found.notes)
        assert bool(found.measures) == (probe is not composed)


@pytest.mark.parametrize("rule", [FactTokens(), NoChange()], ids=repr)
def test_a_modern_network_passes_every_probe(rule: Intervention, tmp_path: Path) -> None:
    arm = subject(rule, ModernConfig(2, 2, 16, 160), tmp_path)
    assert len(layers(arm.model)) == 2
    assert final_norm(arm.model) is arm.model.base_model.norm
    for probe in PROBES:
        check(probe(arm))


def test_a_modern_network_patched_gives_its_other_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the threshold gone, the patched last layer moves nothing at all."""
    monkeypatch.setattr("vocablab.probe.layer_patching.LEAST_SHIFT", -1e9)
    arm = subject(FactTokens(), ModernConfig(3, 2, 16, 160), tmp_path)
    recovered = [m for m in causal(arm).measures if m.metric == "recovered"]
    assert len(recovered) == 3
    assert recovered[-1].value == pytest.approx(0, abs=1e-2)
    assert recovered[0].value != pytest.approx(0, abs=1e-2)


def test_places_are_where_the_text_says() -> None:
    codec = make_codec(FactTokens())
    arm = Subject("arm", None, codec, tuple(codec.vocabulary.added_ids.values()), (), ())
    family = Multiplication()
    fact, other = family.facts(ordered=False)[10:12]
    for frame in (ASKED, STORY):
        for token in (True, False):
            placed = place(arm, family, frame, fact, other, token=token)
            assert placed is not None
            told = codec.decode([placed.ids[i] for i in placed.statement])
            a, b = other.operands
            assert told.strip() == (f"<MUL_{a}_{b}_{other.answer}>" if token else f"{a} * {b} = {other.answer}")
            assert len(placed.statement) == 1 or not token
            operands = [codec.decode([placed.ids[i]]).strip() for i in placed.operands]
            assert operands == [str(n) for n in fact.operands]
            assert max(placed.operands) < min(placed.statement)
            assert codec.decode([placed.ids[-1]]).endswith("s")


def test_an_annotating_token_is_exchanged_alone_and_a_question_token_ends_before_the_answer() -> None:
    family = Multiplication()
    fact, other = family.facts(ordered=False)[10:12]
    texts = []
    for mode in ("annotate", "operands"):
        codec = make_codec(FactTokens(mode=mode))
        arm = Subject("arm", None, codec, tuple(codec.vocabulary.added_ids.values()), (), facts_of(codec))
        placed = place(arm, family, ASKED, fact, other, token=True)
        assert placed is not None
        texts.append(codec.decode(placed.ids[1:]).split("Assistant:")[1])
        assert codec.decode([placed.ids[i] for i in placed.statement]).startswith("<MUL_2_4")
    assert texts == [" 2 * 3 = 6<MUL_2_4_8>. The answer is", " <MUL_2_4> ="]


def test_a_wrong_product_has_no_token() -> None:
    codec = make_codec(FactTokens())
    arm = Subject("arm", None, codec, tuple(codec.vocabulary.added_ids.values()), (), ())
    family = Multiplication()
    fact = family.facts(ordered=False)[10]
    wrong = type(fact)(fact.relation, fact.operands, fact.answer + 1)
    assert place(arm, family, ASKED, fact, wrong, token=True) is None
    assert place(arm, family, ASKED, fact, wrong, token=False) is not None


def test_an_arm_with_digits_of_its_own_keeps_them() -> None:
    codec = make_codec(DigitTokens())
    arm = Subject("arm", None, codec, (), (), ())
    assert any(i >= codec.vocabulary.base_size for i in spell(arm, "6 * 9 = 54"))
    codec = make_codec(FactTokens())
    arm = Subject("arm", None, codec, (), (), ())
    assert all(i < codec.vocabulary.base_size for i in spell(arm, "6 * 9 = 54"))
