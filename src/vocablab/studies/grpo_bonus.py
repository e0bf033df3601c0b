"""Does a bounded bonus for used fact tokens help GRPO, and is a bonus for any token gamed? (Roadmap C1.)

Hypothesis: GRPO with a reward of ``correct x (1 + bonus)`` for true, used fact tokens solves more held-out word
problems than GRPO with the reward for right answers alone. Both start from the same fine-tuned model of their seed,
drilled on facts, some of them in short stories, and never shown one of the word problems. The arm `ungated` has the
roadmap's first form, 0.1 for any token, right or wrong: its watch is expected to stop it. The arm `placebo` pays for
tokens without content.
Command: vocablab run grpo-bonus --preset cpu
Cost: cpu: 20 runs on 5 pretrained models of 1M parameters, 22 minutes on 2 busy cores. full: GPT-2 124M on GSM8K; see
`vocablab plan grpo-bonus --preset full`.
Expected: both gated arms gain on held-out problems. The bonus adds little to the reward for right answers, which nearly
always use the right token here.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit
from vocablab.lab.recipes import gpt2_base, tiny_base
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.posttrain.rl import GRPO, Curriculum, Limits, TokenBonus
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.drills import Drills
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.one_step import OneStep
from vocablab.vocab.interventions import FactTokens, ShuffledMeaning


def presets() -> dict[str, Study]:
    """`cpu` (the default) and `full`."""
    small = tiny_base(
        Evaluation((OneStep(limit=300),), text_documents=0, max_new_tokens=32),
        SupervisedFineTuning(epochs=4, batch_size=32, learning_rate=1e-3, tasks=(Drills(),)),
    )
    rewarded = GRPO(
        OneStep(), steps=80, prompts=16, group=8, learning_rate=3e-4, max_new_tokens=32, split="heldout_story",
        micro_batch=128,
    )  # fmt: skip
    full = gpt2_base(
        Evaluation((GSM8K(), OneStep()), text_documents=0, max_new_tokens=256),
        SupervisedFineTuning(
            epochs=3, batch_size=32, learning_rate=2e-5, micro_batch=32, tasks=(GSM8K(),), drills=Drills()
        ),
    )
    on_gsm8k = GRPO(
        GSM8K(), steps=500, prompts=64, group=16, learning_rate=1e-6, max_new_tokens=256, held_out=200,
        curriculum=Curriculum(), limits=Limits(length=240), micro_batch=128,
    )  # fmt: skip
    return {
        "cpu": _study(replace(small, rl=rewarded), Benefit("one_step.heldout_story", "acc", delta=0.05)),
        "full": _study(replace(full, rl=on_gsm8k), Benefit("gsm8k", "acc", delta=0.02)),
    }


def study() -> Study:
    """The preset `cpu`."""
    return presets()["cpu"]


def _study(recipe: Recipe, claim: Benefit) -> Study:
    assert recipe.rl is not None
    facts = FactTokens()
    answers = Arm("answers_only", recipe, facts, "reward for right answers alone", tokens_from="sft")
    bonus = replace(recipe, rl=replace(recipe.rl, bonus=TokenBonus()))
    ungated = replace(recipe, rl=replace(recipe.rl, bonus=TokenBonus(gated=False, counts="any")))
    # Tokens without content are idle by definition, and five of them are paid for.
    limits = replace(recipe.rl.limits, idle_tokens=6.0)
    placebo = replace(recipe, rl=replace(recipe.rl, bonus=TokenBonus(counts="any"), limits=limits))
    return Study(
        name="grpo-bonus",
        arms=(
            answers,
            replace(answers, name="bonus", recipe=bonus, description="and more for each fact token used in one"),
            replace(answers, name="ungated", recipe=ungated, description="and 0.1 for any token, right or wrong"),
            replace(
                answers,
                name="placebo",
                intervention=ShuffledMeaning(facts),
                recipe=placebo,
                description="and more for each token without content in one",
            ),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="answers_only",
        treatment="bonus",
        primary=(claim,),
    )
