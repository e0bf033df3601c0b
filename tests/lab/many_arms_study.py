"""One arm per kind of intervention, each a model of one small block: whatever can be injected can be studied."""

from dataclasses import replace
from pathlib import Path

from vocablab.base.modules import load_file
from vocablab.facts.families import formula
from vocablab.lab.study import Study
from vocablab.vocab.interventions import (
    Chunked,
    CodeTokens,
    CounterfactualFacts,
    DigitTokens,
    FactTokens,
    Hybrid,
    PauseToken,
    PlainTextFacts,
    ShuffledMeaning,
    WidenedModel,
)

OWN = formula("TWICE", [range(1, 10), range(2, 3)], lambda a, b: a * b, ["{a} * {b} = {c}", "{a}*{b}={c}"])


def study() -> Study:
    """The study."""
    tiny: Study = load_file(str(Path(__file__).with_name("tiny_study.py")), "study").study()
    facts = FactTokens()
    annotated = FactTokens(mode="annotate")
    arms = {
        "weak": FactTokens(weak=True),
        "annotate": annotated,
        "operands": FactTokens(mode="operands"),
        "half": FactTokens(dose=0.5),
        "digits": DigitTokens(),
        "chunked": Chunked(),
        "hybrid": Hybrid(facts, DigitTokens()),
        "code": CodeTokens(("read from the table:", "In the morning")),
        "own": FactTokens(OWN),
        "plain": PlainTextFacts(facts),
        "sham": ShuffledMeaning(annotated),
        "pause": PauseToken(facts),
        "widened": WidenedModel(facts),
        "counterfactual": CounterfactualFacts(facts),
    }
    return replace(
        tiny,
        name="many-arms",
        arms=(tiny.arms[0], *(replace(tiny.arms[0], name=name, intervention=rule) for name, rule in arms.items())),
        seeds=(0,),
        treatment="hybrid",
    )
