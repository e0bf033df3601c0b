"""A study of seconds with training by reward: three arms share a pretrained model, two of them a fine-tuned one."""

from dataclasses import replace

from vocablab.analysis.claims import Benefit
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.new_rows import PieceRows
from vocablab.posttrain.rl import GRPO, Limits, TokenBonus
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.tasks.drills import Drills
from vocablab.tasks.one_step import OneStep
from vocablab.training.budget import SourceBytes
from vocablab.training.optimizer import AdamW
from vocablab.training.schedule import Cosine
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens

TASK = OneStep(limit=12, problem_limit=24, train_limit=64)


def study() -> Study:
    """The study."""
    rl = GRPO(
        TASK, steps=2, prompts=4, group=2, learning_rate=1e-3, max_new_tokens=8, held_out=4, held_out_samples=1,
        log_every=1, limits=Limits(entropy=0.0, truncated=1.0, repetition=1.0, idle_tokens=99.0),
    )  # fmt: skip
    recipe = Recipe(
        model=GPT2Config(1, 2, 32, 160),
        base_vocabulary=TrainedBPE(320),
        corpus=Corpus((GeneratedProse(200, 0.5),), 0.1),
        pretrain=Pretraining(
            SourceBytes(40_000), batch_size=8, optimizer=AdamW(3e-3), schedule=Cosine(5), new_rows=PieceRows()
        ),
        sft=SupervisedFineTuning(
            epochs=1, batch_size=16, learning_rate=1e-3, tasks=(TASK,), drills=Drills(examples_count=64)
        ),
        evaluate=Evaluation((TASK,), text_documents=0, max_new_tokens=8),
        rl=rl,
    )
    answers = Arm("answers", recipe, FactTokens(), tokens_from="sft")
    bonus = replace(recipe, rl=replace(rl, bonus=TokenBonus()))
    return Study(
        name="tiny-rl",
        arms=(
            Arm("control", replace(recipe, rl=None), NoChange()),
            answers,
            replace(answers, name="bonus", recipe=bonus),
        ),
        seeds=(0, 1),
        control="answers",
        treatment="bonus",
        primary=(Benefit("one_step", "acc", delta=0.05),),
    )
