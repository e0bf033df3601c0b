"""A decoder as they are built in 2026, exactly Qwen3's, so that it exports to `Qwen3ForCausalLM`.

Rotary positions (Su et al. 2021), RMSNorm before each half of a block (Zhang and Sennrich 2019), a norm of each
query and key head (Henry et al. 2020; Qwen3, Yang et al. 2025), a gated MLP (SwiGLU, Shazeer 2020), grouped queries
(Ainslie et al. 2023), no biases, an untied head. Anything that `Qwen3ForCausalLM` cannot say, such as a cap on the
logits, is left out: vLLM and transformers must load the result with no remote code.

Shapes: B batch, T time (tokens), D width, H query heads, K key and value heads, N width of a head, M width of the
MLP, V padded vocabulary. Query, key and value are one matrix here, gate and up another, since one large product is
faster than three small ones; `vocablab.model.hugging_face` splits them.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.base.errors import UserError
from vocablab.model.network import INIT_STD, ModelConfig, Network, View, attend

RMS_NORM_EPSILON = 1e-6
"""Qwen3's."""
ROPE_THETA = 10_000.0
"""Su et al. 2021; Qwen3's default in transformers, and right for contexts of some thousand tokens."""


@dataclass(frozen=True)
class ModernConfig(ModelConfig):
    """Size of a `Modern`."""

    n_kv_head: int | None = None
    """Key and value heads per block, each shared by a group of query heads; divides `n_head`. None: `n_head`."""
    head_width: int | None = None
    """Numbers per head, even. None: `n_embd` / `n_head`; Qwen3's own models have more."""
    mlp_width: int | None = None
    """Width of the MLP. None: 8/3 of `n_embd`, up to a multiple of 64: the parameters of an MLP without a gate."""
    rope_theta: float = ROPE_THETA
    """Base of the rotary wavelengths."""
    tied: bool = False
    """Whether the head is the token embedding."""

    def __post_init__(self) -> None:
        if self.head_width is None and self.n_embd % self.n_head:
            raise UserError(f"model.n_embd {self.n_embd} is no multiple of n_head {self.n_head}.")
        if self.head_dim % 2:
            raise UserError(f"model.head_width {self.head_dim} is odd; rotary positions turn pairs.")
        if self.n_head % self.kv_heads:
            raise UserError(f"model.n_head {self.n_head} is no multiple of n_kv_head {self.kv_heads}.")

    @property
    def kv_heads(self) -> int:
        """K."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def head_dim(self) -> int:
        """N."""
        return self.n_embd // self.n_head if self.head_width is None else self.head_width

    @property
    def key_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def mlp_hidden(self) -> int:
        """M."""
        return -(-8 * self.n_embd // (3 * 64)) * 64 if self.mlp_width is None else self.mlp_width

    def network(self, padded_vocabulary: int) -> "Modern":
        return Modern(self, padded_vocabulary)

    def parameters(self, padded_vocabulary: int) -> int:
        norms = self.n_layer * 2 * (self.n_embd + self.head_dim) + self.n_embd
        tables = (1 if self.tied else 2) * padded_vocabulary * self.n_embd
        return self.n_layer * self._matrices() + norms + tables

    def flops_per_token(self, padded_vocabulary: int) -> dict[str, float]:
        attention = 12.0 * self.n_layer * self.n_head * self.head_dim * self.n_positions
        return {
            "blocks": 6.0 * self.n_layer * self._matrices(),
            "attention": attention,
            "head": 6.0 * padded_vocabulary * self.n_embd,
        }

    def _matrices(self) -> int:
        """Parameters of a block's matrices."""
        attention = 2 * (self.n_head + self.kv_heads) * self.head_dim
        return self.n_embd * (attention + 3 * self.mlp_hidden)


MODERN_TINY = ModernConfig(n_layer=4, n_head=4, n_embd=128, n_positions=128)
"""For two CPU cores: 0.9M parameters beside the tables."""
MODERN_124M = ModernConfig(n_layer=12, n_head=6, n_embd=768, n_positions=1024, tied=True)
"""GPT-2 small's 85M parameters in blocks and 124M over 50,304 rows, hence tied (untied: 162M). Six heads of 128, as in
nanochat at this width."""
MODERN_350M = ModernConfig(n_layer=24, n_head=8, n_embd=1024, n_positions=1024, tied=True)
"""GPT-2 medium's 303M parameters in blocks and 355M over 50,304 rows (untied: 407M)."""


class Block(nn.Module):
    """Pre-norm attention and gated MLP."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        d, n = config.n_embd, config.head_dim
        self.heads = (config.n_head, config.kv_heads, config.kv_heads)
        """Query, key and value heads, in the order of the rows of `qkv`."""
        self.attn_norm = nn.RMSNorm(d, eps=RMS_NORM_EPSILON)
        self.qkv = nn.Linear(d, sum(self.heads) * n, bias=False)
        self.q_norm = nn.RMSNorm(n, eps=RMS_NORM_EPSILON)
        self.k_norm = nn.RMSNorm(n, eps=RMS_NORM_EPSILON)
        self.attn_out = nn.Linear(config.n_head * n, d, bias=False)
        self.mlp_norm = nn.RMSNorm(d, eps=RMS_NORM_EPSILON)
        self.gate_up = nn.Linear(d, 2 * config.mlp_hidden, bias=False)
        self.mlp_out = nn.Linear(config.mlp_hidden, d, bias=False)

    def forward(self, x_BTD: Tensor, cos_T1N: Tensor, sin_T1N: Tensor, view: View | None = None) -> Tensor:
        b, t, _ = x_BTD.shape
        q, k, v = self.qkv(self.attn_norm(x_BTD)).view(b, t, sum(self.heads), -1).split(self.heads, dim=2)
        # Under autocast norm and rotation stay in float32, on any device; attention wants one type.
        full = self.q_norm.weight.dtype
        q = rotated(self.q_norm(q.to(full)), cos_T1N, sin_T1N).to(v.dtype)
        k = rotated(self.k_norm(k.to(full)), cos_T1N, sin_T1N).to(v.dtype)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        mixed = attend(q, k, v, view, grouped=self.heads[0] != self.heads[1])
        x_BTD = x_BTD + self.attn_out(mixed.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.mlp_norm(x_BTD)).chunk(2, dim=-1)
        out: Tensor = x_BTD + self.mlp_out(F.silu(gate) * up)
        return out


def rotated(x_BTHN: Tensor, cos_T1N: Tensor, sin_T1N: Tensor) -> Tensor:
    """Turn the pairs (i, i + N/2) of each head: the "rotate half" layout of transformers' Llama and Qwen3.

    Args:
        x_BTHN: queries or keys.
        cos_T1N: cosines of the N/2 angles at each position, shape (T, 1, N/2).
        sin_T1N: their sines.
    """
    first, second = x_BTHN.chunk(2, dim=-1)
    return torch.cat((first * cos_T1N - second * sin_T1N, second * cos_T1N + first * sin_T1N), dim=-1)


def rotary_tables(positions: int, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, each of shape (positions, 1, head_width/2).

    In float32 and in this order of operations, since transformers computes them so: the tables are then equal bit for
    bit, and an export can be proved in float64.
    """
    frequencies = 1.0 / (theta ** (torch.arange(0, head_width, 2, dtype=torch.float32) / head_width))
    angles = torch.arange(positions, dtype=torch.float32)[:, None, None] * frequencies
    return angles.cos(), angles.sin()


class Modern(Network):
    """Decoder with rotary positions."""

    rotary_cos: Tensor
    rotary_sin: Tensor

    def __init__(self, config: ModernConfig, padded_vocabulary: int) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(padded_vocabulary, config.n_embd)
        self.layers = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.norm = nn.RMSNorm(config.n_embd, eps=RMS_NORM_EPSILON)
        self.head = None if config.tied else nn.Linear(config.n_embd, padded_vocabulary, bias=False)
        cos, sin = rotary_tables(config.n_positions, config.head_dim, config.rope_theta)
        # Not in the checkpoint: the config says all about them.
        self.register_buffer("rotary_cos", cos, persistent=False)
        self.register_buffer("rotary_sin", sin, persistent=False)

    @property
    def input_rows(self) -> nn.Parameter:
        return cast(nn.Parameter, self.embed.weight)

    @property
    def output_rows(self) -> nn.Parameter:
        return self.input_rows if self.head is None else cast(nn.Parameter, self.head.weight)

    @property
    def blocks(self) -> nn.ModuleList:
        return self.layers

    def hidden(self, ids_BT: Tensor, table_VD: Tensor, view: View | None = None) -> Tensor:
        # Shapes (T, 1, N/2), or (B, T, 1, N/2) with a view.
        places = slice(ids_BT.shape[1]) if view is None else view.positions_BT
        cos_T1N, sin_T1N = self.rotary_cos[places], self.rotary_sin[places]
        x_BTD = F.embedding(ids_BT, table_VD)
        for i, block in enumerate(self.layers):
            x_BTD = block(x_BTD, cos_T1N, sin_T1N, None if view is None else view.of(i))
        out: Tensor = self.norm(x_BTD)
        return out

    def initial_std(self, name: str) -> float | None:
        """Normal(0, 0.02), norms 1; projections into the residual stream scaled by 1/sqrt(2 L).

        GPT-2's values (Radford et al. 2019, section 2.3), which OLMo and torchtitan's Llama keep for this architecture
        and which transformers gives Qwen3 (`initializer_range`). The untied head has 0.02 as well: the
        normed hidden state then gives logits of deviation 0.02 sqrt(D), 0.55 at width 768, so the first loss is within
        0.2 nats of uniform; and arms with a tied and an untied head share their embedding.
        """
        if name.endswith("norm.weight"):
            return None
        into_residual = name.endswith(("attn_out.weight", "mlp_out.weight"))
        return INIT_STD / (2 * self.config.n_layer) ** 0.5 if into_residual else INIT_STD
