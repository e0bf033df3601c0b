"""Known-good ways to make a model, as data: the classic GPT-2 sizes and a modern arm.

`PRETRAINING` has the part that `vocablab pretrain --recipe NAME` runs on any prepared corpus; the functions add corpus,
fine-tuning and evaluation for a study.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from vocablab.corpus.corpus import Corpus
from vocablab.corpus.mixtures import declared_corpus
from vocablab.corpus.sources import GeneratedProse, Source
from vocablab.lab.study import Evaluation, Recipe
from vocablab.model.gpt2 import GPT2_124M, GPT2_350M, TINY, GPT2Config
from vocablab.model.modern import MODERN_124M, MODERN_TINY, ModernConfig
from vocablab.model.new_rows import PieceRows
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.pretrain.config import Pretraining
from vocablab.tasks.arithmetic import Arithmetic
from vocablab.tasks.gsm8k import GSM8K
from vocablab.tasks.hellaswag import HellaSwag
from vocablab.training.budget import Budget, SourceBytes, Tokens
from vocablab.training.optimizer import AdamW, MuonAdamW
from vocablab.training.schedule import Cosine, WarmupStableDecay
from vocablab.vocab.base_vocabulary import GPT2Vocabulary, TrainedBPE


@dataclass(frozen=True)
class PretrainRecipe:
    """A network and how it is pretrained."""

    model: GPT2Config | ModernConfig
    """Its size."""
    pretrain: Pretraining
    """How."""


def _classic(model: GPT2Config, peak: float, micro_batch: int) -> Callable[[Budget], PretrainRecipe]:
    def made(budget: Budget) -> PretrainRecipe:
        # 512 sequences of 1,024: GPT-3's half a million tokens per step; 715 warm-up steps are its 375M tokens.
        pretrain = Pretraining(
            budget, batch_size=512, optimizer=AdamW(peak), schedule=Cosine(715), micro_batch=micro_batch
        )
        return PretrainRecipe(model, pretrain)

    return made


def _modern_124m(budget: Budget) -> PretrainRecipe:
    # Not tuned at this size: the tiny recipe's, AdamW's peak halved as larger widths want it.
    optimizer = MuonAdamW(learning_rate=3e-3, weight_decay=0.0, muon_learning_rate=0.01)
    pretrain = Pretraining(
        budget, batch_size=512, optimizer=optimizer, schedule=WarmupStableDecay(100, 0.4), micro_batch=32
    )
    return PretrainRecipe(MODERN_124M, pretrain)


def _tiny(budget: Budget) -> PretrainRecipe:
    # The best of 1e-3 to 8e-3 on 2M tokens of OpenStax (docs/log.md, 2026-11-25).
    return PretrainRecipe(TINY, Pretraining(budget, batch_size=16, optimizer=AdamW(1e-3), schedule=Cosine(20)))


def _modern_tiny(budget: Budget) -> PretrainRecipe:
    # Chosen on 1M tokens of OpenStax from Muon 0.01 to 0.04 and AdamW 6e-3 to 2e-2 (docs/log.md, 2026-11-25).
    optimizer = MuonAdamW(learning_rate=6e-3, weight_decay=0.0, muon_learning_rate=0.01)
    pretrain = Pretraining(budget, batch_size=16, optimizer=optimizer, schedule=WarmupStableDecay(20, 0.4))
    return PretrainRecipe(MODERN_TINY, pretrain)


PRETRAINING: dict[str, Callable[[Budget], PretrainRecipe]] = {
    "tiny": _tiny,
    "modern_tiny": _modern_tiny,
    "gpt2_124m": _classic(GPT2_124M, 6e-4, 32),
    "gpt2_350m": _classic(GPT2_350M, 3e-4, 16),
    "modern_124m": _modern_124m,
}
"""By name. Peaks and batches of the classic sizes: GPT-3 (Brown et al. 2020, table 2.1), as build-nanogpt
(github.com/karpathy/build-nanogpt) has them for 124M on 10B tokens."""


def gpt2_124m(budget: Budget, corpus: Corpus | None = None) -> Recipe:
    """GPT-2 small on FineWeb-Edu (or `corpus`), then GSM8K: the roadmap's baseline."""
    return _recipe(PRETRAINING["gpt2_124m"](budget), corpus)


def gpt2_350m(budget: Budget, corpus: Corpus | None = None) -> Recipe:
    """GPT-2 medium, the same way (roadmap D1)."""
    return _recipe(PRETRAINING["gpt2_350m"](budget), corpus)


def modern_124m(budget: Budget, corpus: Corpus | None = None) -> Recipe:
    """Rotary positions, QK-norm, SwiGLU, and Muon for the matrices of the blocks."""
    return _recipe(PRETRAINING["modern_124m"](budget), corpus)


def tiny_base(
    evaluate: Evaluation, sft: SupervisedFineTuning, *, more: tuple[Source, ...] = (), positions: int = 128,
    pieces: int = 640,
) -> Recipe:  # fmt: skip
    """What post-training studies start from on a CPU: 1M parameters, half a minute of generated prose in which facts
    stand in plain text. Arms whose tokens come with fine-tuning get rows that start as the mean of their pieces.

    Args:
        evaluate: what the model is asked.
        sft: how it is fine-tuned.
        more: sources beside the generated prose.
        positions: longest text in tokens.
        pieces: size of the base vocabulary.
    """
    return Recipe(
        model=GPT2Config(n_layer=4, n_head=4, n_embd=128, n_positions=positions),
        base_vocabulary=TrainedBPE(pieces),
        corpus=Corpus((GeneratedProse(documents_count=3000, dose=0.8), *more), validation_share=0.04),
        pretrain=Pretraining(
            SourceBytes(1_200_000), batch_size=16, optimizer=AdamW(2e-3), schedule=Cosine(20), new_rows=PieceRows()
        ),
        sft=sft,
        evaluate=evaluate,
    )


def gpt2_base(evaluate: Evaluation, sft: SupervisedFineTuning) -> Recipe:
    """The same on a GPU: GPT-2 124M on 10B tokens of FineWeb-Edu, one model per seed for all arms."""
    recipe = gpt2_124m(Tokens(10e9))
    pretrain = replace(recipe.pretrain, new_rows=PieceRows())
    return replace(recipe, pretrain=pretrain, sft=sft, evaluate=evaluate)


def _recipe(made: PretrainRecipe, corpus: Corpus | None) -> Recipe:
    return Recipe(
        model=made.model,
        base_vocabulary=GPT2Vocabulary(),
        corpus=corpus or declared_corpus(["fineweb-edu"], field=None, validation_share=0.005, target_tokens=None),
        pretrain=made.pretrain,
        sft=SupervisedFineTuning(epochs=3.0, batch_size=32, learning_rate=2e-5, micro_batch=32),
        evaluate=Evaluation(
            (GSM8K(), HellaSwag(), Arithmetic()),
            text_documents=200,
            max_new_tokens=256,
            during_pretraining=(HellaSwag(limit=1000),),
        ),
    )
