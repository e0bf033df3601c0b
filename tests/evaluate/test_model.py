"""Loading: exported models, foreign ones, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vocablab.base.errors import RunError, UserError
from vocablab.evaluate import model as module
from vocablab.evaluate.generation import Prompt, generate
from vocablab.evaluate.likelihood import score_continuations
from vocablab.evaluate.model import Loaded, load
from vocablab.model.reader import NetworkReader, TransformersReader

TEXTS = ["The answer is 54 apples.", "Grüße <|end|> 九九", "two  spaces\nand a line", "\ud800 lone"]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|end|>"],
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([TEXTS[0]] * 3, trainer)
    return tokenizer


def sentence_piece_like() -> Tokenizer:
    """As Llama 2's: spaces become a visible character, bytes where no piece fits, a token before every text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )  # fmt: skip
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=["<unk>", "<s>", "<|end|>", *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator([t.replace(" ", "▁") for t in TEXTS[:1]] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer


def saved(model: Any, tokenizer: Tokenizer, directory: Path) -> Path:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)) * 0.2)
    model.save_pretrained(directory)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(directory)
    return directory


def gpt2(directory: Path) -> Path:
    return saved(GPT2LMHeadModel(GPT2Config(n_layer=2, n_head=2, n_embd=32, n_positions=64, vocab_size=512,
                                            eos_token_id=0, bos_token_id=0)), byte_level(), directory)  # fmt: skip


def llama(directory: Path) -> Path:
    config = LlamaConfig(
        vocab_size=384, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, eos_token_id=2, bos_token_id=1,
    )  # fmt: skip
    return saved(LlamaForCausalLM(config), sentence_piece_like(), directory)


@pytest.mark.parametrize(("make", "kind"), [(gpt2, NetworkReader), (llama, TransformersReader)])
def test_a_foreign_model_reads_text_as_its_tokenizer_does(make: Any, kind: type, tmp_path: Path) -> None:
    loaded = load(make(tmp_path), "cpu")
    assert isinstance(loaded.reader, kind)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    text = TEXTS[0]
    assert loaded.codec.encode(text).ids.tolist() == tokenizer.encode(text, add_special_tokens=False)
    for text in TEXTS:
        encoded = loaded.codec.encode(text)
        # A special token's name in a text is text (rule 1); a lone surrogate is the one thing that cannot come back.
        assert loaded.codec.vocabulary.eos_id not in encoded.ids
        assert encoded.ends[-1] == len(text)
        assert loaded.codec.decode(encoded.ids) == text.replace("\ud800", "�")
    assert len(loaded.nameless) == loaded.reader.vocabulary - tokenizer.backend_tokenizer.get_vocab_size()
    pairs = [("a", "The answer", " is 54"), ("b", "", "The"), ("c", "Grüße", " 九九")]
    assert all(one.bits > 0 and one.n_tokens > 0 for one in score_continuations(loaded, pairs, 4))
    (answer,) = generate(loaded, [Prompt("a", "The answer")], 8)
    assert not set(answer.ids) & set(loaded.nameless)
    assert "<|end|>" not in loaded.codec.render([*answer.ids, loaded.codec.vocabulary.eos_id])


def test_a_model_that_computes_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = gpt2(tmp_path)
    original = module.own_network

    def wrong(theirs: Any) -> Any:
        network = original(theirs)
        assert network is not None
        with torch.no_grad():
            # The planted fault: one square projection the wrong way round.
            weight = network.blocks[0].attn["c_proj"].weight  # type: ignore[index, union-attr]
            weight.copy_(weight.t().clone())  # type: ignore[union-attr, operator]
        return network

    monkeypatch.setattr(module, "own_network", wrong)
    with pytest.raises(RunError, match="logits differ by"):
        load(directory, "cpu")


def test_a_head_that_caps_its_logits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = llama(tmp_path)
    monkeypatch.setattr(TransformersReader, "scores", lambda self, states: torch.tanh(self._head(states)))
    with pytest.raises(RunError, match="attention or head works otherwise"):
        load(directory, "cpu")


def test_a_context_ends_where_attention_is_no_longer_full(tmp_path: Path) -> None:
    def context(**settings: Any) -> int:
        return module._context(SimpleNamespace(max_position_embeddings=4096, **settings), tmp_path)

    assert context() == context(layer_types=["full_attention"] * 2, sliding_window=512) == 4096
    assert context(sliding_window=512) == context(layer_types=["sliding_attention"], sliding_window=512) == 512
    with pytest.raises(UserError, match="layers of linear_attention"):
        context(layer_types=["full_attention", "linear_attention"])
    with pytest.raises(UserError, match="does not say how many positions"):
        module._context(SimpleNamespace(), tmp_path)


def test_what_does_not_load_is_one_sentence(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UserError, match="does not load"):
        load(tmp_path, "cpu")
    other = gpt2(tmp_path / "no_tokenizer")
    for path in [*other.glob("tokenizer*"), *other.glob("special*")]:
        path.unlink()
    with pytest.raises(UserError, match="the tokenizer of"):
        load(other, "cpu")


def test_an_exported_model_has_its_arms_codec(loaded: Loaded) -> None:
    assert "<MUL_6_9_54>" in loaded.codec.vocabulary.added
    assert loaded.plain.codec.intervention.spans("6 * 9 = 54", "") == []
    assert isinstance(loaded.reader, NetworkReader)
