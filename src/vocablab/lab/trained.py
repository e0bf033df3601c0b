"""A pretrained network as it lies on disk: made by `vocablab pretrain` or `import`, or by a stage of a study's run.

Each holds its weights as safetensors. `pretrain` and `import` say beside them what the network is; for a study's stage
the directory `prepare` beside it does. An unfinished run (`.partial`) has no record, and only kept checkpoints.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vocablab.base.config import from_json
from vocablab.base.errors import UserError
from vocablab.base.files import PARTIAL_SUFFIX, read_json, sha256_file
from vocablab.base.records import Record, read_record
from vocablab.corpus.lost_form import FORMS_FILE, FormCode
from vocablab.model.network import ModelConfig, Network
from vocablab.pretrain.journal import METRICS
from vocablab.pretrain.loop import CHECKPOINTS
from vocablab.training.checkpoint import WEIGHTS
from vocablab.vocab.codec import INTERVENTION_FILE, Codec, load_codec
from vocablab.vocab.intervention import NoChange

MODEL_FILE = "model.json"
"""The network's size, beside the weights of `pretrain` and `import`."""
STAGES = ("pretrain", "import")
"""Stages that make a network."""
COMPILED = "_orig_mod."
"""What `torch.compile` puts into names."""
KEPT = re.compile(r"step-(\d{8,})\.safetensors")
"""Name of kept weights."""
READING = ("steps", "tokens", "source_bytes", "train_bits_per_byte", "val_bits_per_byte")
"""What is told of a moment of a training."""


@dataclass(frozen=True)
class Trained:
    """A network with all that reading its predictions takes."""

    network: Network
    """On the CPU, in float32, in evaluation mode; computed rows are plain rows."""
    codec: Codec
    """How its arm encodes raw text."""
    forms: FormCode
    """What a replacement's lost form costs."""
    record: dict[str, Any]
    """What is known of its making, for a model card; what is not known is not there."""
    name: str
    """Short name: the last parts of its path, and the step of kept weights."""
    sha256: str
    """Hash of the file of weights."""


@dataclass(frozen=True)
class _Run:
    """A directory with weights, and where the rest of it lies."""

    directory: Path
    """With the weights."""
    codec: Path
    """With vocabulary, intervention and forms."""
    record: Record | None
    """Of the directory; None if the run is unfinished."""
    prepared: Record | None
    """Of `codec`, if that is a stage of its own."""


def read_trained(path: Path, weights: Path | None = None) -> Trained:
    """Read a pretrained network; nothing is unpickled.

    Args:
        path: directory of `vocablab pretrain` or `import` (also its ``.partial``), a study's run ``ARM/seedN`` or its
            stage ``pretrain``, or a file of weights in one of them.
        weights: kept weights of the run, instead of its last ones.

    Raises:
        UserError: if a file is missing, damaged, or of another run.
    """
    run, named = _run(path)
    if named is not None and weights is not None:
        raise UserError(f"{path} is a file of weights itself: give the run's directory, or no second file.")
    file = _weights(run, weights or named)
    model = _model(run)
    _require_as_recorded(run.codec, run.prepared or run.record, ("vocabulary.json", INTERVENTION_FILE, FORMS_FILE))
    _require_as_recorded(run.directory, run.record, (MODEL_FILE, str(file.relative_to(run.directory))))
    codec = load_codec(run.codec)
    network = model.network(codec.vocabulary.padded_size)
    _load(network, file)
    step = _step(file)
    name = "/".join(run.directory.resolve().parts[-4:] if run.prepared else run.directory.resolve().parts[-1:])
    name = name if step is None else f"{name} step {step}"
    told = {"name": name, **_told(run, step)}
    return Trained(network.eval(), codec, _forms(run.codec, codec), told, name, sha256_file(file))


def kept_checkpoints(path: Path) -> list[tuple[int, Path]]:
    """Steps and weight files of a run, in order of steps; the run's last weights, if there, are the last.

    Args:
        path: as for `read_trained`, but a directory.

    Raises:
        UserError: if it is no run, or its record does not say after how many steps it ended.
    """
    run, named = _run(path)
    if named is not None:
        raise UserError(f"{path} is a file of weights; give the run's directory.")
    files = (run.directory / CHECKPOINTS).glob("*.safetensors")
    kept = sorted((step, file) for file in files if (step := _step(file)) is not None)
    last = run.directory / WEIGHTS
    if not last.exists() or run.record is None:
        return kept
    steps = run.record.counts.get("steps")
    if not isinstance(steps, int):
        raise UserError(f"{run.directory / 'record.json'} does not say after how many steps the weights were written.")
    # A validation reading after the last step kept the same weights.
    return [*(one for one in kept if one[0] < steps), (steps, last)]


def _run(path: Path) -> tuple[_Run, Path | None]:
    """The run that `path` names, and the weights if it names a file."""
    if path.is_file():
        directory = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
        if path.suffix != ".safetensors":
            raise UserError(f"{path} is no file of weights in safetensors; vocablab import reads .pt files.")
        return _run(directory)[0], path
    if not path.is_dir():
        partial = path.with_name(path.name + PARTIAL_SUFFIX)
        also = f"; an unfinished run lies at {partial}" if partial.is_dir() else ""
        raise UserError(f"there is no directory {path}{also}.")
    if (path / MODEL_FILE).exists():
        return _Run(path, path, _record(path, STAGES), None), None
    for stage in ("pretrain", "pretrain" + PARTIAL_SUFFIX):
        if (path / stage).is_dir():
            return _stage(path / stage), None
    if path.name in ("pretrain", "pretrain" + PARTIAL_SUFFIX) and (path.parent / "prepare").is_dir():
        return _stage(path), None
    raise UserError(
        f"{path} is neither a directory of vocablab pretrain or import (it has no {MODEL_FILE}) nor a study's run."
    )


def _stage(directory: Path) -> _Run:
    """A stage `pretrain` of a study's run."""
    prepare = directory.parent / "prepare"
    record, prepared = _record(directory, STAGES), _record(prepare, ("prepare",))
    if prepared is None:
        raise UserError(f"{prepare} has no record.json: it does not say what {directory} was trained on.")
    if record is not None and record.inputs.get("prepare") != prepared.fingerprint:
        raise UserError(f"{directory} was trained on another corpus than {prepare}: their records do not fit.")
    return _Run(directory, prepare, record, prepared)


def _record(directory: Path, stages: tuple[str, ...]) -> Record | None:
    record = read_record(directory)
    if record is None and not directory.name.endswith(PARTIAL_SUFFIX) and directory.is_dir():
        raise UserError(f"{directory} has no record.json: nothing says that it is whole.")
    if record is not None and record.stage not in stages:
        raise UserError(f"{directory / 'record.json'} is of the stage {record.stage}, not of {' or '.join(stages)}.")
    return record


def _weights(run: _Run, chosen: Path | None) -> Path:
    """The file of weights, in the spelling of the run's directory."""
    if chosen is None:
        if run.record is None or not (run.directory / WEIGHTS).exists():
            raise UserError(f"{run.directory} is unfinished: it has no last weights; name a kept checkpoint of it.")
        return run.directory / WEIGHTS
    if not chosen.is_file():
        raise UserError(f"there are no weights {chosen}.")
    inside = chosen.resolve()
    for file in (run.directory / WEIGHTS, run.directory / CHECKPOINTS / chosen.name):
        whole = run.record is not None if file.name == WEIGHTS else _step(file) is not None
        if whole and file.exists() and file.resolve() == inside:
            return file
    raise UserError(f"{chosen} is neither {WEIGHTS} nor a kept checkpoint (checkpoints/step-*) of {run.directory}.")


def _step(file: Path) -> int | None:
    """The step of kept weights; None for the last ones."""
    found = KEPT.fullmatch(file.name)
    return int(found.group(1)) if found else None


def _model(run: _Run) -> ModelConfig:
    if run.prepared is None:
        path, data = run.directory / MODEL_FILE, read_json(run.directory / MODEL_FILE, "the network's size")
    else:
        known = run.record or run.prepared
        path, data = run.directory / "record.json", known.identity.get("model")
    if data is None:
        raise UserError(f"{path} does not say which model was trained.")
    model: ModelConfig = from_json(ModelConfig, data, str(path))
    return model


def _require_as_recorded(directory: Path, record: Record | None, names: tuple[str, ...]) -> None:
    """The files that are read are those that were published."""
    for name in names if record is not None else ():
        known, path = record.files.get(name) if record is not None else None, directory / name
        if known is None:
            if path.exists():
                raise UserError(f"{path} is not in the record of {directory}: it was put there later.")
        elif not path.exists() or sha256_file(path) != known["sha256"]:
            raise UserError(f"{path} is damaged or missing: it is not what {directory / 'record.json'} says.")


def _forms(directory: Path, codec: Codec) -> FormCode:
    if isinstance(codec.intervention, NoChange):
        return FormCode.empty()
    return FormCode.load(directory)


def _load(network: Network, file: Path) -> None:
    """Set every parameter from a file; names and shapes must fit exactly.

    Raises:
        UserError: naming the file and the tensor that does not.
    """
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"the weights {file} cannot be read: {error}.") from None
    state: dict[str, Tensor] = {name.replace(COMPILED, ""): tensor for name, tensor in found.items()}
    own = network.state_dict()
    for name in sorted({*state, *own}):
        if name not in state or name not in own or len(state) != len(found):
            raise UserError(f"the weights {file} are of another network: the tensor {name} is not in both.")
        if state[name].shape != own[name].shape or not state[name].is_floating_point():
            raise UserError(
                f"the weights {file} are of another network: {name} has shape {tuple(state[name].shape)} "
                f"({state[name].dtype}), not {tuple(own[name].shape)}."
            )
    network.load_state_dict({name: tensor.to(torch.float32) for name, tensor in state.items()})


def _told(run: _Run, step: int | None) -> dict[str, Any]:
    """What the records say, for a model card."""
    record, told = run.record, {}
    if record is not None:
        counts, final = record.counts, record.counts.get("final") or {}
        told = {
            "stage": record.stage,
            "fingerprint": record.fingerprint,
            "seed": record.identity.get("seed"),
            "continues_from": (record.identity.get("pretrain") or {}).get("init_from"),
            "source": counts.get("source"),
            "notes": counts.get("notes"),
            "git": record.git,
            "versions": record.versions,
            "finished": record.finished,
        }
        if step is None:
            told |= {key: counts.get(key, final.get(key)) for key in READING}
    if step is not None:
        told |= _reading(run.directory / METRICS, step)
    return {key: value for key, value in told.items() if value not in (None, "", {}, [])}


def _reading(path: Path, step: int) -> dict[str, Any]:
    """The reading of a step; of an unfinished run the step alone is certain."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except json.JSONDecodeError as error:
            raise UserError(f"the readings {path} are damaged: {error}.") from None
    found = next((line for line in lines if line["step"] == step), {})
    return {"steps": step, **{key: found[key] for key in READING if key in found}}
