"""The chunked cross entropy is the plain one: value, both gradients, in any chunking; and its logits stay few."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from vocablab.training import loss
from vocablab.training.loss import IGNORED, chunk_rows, cross_entropy, plain_cross_entropy


def drawn(n: int, v: int, d: int, ignored: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, d, generator=generator)
    table = torch.randn(v, d, generator=generator)
    targets = torch.randint(0, v, (n,), generator=generator)
    targets[torch.rand(n, generator=generator) < ignored] = IGNORED
    return hidden, table, targets


def gradients(function: Any, parts: tuple[Tensor, Tensor, Tensor], scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    hidden, table = parts[0].clone().requires_grad_(), parts[1].clone().requires_grad_()
    value = function(hidden, table, parts[2])
    (value * scale).backward()
    assert hidden.grad is not None
    assert table.grad is not None
    return value.detach(), hidden.grad, table.grad


def close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], rtol: float, atol: float) -> bool:
    return all(torch.allclose(a, b, rtol=rtol, atol=atol) for a, b in zip(found, wanted, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    v=st.integers(2, 70),
    d=st.integers(1, 12),
    chunk=st.integers(1, 500),
    cached=st.integers(1, 300),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    scale=st.sampled_from([1.0, -0.5, 1e-3, 1e4]),
)
def test_it_is_the_plain_one(n: int, v: int, d: int, chunk: int, cached: int, ignored: float, scale: float) -> None:
    parts = drawn(n, v, d, ignored)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "CHUNK_LOGITS", chunk)
        patch.setattr(loss, "CACHED_LOGITS", cached)
        found = gradients(cross_entropy, parts, scale)
    assert close(found, gradients(plain_cross_entropy, parts, scale), 1e-4, 1e-5 * abs(scale) + 1e-6)


@pytest.mark.parametrize("chunk", [64, 1000, 1 << 26])
def test_under_autocast_it_is_the_plain_one_up_to_bfloat16(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(loss, "CHUNK_LOGITS", chunk)
    parts = drawn(96, 200, 64, 0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(cross_entropy, parts)
    wanted = gradients(plain_cross_entropy, parts)
    assert [t.dtype for t in found] == [torch.float32] * 3
    assert float((found[0] - wanted[0]).abs() / wanted[0]) < 5e-3
    for a, b in zip(found[1:], wanted[1:], strict=True):
        assert float((a - b).norm() / b.norm()) < 3e-2
        assert float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0)) > 0.999


def test_what_the_model_already_knows_keeps_its_slope_in_bfloat16() -> None:
    """Where p is nearly 1, p rounded to bfloat16 and then minus 1 would be 0 or -1/256."""
    table, hidden = torch.tensor([[9.0], [0.0]]), torch.tensor([[1.0]])
    target = torch.zeros(1, dtype=torch.int64)
    wanted = gradients(plain_cross_entropy, (hidden, table, target))[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(cross_entropy, (hidden, table, target))[1]
    assert float(found) == pytest.approx(float(wanted), rel=1e-2)


def test_all_ignored_is_zero_with_zero_gradients() -> None:
    hidden, table, targets = drawn(7, 20, 3)
    found = gradients(cross_entropy, (hidden, table, torch.full_like(targets, IGNORED)))
    assert all(not t.any() for t in found)


def test_no_positions_and_no_gradients() -> None:
    parts = drawn(9, 20, 3, 0.3)
    with torch.no_grad():
        assert torch.allclose(cross_entropy(*parts), plain_cross_entropy(*parts))
    assert not cross_entropy(*parts).requires_grad
    assert float(cross_entropy(parts[0][:0], parts[1], parts[2][:0])) == 0


@pytest.mark.parametrize("frozen", [0, 1])
def test_one_side_may_be_frozen(frozen: int) -> None:
    hidden, table, targets = drawn(9, 20, 3)
    leaves = [hidden, table]
    leaves[1 - frozen].requires_grad_()
    cross_entropy(hidden, table, targets).backward()
    wanted = gradients(plain_cross_entropy, (hidden.detach(), table.detach(), targets))[2 - frozen]
    found = leaves[1 - frozen].grad
    assert found is not None
    assert torch.allclose(found, wanted, atol=1e-5)
    assert leaves[frozen].grad is None


def test_two_uses_of_one_table_add_up() -> None:
    hidden, table, targets = drawn(10, 30, 4, 0.2)

    def twice(function: Any) -> Any:
        return lambda h, t, y: function(h, t, y) + 2 * function(h.flip(0) * 0.5, t, y)

    found = gradients(twice(cross_entropy), (hidden, table, targets))
    assert close(found, gradients(twice(plain_cross_entropy), (hidden, table, targets)), 1e-4, 1e-5)


def test_a_second_backward_is_right_or_refused() -> None:
    """The saved gradient is scaled in place: a silent second scaling would be a wrong gradient."""
    hidden, table, targets = drawn(10, 30, 4)
    table.requires_grad_()
    value = cross_entropy(hidden, table, targets) * 3
    value.backward(retain_graph=True)
    assert table.grad is not None
    once = table.grad.clone()
    try:
        value.backward()
    except RuntimeError:
        return
    assert torch.allclose(table.grad, 2 * once, rtol=1e-5)


@pytest.mark.parametrize("wants", [True, False])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_terms_of_a_gpu_are_those_of_a_cpu(wants: bool, kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss, "CACHED_LOGITS", 100)
    scores = (torch.randn(13, 40, generator=torch.Generator().manual_seed(0)) * 3).to(kind)
    targets = drawn(13, 40, 1, 0.3)[2]
    one, slopes = loss._terms(scores.clone(), targets, wants)
    other, in_place = loss._terms_in_cache(scores.clone(), targets, wants)
    assert torch.allclose(one, other, rtol=1e-5)
    if wants:
        assert slopes.dtype == in_place.dtype == kind
        assert torch.allclose(slopes.float(), in_place.float(), atol=1e-6 if kind == torch.float32 else 5e-3)


def test_the_compiled_terms_are_the_same() -> None:
    scores, targets = torch.randn(13, 40, generator=torch.Generator().manual_seed(0)), drawn(13, 40, 1, 0.3)[2]
    try:
        found = loss._terms_compiled()(scores.clone(), targets, True)
    except Exception as error:  # no C++ compiler on this machine
        pytest.skip(f"torch.compile does not work here: {type(error).__name__}")
    assert close(found, loss._terms(scores.clone(), targets, True), 1e-4, 1e-5)


@given(n=st.integers(1, 10_000), v=st.integers(1, 60_000), most=st.integers(1, 1 << 26))
def test_chunks_are_of_one_size_and_small_enough(n: int, v: int, most: int) -> None:
    rows = chunk_rows(n, v, most)
    assert 1 <= rows <= n
    assert rows == 1 or rows * v <= most + v
    assert -(-n // rows) <= -(-n * v // most)


def test_no_more_logits_exist_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak memory, counted by every tensor that an operation makes in forward and backward."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple | list) else (out,):
                if isinstance(tensor, Tensor):
                    largest = max(largest, tensor.numel())
            return out

    monkeypatch.setattr(loss, "CHUNK_LOGITS", 64 * 100)
    monkeypatch.setattr(loss, "CACHED_LOGITS", 16 * 100)
    parts = drawn(1000, 100, 4)
    with Watching():
        gradients(cross_entropy, parts)
    assert largest <= 64 * 100
    largest = 0
    with Watching():
        gradients(plain_cross_entropy, parts)
    assert largest >= 1000 * 100


def test_the_comparison_sees_a_wrong_slope(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the target's slope is left out; the value alone would not tell."""
    parts = drawn(20, 30, 4)
    wanted = gradients(plain_cross_entropy, parts)
    real = loss._terms_in_cache

    def forgets(scores: Tensor, targets: Tensor, wants: bool) -> tuple[Tensor, Tensor]:
        nats, slopes = real(scores, targets, wants)
        return nats, slopes.scatter_add_(1, targets[:, None], torch.ones(len(targets), 1))

    monkeypatch.setattr(loss, "_terms_in_cache", forgets)
    found = gradients(cross_entropy, parts)
    assert torch.allclose(found[0], wanted[0], rtol=1e-5)
    assert not torch.allclose(found[1], wanted[1], atol=1e-2)
