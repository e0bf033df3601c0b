"""A model as probes see it: transformers' own forward pass, the arm's codec, the rows of its added tokens."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vocablab.facts.fact import Fact
from vocablab.model.pretrained import load_causal_model
from vocablab.vocab.codec import Codec, load_codec
from vocablab.vocab.meaning import TokenMeaning, fact_rule, is_untaught, token_meanings


@dataclass(frozen=True)
class Subject:
    """One model to probe.

    Shapes: V rows of the (padded) vocabulary, N added tokens, D width.
    """

    name: str
    """For titles."""
    model: Any
    """A causal language model of transformers, in evaluation mode and float32, with eager attention."""
    codec: Codec
    """How its arm encodes raw text."""
    ids: tuple[int, ...]
    """Ids of its added tokens, in order; empty for an arm without."""
    meanings: tuple[TokenMeaning, ...]
    """What each says, in parts."""
    facts: tuple[Fact | None, ...]
    """The fact of each, or None for a token that states none (a sham, a digit) or was never taught."""
    initial: dict[str, np.ndarray] | None = field(default=None, repr=False)
    """``input`` and ``output`` tables before training, each (V, D) float32; None if unknown."""
    exposures: np.ndarray | None = field(default=None, repr=False)
    """How often training showed each added token, (N,) integers; None if unknown."""
    updates: np.ndarray | None = field(default=None, repr=False)
    """In how many optimiser steps it was read, (N,) integers; None if unknown."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def table(self, which: str) -> np.ndarray:
        """The table of rows ``input`` or ``output``, (V, D) float32 on the CPU; the same one if they are tied."""
        embeddings = self.model.get_input_embeddings() if which == "input" else self.model.get_output_embeddings()
        found: np.ndarray = embeddings.weight.detach().float().cpu().numpy()
        return found

    @property
    def tied(self) -> bool:
        """Whether input and output rows are one table."""
        return self.model.get_input_embeddings().weight is self.model.get_output_embeddings().weight


def facts_of(codec: Codec) -> tuple[Fact | None, ...]:
    """The fact of each added token, in the order of the ids; None where a token states none, or stood in no text.

    What a model has learned of its tokens is asked of those it was taught; `untaught_ids` has the others.
    """
    taught = {name: fact for name, fact in _stated(codec).items() if not is_untaught(codec.intervention, fact)}
    return tuple(taught.get(name) for name in codec.vocabulary.added)


def untaught_ids(codec: Codec) -> dict[Fact, int]:
    """Ids of the tokens that exist but stand in no text (`FactTokens.untaught`), by fact."""
    added, rule = codec.vocabulary.added_ids, codec.intervention
    return {fact: added[name] for name, fact in _stated(codec).items() if is_untaught(rule, fact)}


def _stated(codec: Codec) -> dict[str, Fact]:
    """The fact of each added token that states one, by name."""
    rule = fact_rule(codec.intervention)
    if rule is None:
        return {}
    facts = rule.family.facts(ordered=True)
    known = {rule.family.token_name(fact): fact for fact in facts}
    known |= {rule.family.question_name(fact): fact for fact in facts}
    return {name: known[name] for name in codec.vocabulary.added if name in known}


def taught(subject: Subject) -> Subject:
    """The same model with its untaught tokens left out of what it is asked about."""
    hidden = set(untaught_ids(subject.codec).values())
    kept = [n for n, i in enumerate(subject.ids) if i not in hidden]
    return replace(
        subject,
        ids=tuple(subject.ids[n] for n in kept),
        meanings=tuple(subject.meanings[n] for n in kept),
        facts=tuple(subject.facts[n] for n in kept),
        exposures=None if subject.exposures is None else subject.exposures[kept],
        updates=None if subject.updates is None else subject.updates[kept],
    )


def load_subject(
    directory: Path,
    name: str,
    device: str = "cpu",
    initial: dict[str, np.ndarray] | None = None,
    exposures: np.ndarray | None = None,
    updates: np.ndarray | None = None,
) -> Subject:
    """Load an exported model for probing; never asks the network.

    Raises:
        UserError: if it does not load or has no codec.
    """
    codec = load_codec(directory)
    model = load_causal_model(directory, attention="eager")
    meanings = token_meanings(codec.vocabulary, codec.intervention)
    ids = tuple(codec.vocabulary.added_ids[name] for name in codec.vocabulary.added)
    return Subject(name, model.to(device), codec, ids, meanings, facts_of(codec), initial, exposures, updates)
