"""Rows of added tokens: only they change, the same for the same seed; what they do at step 0; from a checkpoint."""

import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_codec
from support.untied import Untied, UntiedConfig, random_ids

from vocablab.base.config import fingerprint, from_json, to_json
from vocablab.base.errors import UserError
from vocablab.facts.families import Multiplication
from vocablab.model.continuing import load_into, resize
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig, Network
from vocablab.model.new_rows import (
    ComposedRows,
    MeanRows,
    NewRows,
    PieceRows,
    RandomRows,
    set_new_rows,
    standard_deviation,
)
from vocablab.model.step0 import step_zero
from vocablab.vocab.codec import Codec
from vocablab.vocab.controls import PauseToken, ShuffledMeaning
from vocablab.vocab.digits import Hybrid
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.interventions import CodeTokens, named_interventions
from vocablab.vocab.meaning import TokenMeaning, token_meanings
from vocablab.vocab.vocabulary import Vocabulary

SMALL = GPT2Config(n_layer=1, n_head=1, n_embd=16, n_positions=32)
MODERN = ModernConfig(n_layer=1, n_head=2, n_embd=16, n_positions=32)
CONFIGS: tuple[ModelConfig, ...] = (SMALL, UntiedConfig(), MODERN)
METHODS: tuple[NewRows, ...] = (RandomRows(), MeanRows(), MeanRows(noise=0.1), PieceRows(), ComposedRows(width=8))
INTERVENTIONS = {
    **{name: rule for name, rule in named_interventions().items() if name != "mul_facts_99"},
    "mul_facts_99": FactTokens(Multiplication(90, 99)),
    "code": CodeTokens(("np.zeros(", "def main():")),
    "hybrid_sham": Hybrid(ShuffledMeaning(), CodeTokens(("os.path(",))),
}
NAMES = st.sampled_from(sorted(INTERVENTIONS))
CODECS = {name: make_codec(rule) for name, rule in INTERVENTIONS.items()}


def bits(network: Network) -> dict[str, torch.Tensor]:
    """All parameters as integers, composition left out, so that -0.0 and NaN count."""
    named = network.named_parameters()
    return {n: p.detach().clone().view(torch.int32) for n, p in named if not n.startswith("composition.")}


def require_only_new_rows_changed(network: Network, before: dict[str, torch.Tensor], vocabulary: Vocabulary) -> None:
    after = bits(network)
    assert after.keys() == before.keys()
    for name, parameter in network.named_parameters():
        if name not in after:
            continue
        changed = after[name] != before[name]
        if parameter is network.input_rows or parameter is network.output_rows:
            assert not changed[: vocabulary.base_size].any(), f"{name}: a base row changed"
            assert not changed[vocabulary.size :].any(), f"{name}: a padding row changed"
        else:
            assert not changed.any(), name


def built(config: ModelConfig, codec: Codec, method: NewRows, seed: int) -> Network:
    network = config.build(codec.vocabulary.padded_size, seed)
    set_new_rows(network, method, codec.vocabulary, codec.intervention, seed)
    return network


def new_rows(network: Network, codec: Codec) -> torch.Tensor:
    """Both tables' new rows, shape (2, N, D)."""
    with torch.no_grad():
        return torch.stack([t[codec.vocabulary.base_size : codec.vocabulary.size] for t in network.tables()])


@settings(max_examples=60, deadline=None)
@given(NAMES, st.sampled_from(METHODS), st.sampled_from(CONFIGS), st.integers(0, 3), st.booleans())
def test_only_new_rows_change(name: str, method: NewRows, config: ModelConfig, seed: int, trained: bool) -> None:
    codec = CODECS[name]
    network = config.build(codec.vocabulary.padded_size, seed)
    before = bits(network)
    set_new_rows(network, method, codec.vocabulary, codec.intervention, seed, trained=trained)
    require_only_new_rows_changed(network, before, codec.vocabulary)
    with torch.no_grad():
        for table, parameter in zip(network.tables(), (network.input_rows, network.output_rows), strict=True):
            base = codec.vocabulary.base_size
            assert torch.equal(table[:base].view(torch.int32), parameter[:base].view(torch.int32))
            assert table.isfinite().all()
    again = config.build(codec.vocabulary.padded_size, seed)
    set_new_rows(again, method, codec.vocabulary, codec.intervention, seed, trained=trained)
    assert torch.equal(new_rows(network, codec), new_rows(again, codec))
    # Again on the same network: nothing depends on what is there.
    set_new_rows(again, method, codec.vocabulary, codec.intervention, seed, trained=trained)
    assert torch.equal(new_rows(network, codec), new_rows(again, codec))


@settings(max_examples=25, deadline=None)
@given(NAMES, NAMES, st.sampled_from(METHODS), st.sampled_from(METHODS), st.sampled_from(CONFIGS), st.integers(0, 3))
def test_arms_share_every_other_bit(
    one: str, two: str, method: NewRows, other: NewRows, config: ModelConfig, seed: int
) -> None:
    size = max(CODECS[one].vocabulary.padded_size, CODECS[two].vocabulary.padded_size)
    networks = []
    for name, how in ((one, method), (two, other)):
        vocabulary = replace(CODECS[name].vocabulary, padded_size=size)
        networks.append(built(config, Codec(vocabulary, INTERVENTIONS[name]), how, seed))
    named = [bits(network) for network in networks]
    base = CODECS[one].vocabulary.base_size
    for key, value in named[0].items():
        rows = base if value.shape[0] == size else len(value)
        assert torch.equal(value[:rows], named[1][key][:rows])


@pytest.mark.parametrize("shift", [-1, 1])
@pytest.mark.parametrize("method", METHODS)
def test_an_off_by_one_is_seen(method: NewRows, shift: int) -> None:
    codec = make_codec(FactTokens())

    class Shifted(Vocabulary):
        @property
        def base_size(self) -> int:
            return int(self.base.get_vocab_size()) + shift

    network = UntiedConfig().build(codec.vocabulary.padded_size, 0)
    before = bits(network)
    vocabulary = codec.vocabulary
    wrong = Shifted(vocabulary.base, vocabulary.added, vocabulary.padded_size)
    set_new_rows(network, method, wrong, codec.intervention, 1)  # another seed, or drawn rows were drawn again
    with pytest.raises(AssertionError, match="row changed"):
        require_only_new_rows_changed(network, before, vocabulary)


def test_seeds_and_methods() -> None:
    codec = make_codec(FactTokens())
    network = SMALL.build(codec.vocabulary.padded_size, 3)
    before = bits(network)
    set_new_rows(network, RandomRows(), codec.vocabulary, codec.intervention, 3)
    # From scratch random rows are the ones that `initialise` drew.
    assert all(torch.equal(before[name], after) for name, after in bits(network).items())
    three, four = (new_rows(built(SMALL, codec, RandomRows(), seed), codec) for seed in (3, 4))
    assert not (three == four).any()

    table = network.input_rows.detach()[: codec.vocabulary.base_size]
    mean = new_rows(built(SMALL, codec, MeanRows(), 3), codec)[0]
    torch.testing.assert_close(mean, table.mean(0).expand_as(mean), rtol=1e-5, atol=1e-8)
    noisy = new_rows(built(SMALL, codec, MeanRows(noise=0.5), 3), codec)[0]
    torch.testing.assert_close(noisy - mean, 0.5 * three[0])

    pieces = new_rows(built(SMALL, codec, PieceRows(), 3), codec)[0]
    index = codec.vocabulary.added.index("<MUL_6_9_54>")
    ids = codec.vocabulary.encode_plain("6 * 9 = 54").ids.tolist()
    torch.testing.assert_close(pieces[index], table[ids].mean(0))
    # All differ but 3 * 8 = 24 and 4 * 8 = 32, which have the same pieces in a vocabulary of single digits.
    assert len({tuple(row.tolist()) for row in pieces}) == 44


def test_each_table_has_its_own_rows() -> None:
    codec = make_codec(FactTokens())
    for method in METHODS:
        network = built(UntiedConfig(), codec, method, 0)
        inputs, outputs = new_rows(network, codec)
        assert not torch.equal(inputs, outputs)
        tied = new_rows(built(SMALL, codec, method, 0), codec)
        assert torch.equal(tied[0], tied[1])
        if isinstance(method, PieceRows):
            ids = codec.vocabulary.encode_plain("1 * 1 = 1").ids.tolist()
            torch.testing.assert_close(outputs[0], network.output_rows.detach()[ids].mean(0))


@pytest.mark.parametrize("rule", [ShuffledMeaning(), PauseToken(), named_interventions()["widened"]])
def test_a_token_that_says_nothing_starts_at_the_mean(rule: PauseToken) -> None:
    codec = make_codec(rule)
    assert all(m.parts == () and m.text == "" for m in token_meanings(codec.vocabulary, codec.intervention))
    for method in (PieceRows(), ComposedRows()):
        network = built(SMALL, codec, method, 0)
        assert network.composition is None
        rows = new_rows(network, codec)
        assert rows.isfinite().all()
        assert torch.equal(rows, new_rows(built(SMALL, codec, MeanRows(), 0), codec))


EXPECTED = {
    "mul_facts": ("<MUL_6_9_54>", "MUL", ("6", "9", "54"), "6 * 9 = 54"),
    "mul_facts_ordered": ("<MUL_9_6_54>", "MUL", ("9", "6", "54"), "9 * 6 = 54"),
    "mul_facts_annotate": ("<MUL_6_9_54>", "MUL", ("6", "9", "54"), "6 * 9 = 54"),
    "mul_facts_operands": ("<MUL_6_9>", "MUL?", ("6", "9"), "6 * 9"),
    "sub_facts": ("<SUB_15_6_9>", "SUB", ("15", "6", "9"), "15 - 6 = 9"),
    "square_facts": ("<SQUARE_5_25>", "SQUARE", ("5", "25"), "5^2 = 25"),
    "circle_facts": ("<AREA_CIRCLE_5_25>", "AREA_CIRCLE", ("5", "25"), "π * 5^2 = 25π"),
    "rhyme": ("<RHYME_6_9_54>", "MUL", ("6", "9", "54"), "6×9=54"),
    "digits": ("[5:ten_thousands]", "DigitTokens", ("5", "ten thousands"), "5"),
    "chunked_left": ("<N_054>", "Chunked", ("0", "5", "4"), "054"),
    "counterfactual": ("<MUL_6_9_56>", "MUL", ("6", "9", "56"), "6 * 9 = 56"),
    "code": ("<CODE_0_np.zeros>", "CodeTokens", ("np.zeros(",), "np.zeros("),
    "sham": ("<SHAM_00>", "ShuffledMeaning", (), ""),
    "pause": ("<PAUSE>", "PauseToken", (), ""),
    "widened": ("<UNUSED_00>", "WidenedModel", (), ""),
}


@pytest.mark.parametrize("name", sorted(INTERVENTIONS))
def test_every_intervention_has_meanings(name: str) -> None:
    codec = CODECS[name]
    meanings = token_meanings(codec.vocabulary, codec.intervention)
    assert tuple(m.name for m in meanings) == codec.intervention.tokens()
    assert all(m.text == codec.intervention.neutral(m.name) for m in meanings)
    assert all(all(m.parts) and bool(m.parts) == bool(m.text) for m in meanings)
    spoken = [m for m in meanings if m.parts]
    assert len({(m.relation, m.parts) for m in spoken}) == len(spoken)
    if name in EXPECTED:
        assert TokenMeaning(*EXPECTED[name]) in meanings


def test_a_hybrid_says_what_its_parts_say() -> None:
    codec = CODECS["hybrid"]
    by_name = {m.name: m for m in token_meanings(codec.vocabulary, codec.intervention)}
    assert by_name["<MUL_6_9_54>"].parts == ("6", "9", "54")
    assert by_name["[5:tens]"].parts == ("5", "tens")


def test_vocabulary_and_intervention_must_fit() -> None:
    codec = make_codec(FactTokens())
    turned = Vocabulary(codec.vocabulary.base, codec.vocabulary.added[::-1], codec.vocabulary.padded_size)
    for vocabulary in (turned, make_codec(FactTokens(ordered=True)).vocabulary):
        with pytest.raises(UserError, match="another token's meaning"):
            token_meanings(vocabulary, codec.intervention)
    with pytest.raises(UserError, match="rows"):
        set_new_rows(
            SMALL.build(codec.vocabulary.padded_size + 1, 0), MeanRows(), codec.vocabulary, codec.intervention, 0
        )


def test_configs_are_json() -> None:
    for method in METHODS:
        assert from_json(NewRows, json.loads(json.dumps(to_json(method)))) == method
    assert len({fingerprint(method) for method in METHODS}) == len(METHODS)
    faults: list[Callable[[], NewRows]] = [
        lambda: MeanRows(noise=-1.0),
        lambda: MeanRows(noise=math.nan),
        lambda: ComposedRows(width=0),
        lambda: ComposedRows(mode="second"),
        lambda: ComposedRows(first_share=1.0),
    ]
    for fault in faults:
        with pytest.raises(UserError, match=r"Rows\."):
            fault()


def test_step_zero_by_hand() -> None:
    codec = make_codec(PauseToken())
    base = codec.vocabulary.base_size
    before, after = (UntiedConfig().build(codec.vocabulary.padded_size, 0) for _ in range(2))
    with torch.no_grad():
        for network in (before, after):
            network.input_rows.fill_(1.0)
            network.output_rows.zero_()
        # Every base logit is 0; the new one is log(base), so it takes half of the mass: one bit.
        after.output_rows[base] = math.log(base) / 16
        # Padding is no part of the normaliser of tokens; of a softmax over all rows it is two thirds.
        padding = codec.vocabulary.padded_size - base - 1
        after.output_rows[base + 1 :] = math.log(4 * base / padding) / 16
    found = step_zero(before, after, random_ids(base, (2, 5)), codec.vocabulary)
    assert found.positions == 10
    assert found.kl_bits == pytest.approx(1.0, abs=1e-5)
    assert found.new_mass == pytest.approx(0.5, abs=1e-6)
    assert found.padding_mass == pytest.approx(2 / 3, abs=1e-6)
    with pytest.raises(ValueError, match="base tokens"):
        step_zero(before, after, torch.tensor([[base]]), codec.vocabulary)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["mul_facts", "digits", "pause", "control"]), st.sampled_from(METHODS), st.integers(0, 3))
def test_lost_mass_is_the_divergence(name: str, method: NewRows, seed: int) -> None:
    codec = CODECS[name]
    before = UntiedConfig().build(codec.vocabulary.padded_size, seed)
    after = built(UntiedConfig(), codec, method, seed)
    # One position, where the mean of logarithms is the logarithm of the mean.
    found = step_zero(before, after, random_ids(300, (1, 1), seed), codec.vocabulary)
    assert found.kl_bits == pytest.approx(-math.log2(1 - found.new_mass), abs=1e-6)
    new, base = len(codec.vocabulary.added), codec.vocabulary.base_size
    if method == MeanRows():
        assert found.new_mass <= new / (new + base) + 1e-9  # Hewitt's bound


def checkpoint(rows: int = 320) -> tuple[Untied, dict[str, torch.Tensor]]:
    """A trained network with 300 tokens and padding, whose logits are all far below 0, as GPT-2's are."""
    old = UntiedConfig().network(rows)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        old.input_rows.copy_(1 + 0.3 * torch.randn(old.input_rows.shape, generator=generator))
        old.output_rows.copy_(-3 + 0.3 * torch.randn(old.output_rows.shape, generator=generator))
    return old, {name: value.clone() for name, value in old.state_dict().items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mul_facts", "hybrid", "sham", "control"])
def test_a_checkpoint_keeps_its_rows(method: NewRows, name: str) -> None:
    codec, (old, state) = CODECS[name], checkpoint()
    network = UntiedConfig().network(codec.vocabulary.padded_size)
    load_into(network, state, 300, method, codec.vocabulary, codec.intervention, 0)
    for table, before in zip(network.tables(), (old.input_rows, old.output_rows), strict=True):
        assert torch.equal(table[:300].view(torch.int32), before[:300].view(torch.int32))
        padding = table[codec.vocabulary.size :]
        torch.testing.assert_close(padding, before[:300].mean(0).expand_as(padding))
    found = step_zero(old, network, random_ids(300, (2, 8)), codec.vocabulary)
    if name == "control":
        assert found.kl_bits == pytest.approx(0, abs=1e-9)
    elif isinstance(method, RandomRows):
        assert found.new_mass > 0.99  # what Hewitt warns of, and what this table exists to show
    elif not isinstance(method, MeanRows) or method.noise == 0:
        assert found.new_mass < 0.5
    # Were padding rows zeros, they would take it all.
    assert found.padding_mass < 0.5


def test_random_rows_of_a_checkpoint_have_its_scale() -> None:
    codec, (old, state) = CODECS["mul_facts"], checkpoint()
    network = UntiedConfig().network(codec.vocabulary.padded_size)
    rows = {}
    for seed in (0, 1):
        load_into(network, state, 300, RandomRows(), codec.vocabulary, codec.intervention, seed)
        rows[seed] = new_rows(network, codec)
    assert not torch.equal(rows[0], rows[1])
    for table, before in zip(rows[0], (old.input_rows, old.output_rows), strict=True):
        wanted = standard_deviation(before.detach()[:300])
        assert standard_deviation(table) == pytest.approx(wanted, rel=0.15)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 9), st.sampled_from([torch.float32, torch.bfloat16]))
def test_resize(tokens: int, old_padding: int, more: int, dtype: torch.dtype) -> None:
    old = torch.randn(tokens + old_padding, 4, generator=torch.Generator().manual_seed(tokens)).to(dtype)
    new = resize(old, tokens, tokens + more)
    assert new.shape == (tokens + more, 4)
    assert new.dtype == dtype
    assert torch.equal(new[:tokens], old[:tokens])
    torch.testing.assert_close(new[tokens:], old[:tokens].mean(0).expand(more, -1), rtol=1e-2, atol=1e-2)
    with pytest.raises(UserError, match="cannot become"):
        resize(old, tokens, tokens - 1)
    with pytest.raises(UserError, match="cannot become"):
        resize(old, len(old) + 1, len(old) + 9)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_parameter_comes_from_the_checkpoint(config: ModelConfig) -> None:
    codec = CODECS["mul_facts"]
    state = config.build(320, 5).state_dict()
    network = built(config, codec, ComposedRows(), 1)
    load_into(network, state, 300, PieceRows(), codec.vocabulary, codec.intervention, 1)
    for name, value in network.state_dict().items():
        assert torch.equal(value[:300], state[name][:300])


def test_a_checkpoint_of_another_kind_is_refused() -> None:
    codec = CODECS["mul_facts"]
    state = {k: v.clone() for k, v in SMALL.build(320, 0).state_dict().items()}
    wte, wpe = state["transformer.wte.weight"], state["transformer.wpe.weight"]
    cases: list[tuple[str, dict[str, torch.Tensor], int]] = [
        ("301 tokens", state, 301),
        ("64 positions, n_positions is 32", state | {"transformer.wpe.weight": wpe.repeat(2, 1)}, 300),
        ("16 positions, n_positions is 32", state | {"transformer.wpe.weight": wpe[:16]}, 300),
        ("cannot become", state | {"transformer.wte.weight": wte[:299]}, 300),
        ("wte.weight has shape", state | {"transformer.wte.weight": wte[:, :8]}, 300),
        ("lacks tensor transformer.wpe", {k: v for k, v in state.items() if "wpe" not in k}, 300),
        ("unknown tensor transformer.h.1", state | {"transformer.h.1.x": wpe}, 300),
    ]
    network = SMALL.build(codec.vocabulary.padded_size, 1)
    before = bits(network)
    for message, faulty, size in cases:
        with pytest.raises(UserError, match=message):
            load_into(network, faulty, size, MeanRows(), codec.vocabulary, codec.intervention, 0)
        assert all(torch.equal(before[name], after) for name, after in bits(network).items())
    half = {name: value.to(torch.float16) for name, value in state.items()}
    load_into(network, half, 300, PieceRows(), codec.vocabulary, codec.intervention, 0)
    assert torch.equal(network.input_rows.detach()[:300], half["transformer.wte.weight"][:300].float())
