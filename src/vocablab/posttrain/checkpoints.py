"""What post-training writes: a model that any later stage loads, and checkpoints to go on from."""

import shutil
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, TrainerCallback
from transformers.activations import NewGELUActivation
from transformers.trainer_utils import get_last_checkpoint

from vocablab.corpus.lost_form import FormCode
from vocablab.model.pretrained import load_causal_model
from vocablab.training.precision import resolved
from vocablab.vocab.codec import Codec, save_codec

WORK = "trainer"
"""Folder of checkpoints inside an unfinished stage; gone when the stage is done."""


def load_model(directory: Path) -> Any:
    """A checkpoint to train: float32 weights, attention that takes any mask.

    Raises:
        UserError: if it does not load.
    """
    model = load_causal_model(directory, "sdpa")
    _fuse_gelu(model)
    return model


def _fuse_gelu(model: torch.nn.Module) -> None:
    """PyTorch's kernel for the tanh form of GELU, which transformers computes in eight steps for GPT-2."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, torch.nn.GELU(approximate="tanh"))


def load_tokenizer(directory: Path) -> Any:
    """The checkpoint's tokenizer."""
    return AutoTokenizer.from_pretrained(directory, local_files_only=True)


def keep_padding(model: Any, padding: int | None) -> None:
    """Give a model's config back the padding id that a trainer took: EOS.

    A Qwen3 that is loaded with it never trains that row of its embedding again.
    """
    model.config.pad_token_id = padding


def write_model(model: Any, directory: Path, start: Path, codec: Codec, forms: FormCode) -> None:
    """Write a trained model with all that reading it takes.

    Args:
        model: what was trained.
        directory: where to.
        start: the checkpoint it started from, whose tokenizer it keeps.
        codec: its arm's.
        forms: how often each form was replaced in what it learned last.
    """
    model.save_pretrained(directory)
    write_beside(directory, start, codec, forms)


def write_beside(directory: Path, start: Path, codec: Codec, forms: FormCode) -> None:
    """Write tokenizer, codec and forms beside weights."""
    load_tokenizer(start).save_pretrained(directory)
    save_codec(codec, directory)
    forms.save(directory)


def newest(work: Path) -> str | None:
    """The newest whole checkpoint of an interrupted run, as the trainer names it; None to begin."""
    if not work.is_dir():
        return None
    found: str | None = get_last_checkpoint(str(work))
    # The state is written last: a checkpoint without it was killed half-way.
    while found is not None and not (Path(found) / "trainer_state.json").exists():
        shutil.rmtree(found)
        found = get_last_checkpoint(str(work))
    return found


WIDE = 256
"""Width from which bfloat16 pays on a CPU: autocast through the modules of transformers was slower than float32 at 128
and faster at 384 (docs/log.md, 2026-11-29)."""


def in_bfloat16(precision: str, device: str, model: Any) -> bool:
    """Whether products are computed in bfloat16. ``auto``: where the hardware is faster at it and, on a CPU, the model
    is wide enough to gain by it."""
    narrow = precision == "auto" and device == "cpu" and model.get_input_embeddings().weight.shape[1] < WIDE
    return resolved("float32" if narrow else precision, device) == "bfloat16"


class TimedCheckpoints(TrainerCallback):  # type: ignore[misc]
    """Asks for a checkpoint whenever some seconds have passed."""

    def __init__(self, seconds: float, multiple: int = 1) -> None:
        """Ask after `seconds`, at the next step that is a multiple of `multiple`."""
        self._seconds, self._multiple, self._last = seconds, multiple, time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        if control.should_training_stop:
            # A training that is stopped ends here; a killed one goes on from before this, and stops here again.
            return
        due = time.monotonic() - self._last >= self._seconds and state.global_step % self._multiple == 0
        if due and state.global_step < state.max_steps:
            self._last = time.monotonic()
            control.should_save = True


@contextmanager
def quiet() -> Iterator[None]:
    """Without two sentences of the libraries below that a user can do nothing about."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*'rollout_func', which is an experimental feature")
        warnings.filterwarnings("ignore", message=r"`is_gradient_checkpointing` is deprecated")
        yield


def silence(trainer: Any) -> None:
    """Take out the callback that prints every log."""
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def trained_values(model: Any) -> torch.Tensor:
    """All parameters in one vector, but for tables in which rows are only looked up (positions, an untied embedding):
    a row that no example holds gets no gradient."""
    head = model.get_output_embeddings().weight
    tables = [m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding) and m.weight is not head]
    looked_up = {id(table) for table in tables}
    return _flat(p for p in model.parameters() if id(p) not in looked_up)


def _flat(parameters: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([p.detach().cpu().flatten().clone() for p in parameters])


def moves_gate(changed: float) -> dict[str, Any]:
    """Rule 11 of a finished training."""
    return {
        "rule": 11,
        "name": "Fine-tuning state is float32 and moves the weights",
        "passed": changed > 0.99,
        "detail": f"{changed:.2%} of parameters changed",
    }
