"""Log-probabilities of a group's answers with their common prompt read once.

The answers to one problem begin with the same prompt, which a padded batch reads once per answer, forwards and
backwards. Here a group is one row: the prompt, then every answer, in which a token sees the prompt and its own answer
up to itself. Positions go on from the prompt in each answer. The numbers are those of the padded batch up to rounding;
for eight answers of 13 tokens to a prompt of 45 it is 150 tokens instead of 460.
"""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Trees:
    """A batch of answers by prompt.

    Shapes: G different prompts, T tokens of the longest tree, N real tokens of answers.
    """

    ids_GT: torch.Tensor
    """Tokens."""
    places_GT: torch.Tensor
    """Positions."""
    sees_G1TT: torch.Tensor
    """Which token (row) sees which (column)."""
    at_N2: torch.Tensor
    """Row and column of the token before each token of an answer."""
    wanted_N: torch.Tensor
    """The tokens of the answers."""
    answer_N2: torch.Tensor
    """Row of the batch and place in the answer of each."""


def trees(input_ids: torch.Tensor, attention_mask: torch.Tensor, keep: int) -> Trees:
    """Lay a padded batch out by prompt.

    Args:
        input_ids: (B, T), prompts padded on the left, answers on the right.
        attention_mask: (B, T), 0 at padding.
        keep: length of the answers, padding included.
    """
    device = input_ids.device
    ids, mask = input_ids.tolist(), attention_mask.tolist()
    split = len(ids[0]) - keep
    groups: dict[tuple[int, ...], list[tuple[int, list[int]]]] = {}
    for row, (tokens, real) in enumerate(zip(ids, mask, strict=True)):
        prompt = tuple(token for token, one in zip(tokens[:split], real[:split], strict=True) if one)
        answer = [token for token, one in zip(tokens[split:], real[split:], strict=True) if one]
        groups.setdefault(prompt, []).append((row, answer))
    width = max(len(prompt) + sum(max(0, len(a) - 1) for _, a in group) for prompt, group in groups.items())
    ids_GT = torch.zeros((len(groups), width), dtype=torch.long)
    places_GT = torch.zeros_like(ids_GT)
    # Which answer of its group a token belongs to; 0 for the prompt, -1 for padding.
    owner_GT = torch.full_like(ids_GT, -1)
    at, wanted, answer_at = [], [], []
    for g, (prompt, group) in enumerate(groups.items()):
        start = len(prompt)
        ids_GT[g, :start] = torch.tensor(prompt)
        places_GT[g, :start] = torch.arange(start)
        owner_GT[g, :start] = 0
        for number, (row, answer) in enumerate(group, 1):
            # Nothing is asked after the last token, so it is not read.
            stop = start + max(0, len(answer) - 1)
            ids_GT[g, start:stop] = torch.tensor(answer[: stop - start])
            places_GT[g, start:stop] = torch.arange(len(prompt), len(prompt) + stop - start)
            owner_GT[g, start:stop] = number
            for place, token in enumerate(answer):
                at.append((g, start + place - 1 if place else len(prompt) - 1))
                wanted.append(token)
                answer_at.append((row, place))
            start = stop
    same_GTT = owner_GT[:, :, None] == owner_GT[:, None, :]
    of_prompt_GTT = (owner_GT[:, None, :] == 0) & (owner_GT[:, :, None] >= 0)
    causal_TT = torch.ones(width, width, dtype=torch.bool).tril()
    sees_GTT = (same_GTT | of_prompt_GTT) & causal_TT
    return Trees(
        ids_GT.to(device),
        places_GT.to(device),
        sees_GTT[:, None].to(device),
        torch.tensor(at, device=device),
        torch.tensor(wanted, device=device),
        torch.tensor(answer_at, device=device),
    )


def log_probabilities(
    model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, keep: int, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities in nats of the last `keep` tokens of each row, and the entropy before each, (B, keep) float32.

    Positions are counted from the first real token of a row: prompts are padded on the left, and a model with a table
    of positions (GPT-2) would otherwise read a shorter prompt elsewhere than where it was sampled. The head is asked
    at the answers' tokens only. What is masked is 0.

    Args:
        model: of transformers, with an attention that takes a mask of four dimensions.
        input_ids: (B, T), prompts padded on the left, answers on the right.
        attention_mask: (B, T), 0 at padding.
        keep: length of the answers, padding included.
        temperature: of the sampling.
    """
    laid = trees(input_ids, attention_mask, keep)
    states_GTD = model.base_model(
        laid.ids_GT, attention_mask=laid.sees_G1TT, position_ids=laid.places_GT, use_cache=False
    ).last_hidden_state
    states_ND = states_GTD[laid.at_N2[:, 0], laid.at_N2[:, 1]]
    logs_NV = (model.get_output_embeddings()(states_ND).float() / temperature).log_softmax(-1)
    rows, places = laid.answer_N2.unbind(1)
    shape = (len(input_ids), keep)
    found = logs_NV.new_zeros(shape).index_put((rows, places), logs_NV.gather(-1, laid.wanted_N[:, None])[:, 0])
    entropy = logs_NV.new_zeros(shape).index_put((rows, places), -(logs_NV.exp() * logs_NV).sum(-1))
    return found, entropy
