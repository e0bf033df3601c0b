"""GPT-2 checkpoints of other training programs: nanoGPT's ``ckpt.pt`` and build-nanogpt's ``model_*.pt``.

Both are pickles. They are read by torch's unpickler for weights only, which makes tensors and plain containers and runs
nothing; the one class that build-nanogpt's hold, its config, is read as a stand-in without any code.

Parameters have our names and our layout (github.com/karpathy/nanoGPT, github.com/karpathy/build-nanogpt).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocablab.base.errors import UserError
from vocablab.base.files import sha256_file
from vocablab.export.architectures import counterpart
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.hugging_face import HEAD, WRAPPERS, exported_state
from vocablab.model.network import Network
from vocablab.vocab.vocabulary import Vocabulary

TABLE = "transformer.wte.weight"
MASKS = (".attn.bias", ".attn.masked_bias")
"""Endings of buffers that hold the causal mask."""
SIZES = {"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "block_size": "n_positions"}
"""Their name of a size, and ours."""
HARMLESS = frozenset({*SIZES, "vocab_size", "bias", "dropout"})
"""Settings that are understood; any other one may make another network."""
GELU_NOTE = (
    "nanoGPT's present code computes GELU exactly, its first versions by the tanh approximation, and the file does not "
    "say which; this network has the approximation, as OpenAI's GPT-2. With the exact one, logits of random tokens "
    "differ by up to {:.1e}."
)


class _Settings:
    """What a pickled config is read as: its attributes alone."""


CONFIG_NAMES = ("__main__.GPTConfig", "train_gpt2.GPTConfig", "model.GPTConfig")
"""Under which names of its class a pickled config may stand."""


@dataclass(frozen=True)
class ForeignCheckpoint:
    """A checkpoint of another program, under our names."""

    config: GPT2Config
    """Its size."""
    state: dict[str, Tensor]
    """Every parameter of the network, float32; biases that it does not have are 0, which computes the same."""
    rows: int
    """Rows of its token table, padding included."""
    kind: str
    """``nanoGPT`` or ``build-nanogpt``."""
    steps: int | None
    """Steps of its training, if it says so."""
    loss: float | None
    """Its validation loss in nats per token, if it says so."""
    sha256: str
    """Hash of the file."""


def read_foreign_checkpoint(path: Path) -> ForeignCheckpoint:
    """Read a ``.pt`` file of nanoGPT or build-nanogpt; nothing of it is executed.

    Raises:
        UserError: if it cannot be read, holds anything but data, or is another network than GPT-2.
    """
    found = _unpickled(path)
    if not isinstance(found, dict) or not isinstance(found.get("model"), dict):
        raise UserError(f"{path} is no checkpoint of nanoGPT or build-nanogpt: it has no 'model'.")
    if isinstance(found.get("model_args"), dict):
        kind, settings = "nanoGPT", found["model_args"]
        steps, loss = found.get("iter_num"), found.get("best_val_loss")
    elif isinstance(found.get("config"), _Settings):
        kind, settings = "build-nanogpt", vars(found["config"])
        steps, loss = found.get("step"), found.get("val_loss")
    else:
        raise UserError(f"{path} does not say its sizes: it has neither 'model_args' nor a GPTConfig in 'config'.")
    config = _config(settings, path)
    # A network trained without biases is exactly one whose biases are 0.
    state = _state(config, found["model"], path, biases=bool(settings.get("bias", kind == "build-nanogpt")))
    return ForeignCheckpoint(
        config, state, len(state[TABLE]), kind, _number(steps, int), _number(loss, float), sha256_file(path)
    )


def exact_gelu_gap(network: Network, vocabulary: Vocabulary) -> float:
    """How far logits would move if the network computed GELU exactly, on a context of random tokens.

    Args:
        network: a GPT-2.
        vocabulary: of its padded size.
    """
    theirs = counterpart(network.config, vocabulary)
    theirs.load_state_dict(exported_state(network), strict=False)
    theirs.tie_weights()
    theirs.eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary.size, (1, network.config.n_positions), generator=generator)
    with torch.no_grad():
        before = theirs(ids).logits
        for block in theirs.transformer.h:
            block.mlp.act = nn.GELU()
        return float((theirs(ids).logits - before).abs().max())


def _unpickled(path: Path) -> Any:
    names = [(_Settings, name) for name in CONFIG_NAMES]
    with torch.serialization.safe_globals(names):  # type: ignore[arg-type]
        try:
            unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
            if not unsafe:
                # Memory-mapped: the optimiser's state, two thirds of the file, is never read.
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # torch raises a dozen classes for a damaged file
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{path} is no checkpoint that torch can read as data: {reason[:200]}") from None
    raise UserError(f"{path} is refused: it asks for {sorted(unsafe)[0]}, and only tensors and plain values are read.")


def _config(settings: dict[str, Any], path: Path) -> GPT2Config:
    strange = sorted(set(settings) - HARMLESS)
    if strange:
        raise UserError(f"{path}: the setting {strange[0]} = {settings[strange[0]]!r} is none of GPT-2's.")
    sizes = {}
    for theirs, ours in SIZES.items():
        value = settings.get(theirs)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{path}: {theirs} is {value!r}; a positive integer is wanted.")
        sizes[ours] = value
    if sizes["n_embd"] % sizes["n_head"]:
        raise UserError(f"{path}: n_embd {sizes['n_embd']} is no multiple of n_head {sizes['n_head']}.")
    return GPT2Config(**sizes)


def _state(config: GPT2Config, model: dict[str, Any], path: Path, *, biases: bool) -> dict[str, Tensor]:
    left = _named(model, path)
    if TABLE not in left:
        raise UserError(f"{path}: the tensor {TABLE} is missing.")
    if not torch.equal(left.pop(HEAD, left[TABLE]), left[TABLE]):
        raise UserError(f"{path}: {HEAD} differs from {TABLE}; our GPT-2 has one table for both.")
    with torch.device("meta"):
        own = config.network(len(left[TABLE])).state_dict()
    out: dict[str, Tensor] = {}
    for name, expected in own.items():
        if name not in left and name.endswith(".bias") and not biases:
            out[name] = torch.zeros(expected.shape)
            continue
        if name not in left:
            raise UserError(f"{path}: the tensor {name} is missing.")
        tensor = left.pop(name)
        if tensor.shape != expected.shape:
            raise UserError(f"{path}: {name} has shape {tuple(tensor.shape)}; its sizes say {tuple(expected.shape)}.")
        out[name] = tensor.detach().to(torch.float32, copy=True).contiguous()
    if left:
        raise UserError(f"{path}: the tensor {min(left)} has no place in a GPT-2.")
    return out


def _named(model: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Its tensors without wrappers' prefixes and masks."""
    out: dict[str, Tensor] = {}
    for name, tensor in model.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise UserError(f"{path}: {name!r} in 'model' is no tensor of weights.")
        bare = name.replace(WRAPPERS[0], "")
        while bare.startswith(WRAPPERS):
            bare = bare.split(".", 1)[1]
        if bare in out:
            raise UserError(f"{path}: two tensors are called {bare}.")
        if not bare.endswith(MASKS):
            out[bare] = tensor
    return out


def _number(value: Any, kind: type) -> Any:
    """A number that may be a tensor; None if there is none."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    return kind(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
