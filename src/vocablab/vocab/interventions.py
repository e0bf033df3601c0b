"""The interventions by the names that the command line and the documents use."""

from pathlib import Path

from vocablab.base.config import from_json
from vocablab.base.errors import UserError
from vocablab.base.files import read_json
from vocablab.base.modules import load_file
from vocablab.facts.families import Addition, CircleArea, Division, Multiplication, Squares, Subtraction
from vocablab.vocab.code_tokens import CodeTokens
from vocablab.vocab.controls import CounterfactualFacts, PauseToken, PlainTextFacts, ShuffledMeaning, WidenedModel
from vocablab.vocab.digits import Chunked, DigitTokens, Hybrid
from vocablab.vocab.fact_tokens import FactTokens, RhymeTokens
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
    "RhymeTokens",
    "ShuffledMeaning",
    "WidenedModel",
    "choose_intervention",
    "named_interventions",
]


def choose_intervention(name: str) -> Intervention:
    """The intervention that a user named, or declared in a file of their own.

    Args:
        name: one of `named_interventions`; or the path of a ``.py`` file with a function ``intervention()``; or the
            path of a ``.json`` file that describes one, such as the ``intervention.json`` of an exported model.

    Raises:
        UserError: if there is none, or the file does not declare one.
    """
    if name.endswith(".json"):
        return from_json(Intervention, read_json(Path(name), "the intervention"), name)
    if name.endswith(".py"):
        module = load_file(name, "intervention")
        if not hasattr(module, "intervention"):
            raise UserError(f"{name} declares no function intervention().")
        try:
            found = module.intervention()
        except UserError:
            raise
        except Exception as error:  # a user's function can fail in any way
            raise UserError(f"{name}: intervention() fails: {type(error).__name__}: {error}.") from None
        if not isinstance(found, Intervention):
            raise UserError(f"{name}: intervention() gives a {type(found).__name__}, not an intervention.")
        return found
    known = named_interventions()
    if name not in known:
        raise UserError(f"--intervention {name}: unknown; there is {', '.join(known)}, or give a .py or .json file.")
    return known[name]


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
        "rhyme": RhymeTokens(),
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
