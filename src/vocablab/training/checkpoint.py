"""Training state on disk: safetensors plus JSON, nothing pickled, whole or absent."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from vocablab.base.errors import RunError
from vocablab.base.files import fsync_path, write_bytes_atomically

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model.safetensors"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the parameters (float32, by name) as safetensors, atomically."""
    write_bytes_atomically(path, save({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}))


def load_weights(model: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote; names and shapes must fit exactly."""
    model.load_state_dict(load_file(path), strict=True)


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write weights, optimiser moments and `state` (JSON values) into one file, replaced atomically.

    One file, so that a kill between two writes cannot pair the weights of one step with the moments of another.
    """
    tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    for index, entry in enumerate(_states(optimizer)):
        for key, value in entry.items():
            tensors[f"optimizer.{index}.{key}"] = value.detach().cpu().contiguous()
    write_bytes_atomically(path, save(tensors, metadata={"state": json.dumps(state)}))
    fsync_path(path.parent)


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Restore what `save_checkpoint` wrote and return its `state`.

    Raises:
        RunError: if the file is damaged or fits another model.
    """
    from safetensors import SafetensorError, safe_open

    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as handle:
            state: dict[str, Any] = json.loads(handle.metadata()["state"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise RunError(f"the checkpoint {path} is damaged: {error}.") from None
    model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=True)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        entry = {k.split(".", 2)[2]: v for k, v in tensors.items() if k.startswith(f"optimizer.{index}.")}
        # AdamW keeps its step counter on the CPU and its moments beside the parameter.
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in entry.items()}
    return state


def _states(optimizer: torch.optim.Optimizer) -> list[dict[str, torch.Tensor]]:
    return [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]
