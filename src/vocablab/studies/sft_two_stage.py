"""Are drills better learned first, or together with the problems? Two-stage fine-tuning (roadmap A3).

Hypothesis: a model with fact tokens that is drilled first and then learns word problems solves more of them than one
that learns the same drills and problems mixed. Both see as many of each. The arms without tokens (`plain_mixed`,
`plain_two_stage`) say whether that has to do with tokens at all.
Command: vocablab run sft-two-stage --preset cpu
Cost: cpu: 20 runs on 5 pretrained models of 1M parameters, 36 minutes of processor time, so 18 on 2 free cores. full:
GPT-2 124M, drills then GSM8K; see `vocablab plan sft-two-stage --preset full`.
Expected: drills first forget a third of the drills and fit the problems hardly better.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.lab.recipes import gpt2_base, tiny_base
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.drills import Drills
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.one_step import OneStep
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens


def presets() -> dict[str, Study]:
    """`cpu` (the default) and `full`."""
    # 12 passes over 318 problems with four times as many drills: about 4 passes over 3,800 drills.
    small = tiny_base(
        Evaluation((OneStep(limit=300), Drills(limit=300)), text_documents=0, max_new_tokens=32),
        SupervisedFineTuning(
            epochs=12, batch_size=32, learning_rate=1e-3, tasks=(OneStep(),), drills=Drills(), drill_share=0.8,
            drill_epochs=4.0,
        ),
    )  # fmt: skip
    # 3 passes over 6,390 problems (those that state unseen facts are left out), as many drills: 5.04 of 3,800.
    full = gpt2_base(
        Evaluation((GSM8K(), OneStep(), Drills()), text_documents=0, max_new_tokens=256),
        SupervisedFineTuning(
            epochs=3, batch_size=32, learning_rate=2e-5, micro_batch=32, tasks=(GSM8K(),), drills=Drills(),
            drill_epochs=5.04,
        ),
    )  # fmt: skip
    return {
        "cpu": _study(small, Benefit("one_step.heldout_story", "acc", delta=0.05)),
        "full": _study(full, Benefit("gsm8k", "acc", delta=0.02)),
    }


def study() -> Study:
    """The preset `cpu`."""
    return presets()["cpu"]


def _study(recipe: Recipe, claim: Benefit) -> Study:
    first = replace(recipe, sft=replace(recipe.sft, order="drills_first"))
    mixed = Arm("mixed", recipe, FactTokens(), "tokens; drills and problems in one order", tokens_from="sft")
    plain = Arm("plain_mixed", recipe, NoChange(), "plain text; drills and problems in one order")
    return Study(
        name="sft-two-stage",
        arms=(
            mixed,
            replace(mixed, name="two_stage", recipe=first, description="tokens; drills first, then problems"),
            plain,
            replace(plain, name="plain_two_stage", recipe=first, description="plain text; drills first, then problems"),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="mixed",
        treatment="two_stage",
        primary=(claim, NoHarm("drills.trained", "acc", margin=0.05)),
    )
