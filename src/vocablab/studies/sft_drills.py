"""Do fact tokens help when fine-tuning drills them? Drills of single facts, half of what is learned (roadmap A2).

Hypothesis: a model that is given one token per product only when it is fine-tuned, and drilled on them
(`Q: What is 6 times 9? A: <MUL_6_9_54>. The answer is 54.`), solves more one-step word problems than the control, which
learns the same drills and problems in plain text. Corpus and pretrained model are shared by all arms of a seed.
Command: vocablab run sft-drills --preset cpu
Cost: cpu: 15 runs on 5 pretrained models of 1M parameters, about 10 minutes on 2 cores. full: GPT-2 124M; see
`vocablab plan sft-drills --preset full`.
Expected: every arm answers drills of trained facts rightly. Facts that no drill states stay out of reach.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.new_rows import PieceRows
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


def study() -> Study:
    """The preset `cpu`."""
    recipe = Recipe(
        model=GPT2Config(n_layer=4, n_head=4, n_embd=128, n_positions=128),
        base_vocabulary=TrainedBPE(640),
        corpus=Corpus((GeneratedProse(documents_count=3000, dose=0.8),), validation_share=0.04),
        pretrain=Pretraining(
            SourceBytes(1_200_000), batch_size=16, optimizer=AdamW(2e-3), schedule=Cosine(20), new_rows=PieceRows()
        ),
        sft=SupervisedFineTuning(
            epochs=16,
            batch_size=32,
            learning_rate=1e-3,
            tasks=(OneStep(),),
            drills=Drills(),
            drill_share=0.8,
        ),
        evaluate=Evaluation((Drills(limit=200), OneStep(limit=200)), text_documents=0, max_new_tokens=32),
    )
    control = Arm("control", recipe, NoChange(), "problems and drills in plain text")
    facts = FactTokens()
    return Study(
        name="sft-drills",
        arms=(
            control,
            replace(
                control, name="mul_facts", intervention=facts, tokens_from="sft", description="one token per product"
            ),
        ),
        seeds=(0, 1, 2, 3, 4),
        control="control",
        treatment="mul_facts",
        primary=(Benefit("one_step", "acc", delta=0.05), NoHarm("drills.trained", "acc", margin=0.05)),
    )
