"""MFU is a share of what the maker states, or unknown: a similar name must not lend a card another's peak."""

import pytest
import torch

from vocablab.training.throughput import peak_flops, peak_memory_bytes, utilisation


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H200", 989e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA B200", 2250e12),
        # Not in the table, though a name in it is part of theirs.
        ("NVIDIA L40", None),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("Some Accelerator", None),
    ],
)
def test_a_name_has_its_own_peak(monkeypatch: pytest.MonkeyPatch, name: str, peak: float | None) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert peak_flops("cuda:0") == peak
    found = utilisation(1e14, "cuda", 4)
    assert found is None if peak is None else found == pytest.approx(1e14 / (4 * peak))


def test_a_cpu_is_unknown() -> None:
    assert peak_flops("cpu") is None
    assert utilisation(1e12, "cpu") is None


def test_memory_is_in_bytes() -> None:
    before = peak_memory_bytes("cpu")
    assert 50e6 < before < 1e12
    block = torch.ones(int(before // 4) + (64 << 18))
    assert peak_memory_bytes("cpu") >= block.numel() * 4
