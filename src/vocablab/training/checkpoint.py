"""Training state on disk: safetensors plus JSON, nothing pickled, whole or absent.

Tensors stand under the names of their parameters and whole, so that a run can go on with another number of ranks.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vocablab.base.errors import RunError
from vocablab.base.files import write_bytes_atomically
from vocablab.training.distributed import like, whole

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
"""The one before, should the last one be damaged."""
WEIGHTS = "model.safetensors"
SEPARATOR = "/"
"""Between a parameter's name and the key of its optimiser state: names hold dots."""


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Write parameters (float32, by name) as safetensors, atomically."""
    write_bytes_atomically(path, save({k: _plain(v) for k, v in state.items()}))


def load_weights(model: nn.Module, path: Path) -> None:
    """Load what `save_weights` wrote; names and shapes must fit exactly."""
    model.load_state_dict(load_file(path), strict=True)


def training_state(named: Mapping[str, nn.Parameter], optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Every parameter and moment, whole and on the CPU. All ranks of a sharded run must call it."""
    tensors = {f"model{SEPARATOR}{name}": _plain(whole(p)) for name, p in named.items()}
    for name, key, value in _moments(named, optimizers):
        tensors[f"optimizer{SEPARATOR}{name}{SEPARATOR}{key}"] = _plain(whole(value))
    return tensors


def save_checkpoint(directory: Path, tensors: Mapping[str, Tensor], state: dict[str, Any]) -> None:
    """Write `training_state` and `state` (JSON values) into one file; the file before it is kept.

    One file, so that a kill between two writes cannot pair the weights of one step with the moments of another.
    """
    path = directory / CHECKPOINT
    # A damaged one must not take the place of the good one before it.
    if path.exists() and _readable(path):
        os.replace(path, directory / PREVIOUS)
    write_bytes_atomically(path, save(dict(tensors), metadata={"state": json.dumps(state)}))


def newest_checkpoint(directory: Path, before: int | None = None) -> Path | None:
    """The checkpoint that a run goes on from, if there is one: the last one, or the one before if that is damaged.

    Args:
        directory: of the run.
        before: only one of fewer steps, if given.

    Raises:
        RunError: if there are only damaged ones.
    """
    there = [directory / name for name in (CHECKPOINT, PREVIOUS) if (directory / name).exists()]
    readable = [path for path in there if _readable(path)]
    if there and not readable:
        read_state(there[0])
    return next((path for path in readable if before is None or read_state(path)["step"] < before), None)


def read_state(path: Path) -> dict[str, Any]:
    """The JSON values of a checkpoint.

    Raises:
        RunError: if the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            state: dict[str, Any] = json.loads(handle.metadata()["state"])
            return state
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise RunError(f"the checkpoint {path} is damaged: {error}.") from None


def load_checkpoint(path: Path, named: Mapping[str, nn.Parameter], optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Restore the parameters and moments that `save_checkpoint` wrote.

    Raises:
        RunError: if the file is damaged or fits another model.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise RunError(f"the checkpoint {path} is damaged: {error}.") from None
    stored = {k.split(SEPARATOR, 1)[1] for k in tensors if k.startswith("model" + SEPARATOR)}
    if stored != set(named):
        raise RunError(f"the checkpoint {path} fits another model: {min(stored ^ set(named))}.")
    owners = {id(p): o for o in optimizers for group in o.param_groups for p in group["params"]}
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, name, *rest = key.split(SEPARATOR)
        if kind == "optimizer":
            states.setdefault(name, {})[rest[0]] = value
    for name, parameter in named.items():
        value = tensors[f"model{SEPARATOR}{name}"]
        if value.shape != parameter.shape:
            raise RunError(
                f"the checkpoint {path} fits another model: {name} has shape {tuple(value.shape)}, "
                f"not {tuple(parameter.shape)}."
            )
        with torch.no_grad():
            parameter.copy_(like(value, parameter))
        if name in states:
            # Counters of steps have no shape and are not sharded; fused AdamW keeps them beside the parameter.
            owners[id(parameter)].state[parameter] = {
                key: like(value, parameter) if value.dim() else value.to(parameter.device)
                for key, value in states[name].items()
            }


def _moments(
    named: Mapping[str, nn.Parameter], optimizers: Iterable[torch.optim.Optimizer]
) -> Iterable[tuple[str, str, Tensor]]:
    names = {id(p): name for name, p in named.items()}
    for optimizer in optimizers:
        for parameter, entry in optimizer.state.items():
            for key, value in entry.items():
                # A composition that became rows has no name any more; its moments are of no use.
                if isinstance(value, Tensor) and id(parameter) in names:
                    yield names[id(parameter)], key, value


def _readable(path: Path) -> bool:
    try:
        read_state(path)
    except RunError:
        return False
    return True


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()
