"""Checkpoints of nanoGPT and build-nanogpt: what they compute is what we read; nothing in them is executed."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import make_codec
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.base.errors import UserError
from vocablab.export.foreign_checkpoints import exact_gelu_gap, read_foreign_checkpoint
from vocablab.model.gpt2 import GPT2, GPT2Config
from vocablab.vocab.intervention import NoChange

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 24, "vocab_size": 384}
CONFIG = GPT2Config(n_layer=2, n_head=2, n_embd=16, n_positions=24)
IDS = torch.randint(0, 384, (3, 24), generator=torch.Generator().manual_seed(1))
PREFIX = "transformer.h.0."


class TheirBlock(nn.Module):
    """A block of theirs, computed in the plainest way."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        d = SIZES["n_embd"]
        self.ln_1, self.ln_2 = nn.LayerNorm(d, bias=bias), nn.LayerNorm(d, bias=bias)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.c_attn, self.attn.c_proj = nn.Linear(d, 3 * d, bias=bias), nn.Linear(d, d, bias=bias)
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(d, 4 * d, bias=bias), nn.Linear(4 * d, d, bias=bias)
        self.attn.register_buffer("bias", torch.ones(24, 24).tril().view(1, 1, 24, 24))

    def forward(self, x: Tensor, approximate: str) -> Tensor:
        n = SIZES["n_embd"] // SIZES["n_head"]
        q, k, v = (part.unflatten(2, (-1, n)).transpose(1, 2) for part in self.attn.c_attn(self.ln_1(x)).chunk(3, 2))
        scores = (q @ k.transpose(2, 3) / n**0.5).masked_fill(
            self.attn.bias[..., : x.shape[1], : x.shape[1]] == 0, -1e9
        )
        x = x + self.attn.c_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate=approximate))


class Theirs(nn.Module):
    """GPT-2 with their names, tied head and masks."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        d, rows = SIZES["n_embd"], SIZES["vocab_size"]
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(rows, d), "wpe": nn.Embedding(SIZES["block_size"], d),
            "h": nn.ModuleList([TheirBlock(bias) for _ in range(2)]), "ln_f": nn.LayerNorm(d, bias=bias),
        })  # fmt: skip
        self.lm_head = nn.Linear(d, rows, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)

    @torch.no_grad()
    def forward(self, ids: Tensor, approximate: str = "tanh") -> Tensor:
        parts: Any = self.transformer
        x = parts["wte"](ids) + parts["wpe"](torch.arange(ids.shape[1]))
        for block in parts["h"]:
            x = block(x, approximate)
        out: Tensor = self.lm_head(parts["ln_f"](x))
        return out


def nanogpt(path: Path, theirs: Theirs, prefix: str = "", bias: bool = True, **changes: Any) -> Path:
    optimizer = torch.optim.AdamW(theirs.parameters())
    theirs.lm_head.weight.sum().backward()
    optimizer.step()
    torch.save({
        "model": {prefix + name: tensor for name, tensor in theirs.state_dict().items()},
        "optimizer": optimizer.state_dict(), "model_args": {**SIZES, "bias": bias, "dropout": 0.0}, "iter_num": 77,
        "best_val_loss": torch.tensor(3.5), "config": {"out_dir": "out", "dataset": "owt"}, **changes,
    }, path)  # fmt: skip
    return path


def build_nanogpt(path: Path, theirs: Theirs, patch: pytest.MonkeyPatch, module: str = "__main__") -> Path:
    fields = [(name, int, dataclasses.field(default=value)) for name, value in SIZES.items()]
    made = dataclasses.make_dataclass("GPTConfig", fields)
    made.__module__ = module
    if module not in sys.modules:
        patch.setitem(sys.modules, module, type(sys)(module))
    patch.setattr(sys.modules[module], "GPTConfig", made, raising=False)
    torch.save({"model": theirs.state_dict(), "config": made(**SIZES), "step": 19072, "val_loss": 3.25}, path)
    patch.delattr(sys.modules[module], "GPTConfig")
    return path


def ours(path: Path) -> GPT2:
    found = read_foreign_checkpoint(path)
    network = found.config.network(found.rows)
    network.load_state_dict(found.state)
    return network.eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod."])
def test_nanogpt_computes_the_same(tmp_path: Path, prefix: str, bias: bool) -> None:
    theirs = Theirs(bias)
    path = nanogpt(tmp_path / "ckpt.pt", theirs, prefix, bias)
    found = read_foreign_checkpoint(path)
    assert (found.config, found.rows, found.kind, found.steps, found.loss) == (CONFIG, 384, "nanoGPT", 77, 3.5)
    with torch.no_grad():
        assert (ours(path)(IDS) - theirs(IDS)).abs().max() < 1e-5
    assert theirs(IDS).std() > 0.3


@pytest.mark.parametrize("module", ["__main__", "train_gpt2"])
def test_build_nanogpt_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    theirs = Theirs()
    path = build_nanogpt(tmp_path / "model_19072.pt", theirs, monkeypatch, module)
    found = read_foreign_checkpoint(path)
    assert (found.config, found.kind, found.steps, found.loss) == (CONFIG, "build-nanogpt", 19072, 3.25)
    with torch.no_grad():
        assert (ours(path)(IDS) - theirs(IDS)).abs().max() < 1e-5
    # The stand-in is known while a file is read, and not to anybody after.
    known = torch.serialization.get_safe_globals()
    assert not any("GPTConfig" in str(one) for one in known)


def test_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    theirs = Theirs()
    path = nanogpt(tmp_path / "ckpt.pt", theirs.bfloat16())
    assert {tensor.dtype for tensor in read_foreign_checkpoint(path).state.values()} == {torch.float32}


def test_the_gap_to_the_exact_gelu_is_what_it_is(tmp_path: Path) -> None:
    theirs, vocabulary = Theirs(), make_codec(NoChange()).vocabulary
    network = ours(nanogpt(tmp_path / "ckpt.pt", theirs))
    ids = torch.randint(vocabulary.size, (1, 24), generator=torch.Generator().manual_seed(0))
    expected = float((theirs(ids, "none") - theirs(ids)).abs().max())
    assert expected > 1e-4
    assert exact_gelu_gap(network, vocabulary) == pytest.approx(expected, rel=0.05)


class Malicious:
    """Pickled, it is a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("place", ["model", "model_args", "optimizer", "config"])
@pytest.mark.parametrize("function", ["system", "exec"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path, place: str, function: str) -> None:
    mark = tmp_path / "executed"
    planted = {
        "system": Malicious(os.system, f"touch {mark}"),
        "exec": Malicious(exec, f"open({str(mark)!r}, 'w')"),
    }[function]
    path = nanogpt(tmp_path / "ckpt.pt", Theirs(), **{place: {"a": planted}})
    with pytest.raises(UserError, match=r"is refused: it asks for (posix\.system|builtins\.exec)") as error:
        read_foreign_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not mark.exists()
    # The plant works where a pickle is trusted.
    torch.load(path, weights_only=False)
    assert mark.exists()


def test_an_allowed_name_is_no_way_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may put anything into its config, and call its class with anything: neither does a thing."""
    made = type("GPTConfig", (), {"__module__": "__main__", "__qualname__": "GPTConfig"})
    monkeypatch.setattr(sys.modules["__main__"], "GPTConfig", made, raising=False)
    path, instance = tmp_path / "ckpt.pt", made()
    vars(instance).update({**SIZES, "__class__": "x"})
    for planted, said in (
        (instance, "the setting __class__ = 'x'"),
        (Malicious(made, "x"), "no checkpoint that torch"),
    ):
        torch.save({"model": Theirs().state_dict(), "config": planted, "step": 1}, path)
        with pytest.raises(UserError, match=said):
            read_foreign_checkpoint(path)


def _without(name: str) -> dict[str, Tensor]:
    return {key: value for key, value in Theirs().state_dict().items() if key != name}


def _with(name: str, tensor: Any) -> dict[str, Any]:
    return {**Theirs().state_dict(), name: tensor}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": None}, "it has no 'model'"),
        ({"model_args": None}, "does not say its sizes"),
        ({"model_args": {**SIZES, "use_rmsnorm": True}}, "the setting use_rmsnorm = True is none of GPT-2's"),
        ({"model_args": {**SIZES, "n_head": 3}}, "n_embd 16 is no multiple of n_head 3"),
        ({"model_args": {**SIZES, "n_head": 0}}, "n_head is 0; a positive integer"),
        ({"model_args": {**SIZES, "n_layer": "2"}}, "n_layer is '2'"),
        ({"model_args": {**SIZES, "bias": True, "n_layer": 3}}, "transformer.h.2.ln_1.weight is missing"),
        ({"model_args": {**SIZES, "bias": True, "n_layer": 1}}, "transformer.h.1.attn.c_attn.bias has no place"),
        ({"model_args": {**SIZES, "bias": True, "block_size": 12}}, r"wpe.weight has shape \(24, 16\)"),
        ({"model": _without(f"{PREFIX}attn.c_attn.bias")}, f"{PREFIX}attn.c_attn.bias is missing"),
        ({"model": _without(f"{PREFIX}attn.c_proj.weight")}, f"{PREFIX}attn.c_proj.weight is missing"),
        ({"model": _without("transformer.wte.weight")}, "wte.weight is missing"),
        ({"model": _with("lm_head.weight", torch.zeros(384, 16))}, "lm_head.weight differs"),
        ({"model": _with("extra.weight", torch.zeros(2))}, "extra.weight has no place"),
        ({"model": _with("_orig_mod.lm_head.weight", torch.zeros(2))}, "two tensors are called lm_head.weight"),
        ({"model": _with(f"{PREFIX}ln_1.weight", torch.zeros(16, dtype=torch.int64))}, "is no tensor of weights"),
        ({"model": _with(f"{PREFIX}ln_1.weight", "text")}, "is no tensor of weights"),
    ],
)  # fmt: skip
def test_what_is_another_network_is_one_sentence(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = nanogpt(tmp_path / "ckpt.pt", Theirs(), **changes)
    with pytest.raises(UserError, match=said) as error:
        read_foreign_checkpoint(path)
    assert str(path) in str(error.value)


def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    path, cut = tmp_path / "ckpt.pt", nanogpt(tmp_path / "whole.pt", Theirs())
    for content in (b"", b"hello", cut.read_bytes()[: cut.stat().st_size // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no checkpoint that torch can read as data") as error:
            read_foreign_checkpoint(path)
        assert "\n" not in str(error.value)
    torch.save(Theirs().state_dict(), path)
    with pytest.raises(UserError, match="has no 'model'"):
        read_foreign_checkpoint(path)
