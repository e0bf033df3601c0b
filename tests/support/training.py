"""Pretraining as tests do it: a corpus of seconds, a network of one block, a run in this process."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from support.corpora import build_corpus
from vocablab.corpus.build import training_texts
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.shards import Split, read_split
from vocablab.corpus.sources import GeneratedProse
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.pretrain import loop
from vocablab.pretrain.config import Pretraining
from vocablab.pretrain.loop import pretrain
from vocablab.training.budget import SourceBytes
from vocablab.training.distributed import Ranks
from vocablab.training.optimizer import AdamW, MuonAdamW
from vocablab.training.schedule import Cosine
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec, load_codec
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.vocabulary import Vocabulary, padded

# Networks this small are twice as fast on one thread, and threads of several tests do not wait for each other.
torch.set_num_threads(1)

CORPUS = Corpus((GeneratedProse(250, 0.5),), 0.1)
MODEL = GPT2Config(1, 2, 32, 64)
MODERN = ModernConfig(1, 2, 32, 64)
CONFIG = Pretraining(
    SourceBytes(60_000),
    batch_size=8,
    optimizer=AdamW(3e-3),
    schedule=Cosine(5),
    precision="float32",
    checkpoint_seconds=0.0,
)
MUON = replace(CONFIG, optimizer=MuonAdamW(3e-3))
SHORT = SourceBytes(16_000)
BRIEF = replace(CONFIG, budget=SHORT, evaluate_every=0.25)

Parts = tuple[dict[str, Any], Codec, Split, Split]


def base_vocabulary() -> Vocabulary:
    return Vocabulary(TrainedBPE(320).build(training_texts(CORPUS, None, 0)), (), padded(320 + 45))


def shards(base: Vocabulary, rule: Intervention, directory: Path) -> Parts:
    """Counts, codec, training and validation split of an arm."""
    codec = Codec(Vocabulary(base.base, rule.tokens(), base.padded_size), rule)
    counts = build_corpus(CORPUS, {"arm": codec}, directory)["arms"]["arm"]
    return counts, codec, read_split(directory / "arm/train"), read_split(directory / "arm/validation")


def load_parts(directory: Path) -> Parts:
    """What `shards` made, in another process; its counts are left out."""
    arm = directory / "arm"
    return {}, load_codec(arm), read_split(arm / "train"), read_split(arm / "validation")


def train(
    parts: Parts, directory: Path, config: Pretraining = CONFIG, model: ModelConfig = MODEL, **options: Any
) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    _, codec, training, held = parts
    options = {"place": Ranks(), **options}
    return pretrain(config, model, codec, training, held, 0, directory, lambda *a: None, **options)


def checkpoint_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SHARE", math.inf)


def dies_at(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Killed before the steps of these numbers, each once."""
    real, left = loop._Run._step, list(steps)

    def step(self: Any, number: int, factor: float) -> Any:
        if number in left:
            left.remove(number)
            raise KeyboardInterrupt
        return real(self, number, factor)

    monkeypatch.setattr(loop._Run, "_step", step)
