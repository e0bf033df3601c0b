"""Do tokens for the one-digit products help a tiny model? The whole pipeline in minutes on two CPU cores.

Hypothesis: a model with one token per product (mul_facts) needs fewer bits for the answers about products that
fine-tuning never asked (arithmetic.transfer) than the control, without harm to its plain text.
Command: vocablab run quickstart
Cost: 12 runs of a 1M-parameter model, a few minutes on 2 cores.
Expected: PILOT, since three seeds are too few for a verdict. A token hides the digits of its product from
pretraining, so a tiny model may well do worse.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import GeneratedProse
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.model.gpt2 import GPT2Config
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.probe.config import Probing
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.training.budget import SourceBytes
from vocablab.training.optimizer import AdamW
from vocablab.training.schedule import Cosine
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens, PlainTextFacts, ShuffledMeaning


def study() -> Study:
    """Four arms x three seeds."""
    recipe = Recipe(
        model=GPT2Config(n_layer=4, n_head=4, n_embd=128, n_positions=128),
        base_vocabulary=TrainedBPE(640),
        corpus=Corpus((GeneratedProse(documents_count=3000, dose=0.8),), validation_share=0.04),
        pretrain=Pretraining(
            SourceBytes(1_200_000), batch_size=16, optimizer=AdamW(2e-3), schedule=Cosine(20), max_epochs=1.0
        ),
        sft=SupervisedFineTuning(epochs=30, batch_size=16, learning_rate=1e-3),
        evaluate=Evaluation(
            (Arithmetic(),),
            text_documents=100,
            max_new_tokens=24,
            decodings=("free", "banned", "forced", "counterfactual"),
            text_modes=("native", "plain", "outside"),
            forced_prefix=True,
        ),
        probe=Probing(permutations=200, layer_permutations=40),
    )
    control = Arm("control", recipe, NoChange(), "plain text, no tokens")
    facts = FactTokens()
    return Study(
        name="quickstart",
        arms=(
            control,
            replace(control, name="mul_facts", intervention=facts, description="one token per product, 45 tokens"),
            replace(
                control,
                name="plain_facts",
                intervention=PlainTextFacts(facts),
                description="the same sites in canonical plain text, no tokens",
            ),
            replace(
                control,
                name="sham",
                intervention=ShuffledMeaning(facts),
                description="the same sites, but a random token at each: no content",
            ),
        ),
        seeds=(0, 1, 2),
        control="control",
        treatment="mul_facts",
        primary=(
            Benefit("arithmetic.transfer", "gold_bits_per_byte", delta=0.05),
            NoHarm("text", "bits_per_byte", margin=0.02),
        ),
    )
