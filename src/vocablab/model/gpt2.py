"""GPT-2, exactly: the network of Radford et al. 2019, so that it exports to `GPT2LMHeadModel`.

Shapes: B batch, T time (tokens), D width, H heads, V padded vocabulary. Parameter names are nanoGPT's
(github.com/karpathy/nanoGPT); matrices are `nn.Linear` weights, (out, in), where Hugging Face's `Conv1D` has
(in, out): the exporter transposes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.base.random_streams import stream_seed

LAYER_NORM_EPSILON = 1e-5
"""GPT-2's."""
INIT_STD = 0.02
"""Standard deviation of GPT-2's normal initialisation."""


@dataclass(frozen=True)
class GPT2Config:
    """Size of a GPT-2."""

    n_layer: int
    """Number of blocks."""
    n_head: int
    """Attention heads per block; divides `n_embd`."""
    n_embd: int
    """Width of the residual stream."""
    n_positions: int
    """Longest context in tokens."""

    def build(self, padded_vocabulary: int, seed: int) -> "GPT2":
        """The network with every parameter drawn from its own named stream under `seed`."""
        model = GPT2(self, padded_vocabulary)
        initialise(model, seed, self.n_layer)
        return model

    def parameters(self, padded_vocabulary: int) -> int:
        """Number of trainable parameters, the tied head counted once."""
        per_block = 12 * self.n_embd**2 + 13 * self.n_embd
        return self.n_layer * per_block + (padded_vocabulary + self.n_positions + 2) * self.n_embd

    def flops_per_token(self, padded_vocabulary: int) -> dict[str, float]:
        """Training FLOPs per token at full context, forward and backward, by part.

        6 per matrix parameter plus 12 L D T for attention (PaLM, Chowdhery et al. 2022, appendix B); the
        head counts although it is tied, since its product is computed.
        """
        blocks = 6.0 * 12 * self.n_layer * self.n_embd**2
        attention = 12.0 * self.n_layer * self.n_embd * self.n_positions
        return {"blocks": blocks, "attention": attention, "head": 6.0 * padded_vocabulary * self.n_embd}


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        d = config.n_embd
        self.n_head = config.n_head
        self.ln_1 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(d, 3 * d), "c_proj": nn.Linear(d, d)})
        self.ln_2 = nn.LayerNorm(d, eps=LAYER_NORM_EPSILON)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(d, 4 * d), "c_proj": nn.Linear(4 * d, d)})

    def forward(self, x_BTD: Tensor) -> Tensor:
        b, t, d = x_BTD.shape
        qkv = self.attn["c_attn"](self.ln_1(x_BTD)).view(b, t, 3, self.n_head, d // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.attn["c_proj"](mixed.transpose(1, 2).reshape(b, t, d))
        # "gelu_new" in Hugging Face: the tanh approximation.
        hidden = F.gelu(self.mlp["c_fc"](self.ln_2(x_BTD)), approximate="tanh")
        return x_BTD + self.mlp["c_proj"](hidden)


class GPT2(nn.Module):
    """Decoder with learned positions and a head tied to the token embedding."""

    def __init__(self, config: GPT2Config, padded_vocabulary: int) -> None:
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(padded_vocabulary, config.n_embd),
                "wpe": nn.Embedding(config.n_positions, config.n_embd),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "ln_f": nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON),
            }
        )

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Final hidden states, shape (B, T, D)."""
        positions = torch.arange(ids_BT.shape[1], device=ids_BT.device)
        x_BTD = self.transformer["wte"](ids_BT) + self.transformer["wpe"](positions)
        for block in self.transformer["h"]:  # type: ignore[attr-defined]
            x_BTD = block(x_BTD)
        out: Tensor = self.transformer["ln_f"](x_BTD)
        return out

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits, shape (B, T, V), for ids of shape (B, T) with T at most `n_positions`."""
        head: Tensor = self.transformer["wte"].weight  # type: ignore[assignment]
        return F.linear(self.hidden(ids_BT), head)


def initialise(model: nn.Module, seed: int, n_layer: int) -> None:
    """Set every parameter from a stream named after it, so that arms share them bit for bit.

    Normal(0, 0.02), biases 0, norms 1; projections into the residual stream scaled by 1/sqrt(2 L), as in
    GPT-2 (Radford et al. 2019, section 2.3). Drawn on the CPU in float32, whatever the device.
    """
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if name.endswith(".bias"):
                parameter.zero_()
            elif "ln_" in name:
                parameter.fill_(1.0)
            else:
                std = INIT_STD / (2 * n_layer) ** 0.5 if name.endswith("c_proj.weight") else INIT_STD
                generator = torch.Generator().manual_seed(stream_seed(seed, "parameter", name))
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
