"""Does a learned composition make rows for tokens that stood in no text? (Roadmap F1 and D2, as small as quickstart.)

Hypothesis: with `ComposedRows`, an MLP that makes every token's row of its parts, a model that has learned the other
tokens can use one that it never met: it chooses the right one for a question more often than a model whose rows start
as the mean of their pieces, and the probe `untaught` finds that a row helps in its own place. The presets hold facts
out by row of the table, by operand and by result; the corpus states them in plain text, in both arms alike.
Command: vocablab run untaught-rows --preset operand (or row, or result)
Cost: 10 runs of a 1M-parameter model per preset; the two of one seed take 81 to 109 s on 2 cores.
Expected: no. Input and output rows are one table here, and as an output an untaught row is only ever pushed away.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit
from vocablab.facts.held_out import HeldOutFacts
from vocablab.lab.study import Arm, Study
from vocablab.model.new_rows import ComposedRows, PieceRows
from vocablab.studies import quickstart
from vocablab.vocab.interventions import FactTokens

HELD_OUT = {
    "operand": HeldOutFacts("operand", (6, 8)),
    "row": HeldOutFacts("row", (4, 5)),
    "result": HeldOutFacts("result", (6, 8, 12, 18, 24)),
}
"""By preset: 17, 11 and 10 of the 45 products, enough for a difference of a half to be found."""


def presets() -> dict[str, Study]:
    """One for each way to hold facts out."""
    return {name: _study(held_out) for name, held_out in HELD_OUT.items()}


def study() -> Study:
    """The preset `operand`."""
    return presets()["operand"]


def _study(held_out: HeldOutFacts) -> Study:
    recipe = quickstart.study().arm("control").recipe
    pieces = replace(recipe, pretrain=replace(recipe.pretrain, new_rows=PieceRows()))
    composed = replace(recipe, pretrain=replace(recipe.pretrain, new_rows=ComposedRows()))
    facts = FactTokens(untaught=held_out)
    return Study(
        name="untaught-rows",
        arms=(
            Arm("pieces", pieces, facts, "rows that start as the mean of their pieces"),
            Arm("composed", composed, facts, "rows that an MLP makes of their parts"),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="pieces",
        treatment="composed",
        primary=(Benefit("forced_prefix:token.untaught", "acc", delta=0.5),),
    )
