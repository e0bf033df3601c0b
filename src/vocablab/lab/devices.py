"""Which device a command runs on."""

from vocablab.base.errors import UserError


def chosen_device(name: str) -> str:
    """``cpu`` or ``cuda`` for what a user said; ``auto`` is the GPU if there is one.

    Raises:
        UserError: if this machine has no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not (name.startswith("cuda") and torch.cuda.is_available()):
        raise UserError(f"--device {name}: this machine has no such device.")
    return name
