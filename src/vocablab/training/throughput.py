"""How much of a device's arithmetic a run uses (model FLOPs utilisation), and how much memory."""

import re
import resource
import sys

import torch

PEAK_BFLOAT16 = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H800": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "B200": 2250e12,
}
"""Dense bfloat16 FLOP/s with float32 accumulation, from NVIDIA's data sheets (without sparsity; for GeForce cards from
the architecture white papers). The first name that stands in the device's name, as a word of its own, counts."""
PARTS = ("MIG", "Laptop")
"""In the name of a device that has less than the whole card's arithmetic."""


def peak_flops(device: str) -> float | None:
    """Bfloat16 FLOP/s that the device's maker states; None if the device is not in the table."""
    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(device)
    if any(part in name for part in PARTS):
        return None
    return next((peak for known, peak in PEAK_BFLOAT16.items() if re.search(rf"\b{known}\b", name)), None)


def utilisation(flops_per_second: float, device: str, ranks: int = 1) -> float | None:
    """Model FLOPs utilisation (PaLM, Chowdhery et al. 2022, appendix B); None ("unknown") without a stated peak."""
    peak = peak_flops(device)
    return None if peak is None else flops_per_second / (peak * ranks)


def peak_memory_bytes(device: str) -> int:
    """Most memory used so far: the allocator's on a GPU, the process's resident set on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
