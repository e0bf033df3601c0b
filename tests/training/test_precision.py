"""Precision: what auto means on a device, and that only matrix products are in bfloat16."""

import pytest
import torch

from vocablab.base.errors import UserError
from vocablab.training.precision import autocast, resolved


@pytest.mark.parametrize(("amx", "wanted"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_a_cpu_asks_for_amx(monkeypatch: pytest.MonkeyPatch, amx: bool, wanted: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert resolved("auto", "cpu") == wanted
    assert resolved("float32", "cpu") == "float32"
    assert resolved("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize(("real", "wanted"), [(True, "bfloat16"), (False, "float32")])
def test_auto_on_a_gpu_wants_hardware(monkeypatch: pytest.MonkeyPatch, real: bool, wanted: str) -> None:
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return real

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolved("auto", "cuda:1") == wanted
    assert asked == [False]


def test_another_word_is_refused() -> None:
    with pytest.raises(UserError, match="float16"):
        resolved("float16", "cpu")


def test_products_are_low_and_the_rest_is_not() -> None:
    a = torch.randn(4, 4)
    with autocast("bfloat16", "cpu"):
        assert (a @ a).dtype == torch.bfloat16
        assert (a + a).dtype == torch.float32
    with autocast("float32", "cpu"):
        assert (a @ a).dtype == torch.float32
