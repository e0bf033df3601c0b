"""Does a bounded bonus for used fact tokens help GRPO, and is a bonus for any token gamed? (Roadmap C1.)

Hypothesis: GRPO with a reward of ``correct x (1 + bonus)`` for true, used fact tokens solves more held-out word problems
than GRPO with the reward for right answers alone. Every arm starts from the same fine-tuned model of its seed. The arm
`ungated` has the roadmap's first form, 0.1 for any token, right or wrong: the watch is expected to stop it. The arm
`placebo` pays for tokens without content.
Command: vocablab run grpo-bonus --preset cpu
Cost: cpu: 20 runs of a 1M-parameter model, about 15 minutes on 2 cores. full: GPT-2 124M on GSM8K; see
`vocablab plan grpo-bonus --preset full`.
Expected: every gated arm gains; the bonus adds little to what the reward for right answers does, since with these
problems a right answer nearly always uses the right token.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.new_rows import PieceRows
from vocablab.posttrain.rl import GRPO, TokenBonus
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.tasks.drills import Drills
from vocablab.tasks.one_step import OneStep
from vocablab.training.budget import SourceBytes
from vocablab.training.optimizer import AdamW
from vocablab.training.schedule import Cosine
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.interventions import FactTokens


def study() -> Study:
    """The preset `cpu`."""
    grpo = GRPO(OneStep(), steps=60, prompts=16, group=8, learning_rate=2e-4, max_new_tokens=32, read_every=20)
    recipe = Recipe(
        model=GPT2Config(n_layer=4, n_head=4, n_embd=128, n_positions=128),
        base_vocabulary=TrainedBPE(640),
        corpus=Corpus((GeneratedProse(documents_count=3000, dose=0.8),), validation_share=0.04),
        pretrain=Pretraining(
            SourceBytes(1_200_000), batch_size=16, optimizer=AdamW(2e-3), schedule=Cosine(20), new_rows=PieceRows()
        ),
        sft=SupervisedFineTuning(
            epochs=4, batch_size=32, learning_rate=1e-3, tasks=(OneStep(),), drills=Drills(), drill_share=0.8
        ),
        evaluate=Evaluation((OneStep(limit=200),), text_documents=0, max_new_tokens=32),
        rl=grpo,
    )
    answers = Arm("answers_only", recipe, FactTokens(), "GRPO, reward for right answers alone", tokens_from="sft")
    facts = answers.intervention
    spam = TokenBonus(gated=False, counts="any")
    return Study(
        name="grpo-bonus",
        arms=(
            answers,
            replace(
                answers, name="bonus", recipe=replace(recipe, rl=replace(grpo, bonus=TokenBonus())),
                description="right answers, and more for each fact token used in one",
            ),
            replace(
                answers, name="ungated", recipe=replace(recipe, rl=replace(grpo, bonus=spam)),
                description="the roadmap's form: 0.1 for any token, right or wrong",
            ),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="answers_only",
        treatment="bonus",
        primary=(Benefit("one_step.heldout_story", "acc", delta=0.05),),
    )  # fmt: skip
