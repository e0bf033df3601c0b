"""Greedy answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import GenerationConfig

from vocablab.evaluate.model import Loaded


@dataclass(frozen=True)
class Generation:
    """What a model answered."""

    ids: list[int]
    """The new tokens, without EOS."""
    ended_eos: bool
    """Whether it stopped by itself."""


@torch.no_grad()
def generate(
    loaded: Loaded, prompts: Sequence[tuple[str, str]], max_new_tokens: int, batch_size: int
) -> list[Generation]:
    """Answer each prompt greedily; ids that have no token are never emitted.

    Args:
        loaded: the model.
        prompts: (document name, prompt text).
        max_new_tokens: longest answer; prompts are cut from the left to leave room for it.
        batch_size: prompts at a time.
    """
    vocabulary, eos = loaded.codec.vocabulary, loaded.codec.vocabulary.eos_id
    room = loaded.context - max_new_tokens
    encoded = [[eos, *map(int, loaded.codec.encode(text, name).ids)][-room:] for name, text in prompts]
    config = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=eos,
        pad_token_id=eos,
        suppress_tokens=list(range(vocabulary.size, vocabulary.padded_size)) or None,
    )
    found: dict[int, Generation] = {}
    by_length = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        longest = max(len(encoded[i]) for i in rows)
        ids = torch.tensor([[eos] * (longest - len(encoded[i])) + encoded[i] for i in rows])
        mask = torch.tensor([[0] * (longest - len(encoded[i])) + [1] * len(encoded[i]) for i in rows])
        out = loaded.model.generate(
            ids.to(loaded.device), attention_mask=mask.to(loaded.device), generation_config=config
        )
        for i, answer in zip(rows, out[:, longest:].tolist(), strict=True):
            ended = eos in answer
            found[i] = Generation(answer[: answer.index(eos)] if ended else answer, ended)
    return [found[i] for i in range(len(prompts))]
