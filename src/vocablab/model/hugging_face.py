"""Parameter names and layouts of transformers, in both directions; needs torch alone.

One table of places per architecture says which of their tensors hold which of our parameters, and both directions
read it. GPT-2's matrices are `Conv1D` there, (in, out), the transpose of `nn.Linear`: for the square ``attn.c_proj`` a
missing transpose changes no shape. Qwen3 keeps apart the matrices that `Modern` fuses.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vocablab.base.errors import RunError, UserError
from vocablab.model.composition import plain_state
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig, Network

HEAD = "lm_head.weight"
"""Their head, in both architectures; absent if it is tied."""
WRAPPERS = ("_orig_mod.", "module.")
"""Prefixes of `torch.compile` and of data parallelism."""


@dataclass(frozen=True)
class Place:
    """Where one of our parameters is to be found in theirs."""

    ours: str
    """Name of our parameter."""
    theirs: tuple[str, ...]
    """Their tensors, stacked by rows in ours."""
    rows: tuple[int, ...] = ()
    """Rows of each of them, if there are several."""
    transposed: bool = False
    """Whether theirs is (in, out)."""


@dataclass(frozen=True)
class Layout:
    """Their side of an architecture."""

    places: tuple[Place, ...]
    """A place for every parameter of ours."""
    prefix: str
    """What their names begin with, except the head's; OpenAI's own GPT-2 checkpoint lacks it."""
    table: str
    """Their token embedding."""
    tied: bool
    """Whether the head is the token embedding."""
    constants: tuple[str, ...] = ()
    """Endings of tensors that old checkpoints hold and that are no weights."""


def layout(config: ModelConfig) -> Layout:
    """The layout of `config`'s architecture.

    Raises:
        RunError: if transformers has no such architecture.
    """
    match config:
        case GPT2Config():
            return _gpt2(config)
        case ModernConfig():
            return _qwen3(config)
    raise RunError(f"rule 6: {type(config).__name__} has no counterpart in transformers.")


def _gpt2(config: GPT2Config) -> Layout:
    places = [Place(name, (name,)) for name in ("transformer.wte.weight", "transformer.wpe.weight")]
    for i in range(config.n_layer):
        block = f"transformer.h.{i}."
        for name in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"):
            weight, bias = f"{block}{name}.weight", f"{block}{name}.bias"
            places += [Place(weight, (weight,), transposed=".c_" in weight), Place(bias, (bias,))]
    places += [Place(f"transformer.ln_f.{kind}", (f"transformer.ln_f.{kind}",)) for kind in ("weight", "bias")]
    # The constants are the causal mask and its filler.
    return Layout(tuple(places), "transformer.", "transformer.wte.weight", True, (".attn.bias", ".attn.masked_bias"))


def _qwen3(config: ModernConfig) -> Layout:
    table = "model.embed_tokens.weight"
    places = [Place("embed.weight", (table,))]
    heads = (config.n_head * config.head_dim, *[config.kv_heads * config.head_dim] * 2)
    for i in range(config.n_layer):
        ours, theirs = f"layers.{i}.", f"model.layers.{i}."
        attention, mlp = f"{theirs}self_attn.", f"{theirs}mlp."
        places += [
            Place(f"{ours}attn_norm.weight", (f"{theirs}input_layernorm.weight",)),
            Place(f"{ours}qkv.weight", tuple(f"{attention}{x}_proj.weight" for x in "qkv"), heads),
            Place(f"{ours}q_norm.weight", (f"{attention}q_norm.weight",)),
            Place(f"{ours}k_norm.weight", (f"{attention}k_norm.weight",)),
            Place(f"{ours}attn_out.weight", (f"{attention}o_proj.weight",)),
            Place(f"{ours}mlp_norm.weight", (f"{theirs}post_attention_layernorm.weight",)),
            Place(
                f"{ours}gate_up.weight",
                (f"{mlp}gate_proj.weight", f"{mlp}up_proj.weight"),
                (config.mlp_hidden, config.mlp_hidden),
            ),
            Place(f"{ours}mlp_out.weight", (f"{mlp}down_proj.weight",)),
        ]
    places.append(Place("norm.weight", ("model.norm.weight",)))
    if not config.tied:
        places.append(Place("head.weight", (HEAD,)))
    return Layout(tuple(places), "model.", table, config.tied)


def to_hugging_face(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our parameters under their names and in their layout, on the CPU; a tied head is left to them.

    Raises:
        RunError: naming a tensor that has no place, or a place without its tensor.
    """
    left = _unwrapped(state)
    out: dict[str, Tensor] = {}
    for place in layout(config).places:
        if place.ours not in left:
            raise RunError(f"rule 6: the parameter {place.ours} is missing from the weights.")
        tensor = left.pop(place.ours)
        if place.rows and sum(place.rows) != len(tensor):
            raise RunError(f"rule 6: the parameter {place.ours} has {len(tensor)} rows, not {sum(place.rows)}.")
        parts = tensor.split(place.rows) if place.rows else (tensor,)
        for name, part in zip(place.theirs, parts, strict=True):
            out[name] = _own(part.t() if place.transposed else part).cpu()
    if left:
        raise RunError(f"rule 6: the tensor {min(left)} has no counterpart in the exported model.")
    return out


def from_hugging_face(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names and in our layout.

    Raises:
        UserError: naming a tensor that is missing, left over, of another shape than `config` says, or a head that is
            not the embedding although it is tied.
    """
    theirs = layout(config)
    left = _completed(theirs, _unwrapped(state))
    table = left.get(theirs.table)
    if theirs.tied and table is not None and not torch.equal(left.pop(HEAD, table), table):
        raise UserError(f"checkpoint: {HEAD} differs from {theirs.table}, although the config ties them.")
    out: dict[str, Tensor] = {}
    for place in theirs.places:
        parts = []
        for name, rows in zip(place.theirs, place.rows or (None,), strict=True):
            if name not in left:
                raise UserError(f"checkpoint: the tensor {name} is missing.")
            part = left.pop(name)
            # Checked one by one: two wrong parts could stack to the right shape.
            if rows is not None and len(part) != rows:
                raise UserError(f"checkpoint: the tensor {name} has {len(part)} rows; the config says {rows}.")
            parts.append(part)
        out[place.ours] = _own(parts[0].t() if place.transposed else torch.cat(parts))
    if left:
        raise UserError(f"checkpoint: the tensor {min(left)} has no place in a {type(config).__name__}.")
    _check_shapes(config, out, len(out[theirs.places[0].ours]))
    return out


def exported_state(network: Network) -> dict[str, Tensor]:
    """A network's weights for transformers: computed rows are written into the tables, what computes them is dropped.

    Raises:
        RunError: as `to_hugging_face`, or if a composition made two tables of a tied one.
    """
    return to_hugging_face(network.config, plain_state(network))


def _own(tensor: Tensor) -> Tensor:
    """A copy in plain memory: safetensors refuses parts that share theirs."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names without what `torch.compile` and data parallelism put before them."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        # A block compiled by itself has the prefix within its name.
        bare = name.replace(WRAPPERS[0], "")
        while bare.startswith(WRAPPERS):
            bare = bare.split(".", 1)[1]
        if bare in out:
            raise UserError(f"checkpoint: two tensors are called {bare}.")
        out[bare] = tensor
    return out


def _completed(theirs: Layout, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Full names, without the constants."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        full = name if name == HEAD or name.startswith(theirs.prefix) else theirs.prefix + name
        if full in out:
            raise UserError(f"checkpoint: two tensors are called {full}.")
        if not (theirs.constants and full.endswith(theirs.constants)):
            out[full] = tensor
    return out


def _check_shapes(config: ModelConfig, state: dict[str, Tensor], rows: int) -> None:
    with torch.device("meta"):
        expected = config.network(rows).state_dict()
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            raise UserError(
                f"checkpoint: {name} has shape {tuple(tensor.shape)}; the config says {tuple(expected[name].shape)}."
            )
