"""Do pairs of answers with and without fact tokens teach when to use them? Contrastive training by reward (roadmap C2).

Hypothesis: where the two answers of a pair differ in that one may use fact tokens and the other may not, the advantage
within the pair teaches the model to use them where they apply, and it solves more held-out word problems than one
trained on pairs of two free answers with the same reward. The model was drilled with a token at half of the sites, so
that it can do both. The arm `prompted` gives the first answer a hint instead of banning tokens in the second.
Command: vocablab run rl-contrastive --preset cpu
Cost: cpu: 15 runs on 5 pretrained models of 1M parameters, 24 minutes on 2 busy cores. full: GPT-2 124M on GSM8K; see
`vocablab plan rl-contrastive --preset full`.
Expected: every arm learns; fact tokens fall out of use, since after drills with half of them a plain equation is right
more often, so pairs teach the model to do without.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit
from vocablab.lab.recipes import gpt2_base, tiny_base
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.posttrain.rl import GRPO, Contrast, Limits, TokenBonus
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.drills import Drills
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.one_step import OneStep
from vocablab.vocab.interventions import FactTokens


def presets() -> dict[str, Study]:
    """`cpu` (the default) and `full`."""
    small = tiny_base(
        Evaluation((OneStep(limit=300),), text_documents=0, max_new_tokens=32),
        SupervisedFineTuning(epochs=4, batch_size=32, learning_rate=1e-3, tasks=(Drills(),)),
    )
    pairs = GRPO(
        OneStep(), steps=80, prompts=64, group=2, learning_rate=3e-4, max_new_tokens=32, bonus=TokenBonus(),
        scale="none", split="heldout_story", micro_batch=128,
    )  # fmt: skip
    full = gpt2_base(
        Evaluation((GSM8K(), OneStep()), text_documents=0, max_new_tokens=256),
        SupervisedFineTuning(
            epochs=3, batch_size=32, learning_rate=2e-5, micro_batch=32, tasks=(GSM8K(),), drills=Drills()
        ),
    )
    on_gsm8k = GRPO(
        GSM8K(), steps=500, prompts=512, group=2, learning_rate=1e-6, max_new_tokens=256, bonus=TokenBonus(),
        scale="none", held_out=200, limits=Limits(length=240), micro_batch=128,
    )  # fmt: skip
    return {
        "cpu": _study(replace(small, rl=pairs), Benefit("one_step.heldout_story", "acc", delta=0.05)),
        "full": _study(replace(full, rl=on_gsm8k), Benefit("gsm8k", "acc", delta=0.02)),
    }


def study() -> Study:
    """The preset `cpu`."""
    return presets()["cpu"]


def _study(recipe: Recipe, claim: Benefit) -> Study:
    assert recipe.rl is not None
    free = Arm("free_pairs", recipe, FactTokens(dose=0.5), "pairs of free answers", tokens_from="sft")
    banned = replace(recipe, rl=replace(recipe.rl, contrast=Contrast("banned")))
    prompted = replace(recipe, rl=replace(recipe.rl, contrast=Contrast("prompted")))
    return Study(
        name="rl-contrastive",
        arms=(
            free,
            replace(free, name="contrast", recipe=banned, description="one answer free, one without fact tokens"),
            replace(free, name="prompted", recipe=prompted, description="one answer behind a hint, one without"),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="free_pairs",
        treatment="contrast",
        primary=(claim,),
    )
