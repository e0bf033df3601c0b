"""In which number format products are computed; weights and optimiser state are always float32 (rule 11)."""

from typing import Any

import torch

from vocablab.base.errors import UserError

CHOICES = ("auto", "bfloat16", "float32")


def resolved(precision: str, device: str) -> str:
    """``bfloat16`` or ``float32`` for a choice.

    ``auto`` is bfloat16 where the hardware multiplies it faster than float32: any GPU since Ampere, and CPUs with AMX.

    Raises:
        UserError: for another word.
    """
    if precision not in CHOICES:
        raise UserError(f"precision '{precision}': it is {', '.join(CHOICES)}.")
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    # PyTorch has no public name for this question yet.
    return "bfloat16" if device == "cpu" and torch.cpu._is_amx_tile_supported() else "float32"


def autocast(resolved_precision: str, device: str) -> Any:
    """The autocast context of a resolved precision."""
    kind = device.split(":", maxsplit=1)[0]
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=resolved_precision == "bfloat16")
