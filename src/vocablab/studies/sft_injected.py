"""Do fact tokens help when only the fine-tuning targets have them? Facts injected into GSM8K's worked answers (A1).

Hypothesis: a pretrained model that is given one token per product when it is fine-tuned on GSM8K, calculator
annotations included, needs fewer bits for the answers of test problems than the control, which learns the same answers
in plain text, without harm to SVAMP. Corpus and pretrained model are the control's, one per seed, shared by all arms.
The arms `plain_facts` (the same sites in canonical plain text) and `sham` (tokens without content) separate the token
from its exposure.
Command: vocablab run sft-injected --preset cpu --data ../shared/data
Cost: cpu: 20 runs on 5 pretrained models of 1M parameters, 23 minutes of processor time, so 12 on 2 free
cores. full: GPT-2 124M; see `vocablab plan sft-injected --preset full`.
Expected: nothing to be seen at this size: GSM8K states few one-digit products, so a token is met some dozens of times.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.corpus.sources import GSM8KText
from vocablab.lab.recipes import gpt2_base, tiny_base
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.svamp import SVAMP
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens, PlainTextFacts, ShuffledMeaning


def presets() -> dict[str, Study]:
    """`cpu` (the default) and `full`."""
    small = tiny_base(
        Evaluation((GSM8K(limit=150), SVAMP(limit=150)), text_documents=0, max_new_tokens=96),
        SupervisedFineTuning(epochs=2, batch_size=32, learning_rate=1e-3, tasks=(GSM8K(train_limit=1200),)),
        more=(GSM8KText(),),
        positions=384,
        pieces=2048,
    )
    full = gpt2_base(
        Evaluation((GSM8K(), SVAMP()), text_documents=0, max_new_tokens=256),
        SupervisedFineTuning(epochs=3, batch_size=32, learning_rate=2e-5, micro_batch=32, tasks=(GSM8K(),)),
    )
    return {
        "cpu": _study(small, Benefit("gsm8k", "gold_bits_per_byte", delta=0.02)),
        "full": _study(full, Benefit("gsm8k", "acc", delta=0.02)),
    }


def study() -> Study:
    """The preset `cpu`."""
    return presets()["cpu"]


def _study(recipe: Recipe, claim: Benefit) -> Study:
    facts = FactTokens()
    control = Arm("control", recipe, NoChange(), "worked answers in plain text")
    later = replace(control, tokens_from="sft")
    return Study(
        name="sft-injected",
        arms=(
            control,
            replace(later, name="mul_facts", intervention=facts, description="one token per product in the targets"),
            replace(
                later,
                name="plain_facts",
                intervention=PlainTextFacts(facts),
                description="the same sites in canonical plain text, no tokens",
            ),
            replace(later, name="sham", intervention=ShuffledMeaning(facts), description="the same sites, no content"),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="control",
        treatment="mul_facts",
        primary=(claim, NoHarm("svamp", "gold_bits_per_byte", margin=0.05)),
    )
