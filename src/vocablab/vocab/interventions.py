"""The interventions by the names that the command line and the documents use."""

from vocablab.facts.families import Addition, CircleArea, Division, Multiplication, Rhyme, Squares, Subtraction
from vocablab.vocab.code_tokens import CodeTokens
from vocablab.vocab.controls import CounterfactualFacts, PauseToken, PlainTextFacts, ShuffledMeaning, WidenedModel
from vocablab.vocab.digits import Chunked, DigitTokens, Hybrid
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.intervention import Intervention, NoChange

__all__ = [
    "Chunked",
    "CodeTokens",
    "CounterfactualFacts",
    "DigitTokens",
    "FactTokens",
    "Hybrid",
    "NoChange",
    "PauseToken",
    "PlainTextFacts",
    "ShuffledMeaning",
    "WidenedModel",
    "named_interventions",
    "rhyme_tokens",
]


def rhyme_tokens(mode: str = "replace", *, ordered: bool = False) -> FactTokens:
    """The tokens of 九九 for Chinese text."""
    return FactTokens(Rhyme(), ordered=ordered, mode=mode)


def named_interventions() -> dict[str, Intervention]:
    """The interventions that have a name on the command line."""
    facts = FactTokens()
    return {
        "control": NoChange(),
        "mul_facts": facts,
        "mul_facts_weak": FactTokens(weak=True),
        "mul_facts_ordered": FactTokens(ordered=True),
        "mul_facts_annotate": FactTokens(mode="annotate"),
        "mul_facts_operands": FactTokens(mode="operands"),
        "mul_facts_12": FactTokens(Multiplication(1, 12)),
        "mul_facts_99": FactTokens(Multiplication(1, 99)),
        "add_facts": FactTokens(Addition()),
        "sub_facts": FactTokens(Subtraction()),
        "div_facts": FactTokens(Division()),
        "square_facts": FactTokens(Squares()),
        "circle_facts": FactTokens(CircleArea()),
        "rhyme": rhyme_tokens(),
        "digits": DigitTokens(),
        "chunked_right": Chunked(right_to_left=True),
        "chunked_left": Chunked(right_to_left=False),
        "hybrid": Hybrid(facts, DigitTokens()),
        "plain_facts": PlainTextFacts(facts),
        "plain_facts_weak": PlainTextFacts(FactTokens(weak=True)),
        "sham": ShuffledMeaning(facts),
        "pause": PauseToken(facts),
        "widened": WidenedModel(facts),
        "counterfactual": CounterfactualFacts(facts),
    }
