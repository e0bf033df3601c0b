"""Is an effect that is surely there found? One arm is given twice the training.

Hypothesis: a model that reads twice as much text of the same kind needs at least 0.02 bits per byte less for text it
never read. Everybody knows the answer; a laboratory that does not find it would find nothing else either.
Command: vocablab run planted-effect
Cost: 10 runs of a 0.3M-parameter model, about 3 minutes on 2 cores.
Expected: SUPPORTED.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit
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


def study() -> Study:
    """The control and an arm with twice its budget x five seeds."""
    pretrain = Pretraining(SourceBytes(300_000), batch_size=16, optimizer=AdamW(2e-3), schedule=Cosine(20))
    recipe = Recipe(
        model=GPT2Config(n_layer=2, n_head=4, n_embd=96, n_positions=128),
        base_vocabulary=TrainedBPE(512),
        corpus=Corpus((GeneratedProse(documents_count=2000, dose=0.8),), validation_share=0.05),
        pretrain=pretrain,
        sft=SupervisedFineTuning(epochs=1, batch_size=16, learning_rate=1e-3),
        evaluate=Evaluation((Arithmetic(held_out_items=8),), text_documents=60, max_new_tokens=8),
    )
    control = Arm("control", recipe, NoChange(), "plain text, no tokens")
    longer = replace(recipe, pretrain=replace(pretrain, budget=SourceBytes(600_000)))
    return Study(
        name="planted-effect",
        arms=(control, replace(control, name="twice", recipe=longer, description="twice the text and compute")),
        seeds=(0, 1, 2, 3, 4),
        control="control",
        treatment="twice",
        primary=(Benefit("text", "bits_per_byte", delta=0.02),),
    )
