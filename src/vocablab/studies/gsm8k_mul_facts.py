"""Do tokens for the one-digit products help on GSM8K? Pretraining on real text, facts in the SFT targets.

Hypothesis: with one token per product in pretraining and in the calculator annotations of the fine-tuning
targets (roadmap option A1), a model solves more GSM8K test problems than the control, without harm to
HellaSwag. Preset cpu asks the same on a small model, where GSM8K itself is out of reach: there the claim is
about the bits per byte of the reference solutions.
Command: vocablab run gsm8k-mul-facts --data ../shared/data --preset cpu
Cost: cpu: 6 runs of a 2M-parameter model, under 20 minutes on 2 cores. full: 20 runs of GPT-2 124M; see
`vocablab plan gsm8k-mul-facts --preset full`.
Expected: cpu is a PILOT. OpenStax and GSM8K state few products, so the coverage ceiling is low.
"""

from dataclasses import replace

from vocablab.analysis.claims import Benefit, NoHarm
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import GeneratedProse, GSM8KText, OpenStaxText
from vocablab.lab.study import Arm, Evaluation, Recipe, Study
from vocablab.model.gpt2 import GPT2Config
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.hellaswag import HellaSwag
from vocablab.training.budget import SourceBytes
from vocablab.training.optimizer import AdamW
from vocablab.training.schedule import Cosine
from vocablab.vocab.base_vocabulary import GPT2Vocabulary, TrainedBPE
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens, PlainTextFacts, ShuffledMeaning


def _arms(recipe: Recipe) -> tuple[Arm, ...]:
    facts = FactTokens()
    control = Arm("control", recipe, NoChange(), "plain text, no tokens")
    return (
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
    )


def _cpu() -> Study:
    recipe = Recipe(
        model=GPT2Config(n_layer=4, n_head=4, n_embd=128, n_positions=384),
        base_vocabulary=TrainedBPE(4096),
        corpus=Corpus(
            (GSM8KText(), OpenStaxText(max_bytes=3_000_000, instead=GeneratedProse(8000, 0.2))),
            validation_share=0.02,
        ),
        pretrain=Pretraining(
            SourceBytes(1_800_000), batch_size=16, optimizer=AdamW(2e-3), schedule=Cosine(20), micro_batch=16
        ),
        sft=SupervisedFineTuning(epochs=1, batch_size=32, learning_rate=1e-3, micro_batch=32),
        evaluate=Evaluation(
            (GSM8K(limit=40, train_limit=1500), HellaSwag(limit=100), Arithmetic()),
            text_documents=40,
            max_new_tokens=120,
            decodings=("free", "banned", "forced", "counterfactual"),
            text_modes=("native", "plain", "outside"),
            forced_prefix=True,
            during_pretraining=(HellaSwag(limit=50),),
        ),
    )
    return Study(
        name="gsm8k-mul-facts",
        arms=_arms(recipe)[:3],
        seeds=(0, 1),
        control="control",
        treatment="mul_facts",
        primary=(
            Benefit("gsm8k", "gold_bits_per_byte", delta=0.02),
            NoHarm("hellaswag", "acc_norm", margin=0.01),
        ),
    )


def _full() -> Study:
    recipe = Recipe(
        model=GPT2Config(n_layer=12, n_head=12, n_embd=768, n_positions=1024),
        base_vocabulary=GPT2Vocabulary(),
        corpus=Corpus(
            (GSM8KText(), OpenStaxText(max_bytes=80_000_000, instead=GeneratedProse(200_000, 0.2))),
            validation_share=0.01,
        ),
        pretrain=Pretraining(
            SourceBytes(400_000_000),
            batch_size=128,
            optimizer=AdamW(6e-4),
            schedule=Cosine(100),
            max_epochs=6,
            micro_batch=32,
        ),
        sft=SupervisedFineTuning(epochs=3, batch_size=32, learning_rate=2e-5, micro_batch=32),
        evaluate=Evaluation(
            (GSM8K(), HellaSwag(), Arithmetic()),
            text_documents=200,
            max_new_tokens=256,
            decodings=("free", "banned", "forced", "counterfactual"),
            text_modes=("native", "plain", "outside"),
            forced_prefix=True,
            during_pretraining=(HellaSwag(limit=1000),),
        ),
    )
    return Study(
        name="gsm8k-mul-facts",
        arms=_arms(recipe),
        seeds=(0, 1, 2, 3, 4),
        control="control",
        treatment="mul_facts",
        primary=(
            Benefit("gsm8k", "acc", delta=0.02),
            NoHarm("hellaswag", "acc_norm", margin=0.01),
        ),
    )


def presets() -> dict[str, Study]:
    """`cpu` (the default) and `full`."""
    return {"cpu": _cpu(), "full": _full()}


def study() -> Study:
    """The preset `cpu`."""
    return _cpu()
