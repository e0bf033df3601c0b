"""Do fact tokens help when fine-tuning drills them? Drills of single facts among word problems (roadmap A2).

Hypothesis: a model that is given one token per product only when it is fine-tuned, and drilled on them
(`Q: What is 6 times 9? A: <MUL_6_9_54>. The answer is 54.`), solves more one-step word problems than the control, which
learns the same drills and problems in plain text. Corpus and pretrained model are shared by all arms of a seed. The arm
`interleaved` learns drills and problems in turn, batch by batch, instead of mixed.
Command: vocablab run sft-drills --preset cpu
Cost: cpu: 15 runs on 5 pretrained models of 1M parameters, 16 minutes on 2 busy cores. full: GPT-2 124M, drills beside
GSM8K, half and half; see `vocablab plan sft-drills --preset full`.
Expected: every arm answers nearly all drills of trained facts rightly. Facts that no drill states stay out of reach.
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
    small = tiny_base(
        Evaluation((Drills(limit=300), OneStep(limit=300)), text_documents=0, max_new_tokens=32),
        # A model of this size needs every fact some hundred times.
        SupervisedFineTuning(
            epochs=12, batch_size=32, learning_rate=1e-3, tasks=(OneStep(),), drills=Drills(), drill_share=0.8
        ),
    )
    full = gpt2_base(
        Evaluation((GSM8K(), Drills(), OneStep()), text_documents=0, max_new_tokens=256),
        SupervisedFineTuning(
            epochs=3, batch_size=32, learning_rate=2e-5, micro_batch=32, tasks=(GSM8K(),), drills=Drills()
        ),
    )
    return {
        "cpu": _study(small, Benefit("one_step.heldout_story", "acc", delta=0.05)),
        "full": _study(full, Benefit("gsm8k", "acc", delta=0.02)),
    }


def study() -> Study:
    """The preset `cpu`."""
    return presets()["cpu"]


def _study(recipe: Recipe, claim: Benefit) -> Study:
    control = Arm("control", recipe, NoChange(), "problems and drills in plain text")
    facts = replace(
        control, name="mul_facts", intervention=FactTokens(), tokens_from="sft", description="one token per product"
    )
    in_turn = replace(recipe, sft=replace(recipe.sft, order="interleaved"))
    return Study(
        name="sft-drills",
        arms=(
            control,
            facts,
            replace(facts, name="interleaved", recipe=in_turn, description="the same, whole batches of a kind in turn"),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="control",
        treatment="mul_facts",
        primary=(claim, NoHarm("drills.trained", "acc", margin=0.05)),
    )
