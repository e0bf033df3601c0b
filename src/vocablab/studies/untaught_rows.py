"""Does a learned composition make rows for tokens that stood in no text? (Roadmap F1 and D2, as small as quickstart.)

Hypothesis: with `ComposedRows`, an MLP that makes every token's row of its parts, a model that has learned the other
tokens can use one that it never met: the probe `untaught` says so, and answers about products cost fewer bits than
with rows that start as the mean of their pieces. Facts are held out by row of the table, by operand and by result;
the corpus states them in plain text, in every arm alike.
Command: vocablab run untaught-rows
Cost: 30 runs of a 1M-parameter model, half an hour on 2 cores.
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
    "row": HeldOutFacts("row", (6,)),
    "operand": HeldOutFacts("operand", (6,)),
    "result": HeldOutFacts("result", (12, 18, 24)),
}
"""By arm: 4, 9 and 6 of the 45 products."""
ROWS = {"pieces": PieceRows(), "composed": ComposedRows()}
"""By arm."""


def study() -> Study:
    """Two ways to make rows x three ways to hold facts out x five seeds."""
    base = quickstart.study()
    recipe = base.arm("control").recipe
    arms = tuple(
        Arm(
            f"{rows}_{by}",
            replace(recipe, pretrain=replace(recipe.pretrain, new_rows=made)),
            FactTokens(untaught=held_out),
            f"{rows} rows, facts held out by {by}",
        )
        for by, held_out in HELD_OUT.items()
        for rows, made in ROWS.items()
    )
    return Study(
        name="untaught-rows",
        arms=arms,
        seeds=(0, 1, 2, 3, 4),
        control="pieces_row",
        treatment="composed_row",
        primary=(Benefit("arithmetic.transfer", "gold_bits_per_byte", delta=0.05),),
    )
