"""Small networks of every architecture, with weights in which no error can hide."""

import torch

from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig, Network

SMALL: dict[str, ModelConfig] = {
    "gpt2": GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=48),
    "modern": ModernConfig(n_layer=2, n_head=2, n_embd=32, n_positions=48),
    "modern, tied and grouped": ModernConfig(
        n_layer=2, n_head=4, n_embd=32, n_positions=48, n_kv_head=2, head_width=16, mlp_width=48, tied=True
    ),
}
"""One per architecture and branch."""


def randomised(config: ModelConfig, padded_vocabulary: int, seed: int = 0) -> Network:
    """Every parameter random, so that no error hides behind a zero, a one or a symmetric matrix."""
    network = config.network(padded_vocabulary)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return network.eval()
