"""Models of transformers, loaded from a directory; the network is never asked."""

from pathlib import Path
from typing import Any

import torch

from vocablab.base.errors import UserError


def load_causal_model(directory: Path, attention: str | None = None) -> Any:
    """A causal language model in float32 and evaluation mode, on the CPU.

    Args:
        directory: holds a config and weights.
        attention: transformers' name of how attention is computed, such as ``eager``; None leaves it to transformers.

    Raises:
        UserError: if it does not load.
    """
    # Imported here because it takes seconds, and finding a user's cheap mistakes needs none of it.
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    # Its bar would stand among ours, and takes a second at most.
    disable_progress_bar()
    chosen = {} if attention is None else {"attn_implementation": attention}
    try:
        model = AutoModelForCausalLM.from_pretrained(directory, local_files_only=True, dtype=torch.float32, **chosen)
    except Exception as error:
        raise does_not_load(f"the model {directory}", error) from None
    return model.eval()


def does_not_load(what: str, error: Exception) -> UserError:
    """What to raise where `what`, a model or a part of one, does not load.

    Whatever `error` is: transformers and what it reads with raise a dozen classes, none of them in common.
    """
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(f"{what} does not load: {reason}")
