"""Rule 6 for the modern decoder: what is exported is Qwen3, computes the same, and every planted mutant is caught."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import make_codec
from support.networks import randomised
from transformers import AutoModelForCausalLM, GenerationConfig, Qwen3ForCausalLM

from vocablab.base.errors import RunError
from vocablab.corpus.lost_form import FormCode
from vocablab.export.architectures import exact
from vocablab.export.hugging_face import export, verify
from vocablab.model.modern import ModernConfig
from vocablab.model.network import Network
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens

CONFIGS = {
    "plain": ModernConfig(n_layer=2, n_head=2, n_embd=32, n_positions=96),
    "grouped": ModernConfig(2, 4, 32, 96, n_kv_head=2, head_width=16, mlp_width=48, rope_theta=5e5, tied=True),
}
Tensors = dict[str, torch.Tensor]
BLOCK = "model.layers.1."
ATTENTION = f"{BLOCK}self_attn."


class Exported:
    """A network and its directory."""

    def __init__(self, config: ModernConfig, directory: Path) -> None:
        self.codec: Codec = make_codec(FactTokens())
        self.network: Network = randomised(config, self.codec.vocabulary.padded_size)
        self.directory = directory
        self.counts = export(self.network, self.codec, directory, FormCode.empty(), {})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    return {name: Exported(config, tmp_path_factory.mktemp(name)) for name, config in CONFIGS.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_honest_export_is_qwen3_and_computes_the_same(exported: dict[str, Exported], name: str) -> None:
    it = exported[name]
    assert it.counts["largest_logit_difference"] < 1e-12
    theirs = AutoModelForCausalLM.from_pretrained(it.directory)
    assert type(theirs) is Qwen3ForCausalLM
    ids = torch.randint(0, it.codec.vocabulary.size, (2, 96), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, it.network(ids), atol=1e-4)
        ours = copy.deepcopy(it.network).double()(ids)
        # As it comes, with its norms in float32; and in float64 throughout.
        assert (theirs.double()(ids).logits - ours).abs().max() < 1e-5
        assert (exact(theirs)(ids).logits - ours).abs().max() < 1e-12


@pytest.mark.parametrize("name", CONFIGS)
def test_generation_with_a_cache_gives_the_same_tokens(exported: dict[str, Exported], name: str) -> None:
    it = exported[name]
    vocabulary = it.codec.vocabulary
    forbidden = [vocabulary.eos_id, *range(vocabulary.size, vocabulary.padded_size)]
    prompt = torch.tensor([[5, 310, 44, 340, 7]])
    theirs = AutoModelForCausalLM.from_pretrained(it.directory).generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        generation_config=GenerationConfig(
            max_new_tokens=40, do_sample=False, suppress_tokens=forbidden, pad_token_id=vocabulary.eos_id
        ),
    )
    ours = prompt
    for _ in range(40):
        with torch.no_grad():
            logits = it.network(ours)[:, -1]
        logits[:, forbidden] = -torch.inf
        ours = torch.cat([ours, logits.argmax(-1, keepdim=True)], dim=1)
    assert theirs.tolist() == ours.tolist()
    assert len(set(ours[0].tolist())) > 5


@pytest.mark.parametrize("name", CONFIGS)
def test_the_config_is_one_that_old_readers_understand(exported: dict[str, Exported], name: str) -> None:
    config, theta = json.loads((exported[name].directory / "config.json").read_text()), CONFIGS[name].rope_theta
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == theta
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert "auto_map" not in config
    # EOS pads; as `pad_token_id` it would freeze EOS's row in fine-tuning.
    theirs = AutoModelForCausalLM.from_pretrained(exported[name].directory)
    assert theirs.model.embed_tokens.padding_idx is None
    assert theirs.generation_config.pad_token_id == exported[name].codec.vocabulary.eos_id


def _swap(first: str, second: str) -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        tensors[first], tensors[second] = tensors[second], tensors[first]

    return mutate


def _order(name: str, order: Callable[[int], list[int]]) -> Callable[[Tensors], None]:
    """Rows of a tensor in another order."""

    def mutate(tensors: Tensors) -> None:
        tensors[name] = tensors[name][order(len(tensors[name]))].contiguous()

    return mutate


def _swapped_rows(first: int, second: int) -> Callable[[int], list[int]]:
    return lambda n: [{first: second, second: first}.get(i, i) for i in range(n)]


def _interleaved(tensors: Tensors) -> None:
    """Queries and keys for the other rotary convention, pairs (2i, 2i + 1): a usual mistake of conversions."""
    order = torch.arange(16).view(2, 8).t().flatten()
    for name in [n for n in tensors if "self_attn" in n and n.split(".")[-2] in ("q_proj", "k_proj")]:
        tensors[name] = tensors[name].view(2, 16, 32)[:, order].reshape(32, 32).contiguous()
    for name in [n for n in tensors if n.endswith(("q_norm.weight", "k_norm.weight"))]:
        tensors[name] = tensors[name][order].contiguous()


def _to(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        tensors[name] = change(tensors[name]).contiguous()

    return mutate


def _drop(name: str) -> Callable[[Tensors], None]:
    def mutate(tensors: Tensors) -> None:
        del tensors[name]

    return mutate


def _bfloat(tensors: Tensors) -> None:
    for name in tensors:
        tensors[name] = tensors[name].bfloat16().float()


def _head_from_embedding(tensors: Tensors) -> None:
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()


def _off_by_one(n: int) -> list[int]:
    return [*range(300), *(300 + (i + 1) % 45 for i in range(45)), *range(345, n)]


def _kv_heads_swapped(tensors: Tensors) -> None:
    for kind in "kv":
        _to(f"{ATTENTION}{kind}_proj.weight", lambda w: w.view(2, 16, 32).flip(0).reshape(32, 32))(tensors)


def _kv_heads_interleaved(tensors: Tensors) -> None:
    """Query heads dealt out to the key heads in turn, instead of in runs."""
    _to(f"{ATTENTION}q_proj.weight", lambda w: w.view(2, 2, 16, 32).transpose(0, 1).reshape(64, 32))(tensors)
    _to(f"{ATTENTION}o_proj.weight", lambda w: w.view(32, 2, 2, 16).transpose(1, 2).reshape(32, 64))(tensors)


MUTANTS: dict[str, tuple[str, Callable[[Tensors], None]]] = {
    "query and key swapped": ("plain", _swap(f"{ATTENTION}q_proj.weight", f"{ATTENTION}k_proj.weight")),
    "key and value swapped": ("grouped", _swap(f"{ATTENTION}k_proj.weight", f"{ATTENTION}v_proj.weight")),
    "gate and up swapped": ("plain", _swap(f"{BLOCK}mlp.gate_proj.weight", f"{BLOCK}mlp.up_proj.weight")),
    "interleaved rotation": ("plain", _interleaved),
    "query norm missing": ("plain", _drop(f"{ATTENTION}q_norm.weight")),
    "key norm of ones": ("grouped", _to(f"{ATTENTION}k_norm.weight", torch.ones_like)),
    "query and key norm swapped": ("plain", _swap(f"{ATTENTION}q_norm.weight", f"{ATTENTION}k_norm.weight")),
    "norms of a block swapped": (
        "plain",
        _swap(f"{BLOCK}input_layernorm.weight", f"{BLOCK}post_attention_layernorm.weight"),
    ),
    "final norm missing": ("grouped", _drop("model.norm.weight")),
    "square projection transposed": ("plain", _to(f"{ATTENTION}o_proj.weight", torch.t)),
    "head tied": ("plain", _head_from_embedding),
    "head missing": ("plain", _drop("lm_head.weight")),
    "head and embedding swapped": ("plain", _swap("lm_head.weight", "model.embed_tokens.weight")),
    "two fact rows swapped": ("plain", _order("model.embed_tokens.weight", _swapped_rows(300, 344))),
    "two fact rows of the head swapped": ("plain", _order("lm_head.weight", _swapped_rows(300, 344))),
    "fact row and base row swapped": ("grouped", _order("model.embed_tokens.weight", _swapped_rows(299, 300))),
    "added ids off by one": ("plain", _order("model.embed_tokens.weight", _off_by_one)),
    "vocabulary truncated": ("plain", _to("lm_head.weight", lambda w: w[:345])),
    "key and value heads swapped": ("grouped", _kv_heads_swapped),
    "key and value heads dealt out in turn": ("grouped", _kv_heads_interleaved),
    "blocks swapped": ("plain", _swap("model.layers.0.mlp.down_proj.weight", f"{BLOCK}mlp.down_proj.weight")),
    "rounded to bfloat16": ("plain", _bfloat),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_of_the_weights_is_caught(exported: dict[str, Exported], tmp_path: Path, mutant: str) -> None:
    name, mutate = MUTANTS[mutant]
    it = exported[name]
    shutil.copytree(it.directory, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    mutate(tensors)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match="rule 6"):
        verify(it.network, it.codec, tmp_path)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain", {"rms_norm_eps": 1e-5}),
        ("plain", {"rms_norm_eps": 1.5e-6}),
        ("plain", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ("plain", {"rope_parameters": {"rope_type": "default", "rope_theta": 10_001.0}}),
        ("plain", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10_000.0}}),
        ("plain", {"tie_word_embeddings": True}),
        ("grouped", {"tie_word_embeddings": False}),
        ("plain", {"head_dim": 8}),
        ("plain", {"head_dim": None}),
        ("grouped", {"num_key_value_heads": 4}),
        ("grouped", {"num_key_value_heads": 1}),
        ("plain", {"hidden_act": "gelu"}),
        ("plain", {"num_hidden_layers": 1, "layer_types": None}),
        ("plain", {"vocab_size": 345}),
        ("plain", {"max_position_embeddings": 48}),
        ("plain", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0, "layer_types": None}),
        ("plain", {"attention_bias": True}),
        ("plain", {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}),
        ("plain", {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}),
        ("plain", {"model_type": "none of them"}),
    ],
)  # fmt: skip
def test_every_mutant_of_the_config_is_caught(
    exported: dict[str, Exported], tmp_path: Path, name: str, changes: dict[str, object]
) -> None:
    it = exported[name]
    shutil.copytree(it.directory, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert set(changes) <= set(config) | {"layer_types"}
    path.write_text(json.dumps(config | changes))
    with pytest.raises(RunError, match="rule 6"):
        verify(it.network, it.codec, tmp_path)


@pytest.mark.parametrize("rows", [340, 345])
def test_a_vocabulary_truncated_everywhere_is_caught(exported: dict[str, Exported], tmp_path: Path, rows: int) -> None:
    it = exported["plain"]
    shutil.copytree(it.directory, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        tensors[name] = tensors[name][:rows].contiguous()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    with pytest.raises(RunError, match="vocabulary"):
        verify(it.network, it.codec, tmp_path)


def test_another_formula_of_the_norm_is_noticed(exported: dict[str, Exported]) -> None:
    """The proof replaces transformers' norm by the same one in float64; it must be the same."""
    theirs = AutoModelForCausalLM.from_pretrained(exported["plain"].directory)
    norm = theirs.model.layers[0].self_attn.q_norm
    norm.forward = lambda x: (1 + norm.weight) * x / x.norm()
    with pytest.raises(RunError, match="another formula"):
        exact(theirs)


@pytest.mark.parametrize("name", CONFIGS)
def test_computed_rows_are_exported_as_rows(name: str, tmp_path: Path) -> None:
    """And proved without a difference, although float64 would compute them more exactly than they were written."""
    codec = make_codec(FactTokens())
    network = randomised(CONFIGS[name], codec.vocabulary.padded_size)
    index = torch.arange(300, 345)

    def composition(rows_in: torch.Tensor, rows_out: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        composed = [rows.index_copy(0, index, torch.tanh(rows[:45] + rows[45:90])) for rows in (rows_in, rows_out)]
        return composed[0], composed[1]

    network.composition = composition
    assert export(network, codec, tmp_path, FormCode.empty(), {})["largest_logit_difference"] < 1e-12
    rows = load_file(tmp_path / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(rows, network.tables()[0])
    assert not torch.equal(rows, network.input_rows)
