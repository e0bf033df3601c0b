"""GPT-2, exactly: the network of Radford et al. 2019, so that it exports to `GPT2LMHeadModel`.

Shapes: B batch, T time (tokens), D width, H heads, V padded vocabulary. Parameter names are nanoGPT's
(github.com/karpathy/nanoGPT); matrices are `nn.Linear` weights, (out, in), where Hugging Face's `Conv1D` has
(in, out): the exporter transposes.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.model.network import INIT_STD, ModelConfig, Network, View, attend

LAYER_NORM_EPSILON = 1e-5
"""GPT-2's."""


@dataclass(frozen=True)
class GPT2Config(ModelConfig):
    """Size of a GPT-2."""

    def network(self, padded_vocabulary: int) -> "GPT2":
        return GPT2(self, padded_vocabulary)

    def parameters(self, padded_vocabulary: int) -> int:
        per_block = 12 * self.n_embd**2 + 13 * self.n_embd
        return self.n_layer * per_block + (padded_vocabulary + self.n_positions + 2) * self.n_embd

    def flops_per_token(self, padded_vocabulary: int) -> dict[str, float]:
        blocks = 6.0 * 12 * self.n_layer * self.n_embd**2
        attention = 12.0 * self.n_layer * self.n_embd * self.n_positions
        return {"blocks": blocks, "attention": attention, "head": 6.0 * padded_vocabulary * self.n_embd}


TINY = GPT2Config(n_layer=4, n_head=4, n_embd=128, n_positions=128)
"""For two CPU cores: 0.9M parameters beside the vocabulary."""
GPT2_124M = GPT2Config(n_layer=12, n_head=12, n_embd=768, n_positions=1024)
"""GPT-2 small (Radford et al. 2019, table 2)."""
GPT2_350M = GPT2Config(n_layer=24, n_head=16, n_embd=1024, n_positions=1024)
"""GPT-2 medium (the same table)."""


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

    def forward(self, x_BTD: Tensor, view: View | None = None) -> Tensor:
        b, t, d = x_BTD.shape
        qkv = self.attn["c_attn"](self.ln_1(x_BTD)).view(b, t, 3, self.n_head, d // self.n_head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v, view, grouped=False)
        x_BTD = x_BTD + self.attn["c_proj"](mixed.transpose(1, 2).reshape(b, t, d))
        hidden = gelu_tanh(self.mlp["c_fc"](self.ln_2(x_BTD)))
        return x_BTD + self.mlp["c_proj"](hidden)


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU's tanh approximation, "gelu_new" in Hugging Face (Hendrycks and Gimpel 2016, arXiv:1606.08415, section 2).

    0.5 (1 + tanh u) is sigmoid(2u). A compiled block fuses the second form, and its exponential is several times as
    fast on a CPU as the first form's tanh; run op by op, the one library call is faster.
    """
    if torch.compiler.is_compiling():
        wide = x.float()
        return (wide * torch.sigmoid((8 / torch.pi) ** 0.5 * (wide + 0.044715 * wide**3))).to(x.dtype)
    return F.gelu(x, approximate="tanh")


class GPT2(Network):
    """Decoder with learned positions and a head tied to the token embedding."""

    def __init__(self, config: GPT2Config, padded_vocabulary: int) -> None:
        super().__init__(config)
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(padded_vocabulary, config.n_embd),
                "wpe": nn.Embedding(config.n_positions, config.n_embd),
                "h": nn.ModuleList([Block(config) for _ in range(config.n_layer)]),
                "ln_f": nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPSILON),
            }
        )

    @property
    def input_rows(self) -> nn.Parameter:
        return cast(nn.Parameter, cast(nn.Embedding, self.transformer["wte"]).weight)

    @property
    def output_rows(self) -> nn.Parameter:
        return self.input_rows

    @property
    def blocks(self) -> nn.ModuleList:
        return cast(nn.ModuleList, self.transformer["h"])

    def hidden(self, ids_BT: Tensor, table_VD: Tensor, view: View | None = None) -> Tensor:
        positions = torch.arange(ids_BT.shape[1], device=ids_BT.device) if view is None else view.positions_BT
        x_BTD = F.embedding(ids_BT, table_VD) + self.transformer["wpe"](positions)
        for i, block in enumerate(self.blocks):
            x_BTD = block(x_BTD, None if view is None else view.of(i))
        out: Tensor = self.transformer["ln_f"](x_BTD)
        return out

    def initial_std(self, name: str) -> float | None:
        """Normal(0, 0.02), biases 0, norms 1; projections into the residual stream scaled by 1/sqrt(2 L), as in
        GPT-2 (Radford et al. 2019, section 2.3)."""
        if name.endswith(".bias"):
            return 0.0
        if "ln_" in name:
            return None
        return INIT_STD / (2 * self.config.n_layer) ** 0.5 if name.endswith("c_proj.weight") else INIT_STD
