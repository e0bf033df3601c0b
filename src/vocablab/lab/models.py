"""Which model a user means: exported, on the hub, of a study's run, or just pretrained."""

from dataclasses import dataclass, replace
from pathlib import Path

from vocablab.base.errors import UserError
from vocablab.base.files import sha256_file
from vocablab.base.model_files import model_directory
from vocablab.evaluate.model import Loaded, load
from vocablab.lab.trained import kept_checkpoints, read_trained
from vocablab.model.reader import NetworkReader

WANTED = ("*.json", "*.safetensors", "*.bin", "*.txt", "*.model")
"""Files of a model on the hub that loading it may need."""
FINISHED = ("rl", "sft", "export")
"""Stages of a study's run that hold a model for transformers, the last one first."""
WEIGHTS = ("*.safetensors", "*.bin")


@dataclass(frozen=True)
class Source:
    """A model that can be loaded."""

    name: str
    """For rows and titles."""
    directory: Path
    """Where it lies."""
    beside: Path
    """Where evaluations of it go by default."""
    trained: bool = False
    """Whether it is a run of pretraining, not yet exported."""
    weights: Path | None = None
    """Kept weights of such a run; its last ones if None."""
    step: int | None = None
    """Their step."""

    def identity(self) -> dict[str, str]:
        """Hash of every file that decides what it computes or how it reads text."""
        files = [p for pattern in ("*.json", "*.txt", "*.model") for p in self.directory.glob(pattern)]
        files += [self.weights] if self.weights else [p for pattern in WEIGHTS for p in self.directory.glob(pattern)]
        # A record says when and where, not what.
        return {path.name: sha256_file(path) for path in sorted(files) if path.name != "record.json"}

    def place(self, out: Path | None, digest: str) -> Path:
        """Where its scores go."""
        if out is None:
            step = "" if self.step is None else f"-step-{self.step:08d}"
            return self.beside / "evaluations" / f"{self.directory.name}{step}-{digest}"
        return out if self.step is None else out / f"step-{self.step:08d}"

    def load(self, device: str) -> Loaded:
        """The model, ready to be asked."""
        if not self.trained:
            return load(self.directory, device)
        found = read_trained(self.directory, self.weights)
        return Loaded(NetworkReader(found.network.to(device).eval()), found.codec, found.forms)


def model_source(model: str, revision: str, data: Path | None) -> Source:
    """The model that a user named.

    Args:
        model: a directory for transformers; a run of a study (the last of its models); a directory that pretraining
            made; a folder of the data directory; or ``owner/name`` on the hub.
        revision: on the hub.
        data: the data directory, or None.

    Raises:
        UserError: if there is none.
    """
    path = Path(model).expanduser()
    if path.is_dir() and not (path / "config.json").exists():
        for stage in FINISHED:
            if (path / stage / "config.json").exists():
                return _local(path / stage)
        if any((path / name).exists() for name in ("model.safetensors", "checkpoints")):
            return replace(_local(path), trained=True)
        raise UserError(f"{path} holds no model: neither config.json nor weights of pretraining, nor a run's stages.")
    if path.is_dir():
        return _local(path)
    if path.exists():
        raise UserError(f"{path} is a file; give the directory of a model (vocablab import reads .pt files).")
    found = model_directory(model, revision, data, WANTED, "MODEL")
    if data is not None and found.is_relative_to(data):
        return _local(found, model)
    # Beside the hub's cache nobody would look for scores.
    return Source(model, found, Path())


def _local(path: Path, name: str | None = None) -> Source:
    own = path.resolve()
    return Source(name or "/".join(own.parts[-4:]), own, own.parent)


def checkpoints_of(source: Source) -> list[Source]:
    """Every kept checkpoint of a run, in order of steps.

    Raises:
        UserError: if it is no run of pretraining, or kept none.
    """
    directory = source.directory
    if not source.trained:
        # A study's run was named, of which the models for transformers come first.
        directory = directory.parent / "pretrain"
        if not (directory / "checkpoints").exists():
            raise UserError(f"--checkpoints: {source.directory} is no run of pretraining with kept checkpoints.")
    found = kept_checkpoints(directory)
    if not found:
        raise UserError(f"--checkpoints: {directory} has none: pretrain with --set pretrain.keep_checkpoints=true.")
    return [
        replace(source, name=f"{source.name} step {step}", directory=directory, trained=True, weights=path, step=step)
        for step, path in found
    ]
