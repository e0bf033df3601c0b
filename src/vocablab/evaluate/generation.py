"""Answers of a loaded model: prompts as text, ids that have no token never emitted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vocablab.base.errors import UserError
from vocablab.evaluate.model import Loaded
from vocablab.model.decoding import SLOTS, Decoder, Request, repetition


@dataclass(frozen=True)
class Prompt:
    """A text to go on from."""

    name: str
    """Of the document, the seed of interventions that draw at random."""
    text: str
    """The raw text, encoded in the arm's own form."""
    allowed_first: tuple[int, ...] | None = None
    """The ids that the first new token is chosen among; None for all."""
    seed: int = 0
    """Of its own random numbers, where answers are sampled."""


@dataclass(frozen=True)
class Generation:
    """What a model answered."""

    ids: list[int]
    """The new tokens, without EOS."""
    ended_eos: bool
    """Whether it stopped by itself."""
    prompt_cut: bool
    """Whether the context had no room for all of the prompt."""

    @property
    def repetition(self) -> float:
        """Share of its runs of four tokens that occurred in it before (Welleck et al. 2019, seq-rep-4); 0 if short."""
        return repetition(self.ids)


def generate(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    *,
    banned: Sequence[int] = (),
    temperature: float = 0.0,
    bare: bool = False,
    batch_size: int = SLOTS,
) -> list[Generation]:
    """Answer each prompt; ids that have no token are never emitted.

    Args:
        loaded: the model.
        prompts: what to go on from.
        max_new_tokens: longest answer; prompts are cut from the left to leave room for it.
        banned: more ids that are never emitted.
        temperature: 0 for the most probable token.
        bare: read prompts without the end-of-text token before them.
        batch_size: prompts at a time; does not change an answer.

    Raises:
        UserError: if the context has no room for a prompt beside the answer.
    """
    eos, room = loaded.codec.vocabulary.eos_id, loaded.context - max_new_tokens
    if room < 1:
        raise UserError(
            f"an answer of {max_new_tokens} tokens leaves no room for a prompt in a context of {loaded.context}: "
            "lower the longest answer."
        )
    requests, cut = [], []
    for prompt in prompts:
        ids = loaded.codec.encode(prompt.text, prompt.name).ids.tolist()
        whole = ids if bare and ids else [eos, *ids]
        cut.append(len(whole) > room)
        requests.append(Request(whole[-room:], max_new_tokens, prompt.allowed_first, temperature, prompt.seed))
    decoder = Decoder(loaded.reader, eos=eos, banned=np.unique([*loaded.nameless, *banned]).astype(int).tolist())
    answers = decoder.answers(requests, batch_size)
    return [Generation(a.ids, a.ended, c) for a, c in zip(answers, cut, strict=True)]
