"""A study of seconds: two arms, two seeds, a model of one small block."""

from dataclasses import replace

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.model.gpt2 import GPT2Config
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.training.budget import SourceBytes
from vocablab.training.optimizer import AdamW
from vocablab.training.schedule import Cosine
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens


def study() -> Study:
    """The study."""
    recipe = Recipe(
        model=GPT2Config(1, 2, 32, 96),
        base_vocabulary=TrainedBPE(320),
        corpus=Corpus((GeneratedProse(300, 0.5),), 0.1),
        pretrain=Pretraining(
            SourceBytes(100_000), batch_size=8, optimizer=AdamW(3e-3), schedule=Cosine(5), checkpoint_seconds=0.0
        ),
        sft=SupervisedFineTuning(epochs=1, batch_size=32, learning_rate=1e-3),
        evaluate=Evaluation((Arithmetic(held_out_items=8),), text_documents=5, max_new_tokens=8),
    )
    control = Arm("control", recipe, NoChange())
    return Study(
        name="tiny",
        arms=(control, replace(control, name="mul_facts", intervention=FactTokens())),
        seeds=(0, 1),
        control="control",
        treatment="mul_facts",
        primary=(
            Benefit("arithmetic.transfer", "acc", delta=0.05),
            NoHarm("text", "bits_per_byte", margin=0.02),
        ),
    )
