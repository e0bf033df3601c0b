"""A model as probes see it: transformers' own forward pass, the arm's codec, the rows of its added tokens."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vocablab.facts.fact import Fact
from vocablab.model.pretrained import load_causal_model
from vocablab.vocab.codec import Codec, load_codec
from vocablab.vocab.digits import Hybrid
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.intervention import Intervention
from vocablab.vocab.meaning import TokenMeaning, token_meanings


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


def fact_rule(rule: Intervention) -> FactTokens | None:
    """The rule that gives an arm its fact tokens: the intervention itself, or the first one of a hybrid."""
    if isinstance(rule, Hybrid):
        return fact_rule(rule.first)
    return rule if isinstance(rule, FactTokens) else None


def facts_of(codec: Codec) -> tuple[Fact | None, ...]:
    """The fact of each added token, in the order of the ids; None where a token states none, or stood in no text.

    What a model has learned of its tokens is asked of those it was taught; `untaught_ids` has the others.
    """
    taught = {name: fact for name, fact in _stated(codec).items() if not _is_untaught(codec, fact)}
    return tuple(taught.get(name) for name in codec.vocabulary.added)


def untaught_ids(codec: Codec) -> dict[Fact, int]:
    """Ids of the tokens that exist but stand in no text (`FactTokens.untaught`), by fact."""
    return {
        fact: codec.vocabulary.added_ids[name] for name, fact in _stated(codec).items() if _is_untaught(codec, fact)
    }


def _is_untaught(codec: Codec, fact: Fact) -> bool:
    rule = fact_rule(codec.intervention)
    return rule is not None and rule.untaught is not None and fact in rule.untaught


def _stated(codec: Codec) -> dict[str, Fact]:
    """The fact of each added token that states one, by name."""
    rule = fact_rule(codec.intervention)
    if rule is None:
        return {}
    facts = rule.family.facts(ordered=True)
    known = {rule.family.token_name(fact): fact for fact in facts}
    known |= {rule.family.question_name(fact): fact for fact in facts}
    return {name: known[name] for name in codec.vocabulary.added if name in known}


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
