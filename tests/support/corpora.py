"""Corpora as tests build them: in this process, without worker processes."""

from pathlib import Path
from typing import Any

from support.models import make_codec
from vocablab.corpus.build import Arm, build
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.leaks import LeakIndex
from vocablab.corpus.workers import Engine, InProcess
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import Intervention, NoChange
from vocablab.vocab.vocabulary import Vocabulary


def build_corpus(
    corpus: Corpus,
    codecs: dict[str, Codec],
    out: Path,
    *,
    data: Path | None = None,
    seed: int = 0,
    engine: Engine | None = None,
    leaks: LeakIndex | None = None,
) -> dict[str, Any]:
    """Build into ``out/ARM``."""
    arms = {name: Arm(codec, out / name) for name, codec in codecs.items()}
    return build(
        corpus, arms, out / "work", data=data, seed=seed, engine=engine or InProcess(), leaks=leaks,
        progress=lambda done, total, note: None,
    )  # fmt: skip


def matched(rules: dict[str, Intervention]) -> dict[str, Codec]:
    """Codecs over one small vocabulary, all of the same padded size."""
    base = make_codec(NoChange()).vocabulary.base
    return {name: Codec(Vocabulary(base, rule.tokens(), 1024), rule) for name, rule in rules.items()}
