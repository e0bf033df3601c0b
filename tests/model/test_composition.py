"""Composed rows: made of their parts, trained through them, written out without a change; facts never seen get one."""

import copy
from collections.abc import Iterator

import pytest
import torch
from support.models import make_codec
from support.untied import UntiedConfig, random_ids
from torch.nn import functional as F

from vocablab.base.errors import UserError
from vocablab.model.composition import Composition, materialise, part_tables
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.modern import ModernConfig
from vocablab.model.network import ModelConfig, Network
from vocablab.model.new_rows import ComposedRows, PieceRows, enter_phase, set_new_rows
from vocablab.vocab.codec import Codec
from vocablab.vocab.controls import CounterfactualFacts, ShuffledMeaning
from vocablab.vocab.digits import Chunked, Hybrid
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.interventions import CodeTokens, named_interventions
from vocablab.vocab.meaning import TokenMeaning

SMALL = GPT2Config(n_layer=1, n_head=1, n_embd=16, n_positions=32)
MODERN = ModernConfig(n_layer=1, n_head=2, n_embd=16, n_positions=32)
CONFIGS: tuple[ModelConfig, ...] = (SMALL, UntiedConfig(), MODERN)
FACTS = make_codec(FactTokens())


def composed(config: ModelConfig, codec: Codec, method: ComposedRows, seed: int = 0) -> Network:
    network = config.build(codec.vocabulary.padded_size, seed)
    set_new_rows(network, method, codec.vocabulary, codec.intervention, seed)
    return network


def of(network: Network) -> Composition:
    assert isinstance(network.composition, Composition)
    return network.composition


def loss(network: Network, codec: Codec, seed: int = 0) -> torch.Tensor:
    ids = random_ids(codec.vocabulary.size, (4, 17), seed)
    logits: torch.Tensor = network(ids[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize("config", CONFIGS)
def test_it_registers_and_every_parameter_learns(config: ModelConfig) -> None:
    network = composed(config, FACTS, ComposedRows(width=8))
    names = [name for name, _ in network.named_parameters() if name.startswith("composition.")]
    tables = 1 if config is SMALL else 2
    assert len(names) == 5 * tables
    assert {name.split(".")[1] for name in names} == ({"of_input"} if tables == 1 else {"of_input", "of_output"})
    # Only parameters go into a checkpoint: the indices follow from the vocabulary.
    assert {name for name in network.state_dict() if name.startswith("composition.")} == set(names)
    inputs, outputs = network.tables()
    assert (inputs is outputs) == (tables == 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for step in range(2):  # the last layer starts at 0, so the first layer has a gradient from the second step on
        optimizer.zero_grad(set_to_none=True)
        loss(network, FACTS, step).backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad.abs().sum() > 0 for n, parameter in network.named_parameters() if n in names)  # type: ignore[union-attr]
    base, size = FACTS.vocabulary.base_size, FACTS.vocabulary.size
    assert network.input_rows.grad is not None
    assert not network.input_rows.grad[base:size].any()


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_start_as_the_mean_of_their_parts(config: ModelConfig) -> None:
    network = composed(config, FACTS, ComposedRows(width=8))
    for table, rows in zip(network.tables(), (network.input_rows, network.output_rows), strict=True):
        parts = [rows[FACTS.vocabulary.encode_plain(part).ids.tolist()].mean(0) for part in ("6", "9", "54")]
        found = table[FACTS.vocabulary.added_ids["<MUL_6_9_54>"]]
        torch.testing.assert_close(found, torch.stack(parts).mean(0))


def test_streams() -> None:
    """Named streams: the same under the same seed, whatever else is drawn; another under another."""
    one, two, other = (composed(UntiedConfig(), FACTS, ComposedRows(width=8), seed) for seed in (0, 0, 1))
    for (name, a), b, c in zip(of(one).named_parameters(), of(two).parameters(), of(other).parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c) == (name.endswith(".bias") or ".out." in name)
    assert not torch.equal(of(one).of_input.hidden.weight, of(one).of_output.hidden.weight)  # type: ignore[union-attr]
    # The counterfactual arm differs in the planted answers alone: the same parts, the same composition.
    wrong = composed(UntiedConfig(), make_codec(CounterfactualFacts()), ComposedRows(width=8))
    assert all(torch.equal(a, b) for a, b in zip(of(one).parameters(), of(wrong).parameters(), strict=True))


def test_gradients_reach_the_parts_unless_told_not_to() -> None:
    for into_parts in (True, False):
        network = composed(SMALL, FACTS, ComposedRows(width=8, into_parts=into_parts))
        token = FACTS.vocabulary.added_ids["<MUL_6_9_54>"]
        network.tables()[0][token].sum().backward()
        six = int(FACTS.vocabulary.encode_plain("6").ids[0])
        if into_parts:
            assert network.input_rows.grad is not None
            assert network.input_rows.grad[six].any()
        else:
            assert network.input_rows.grad is None or not network.input_rows.grad.any()


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    "rule", [FactTokens(), FactTokens(mode="operands"), Hybrid(ShuffledMeaning(), CodeTokens(("os.path(",)))]
)
def test_materialising_changes_no_logit(config: ModelConfig, rule: FactTokens) -> None:
    codec = make_codec(rule)
    network = composed(config, codec, ComposedRows(width=8))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    for step in range(3):
        optimizer.zero_grad()
        loss(network, codec, step).backward()
        optimizer.step()
    before = copy.deepcopy(network)
    materialise(network)
    assert network.composition is None
    assert not [name for name, _ in network.named_parameters() if name.startswith("composition.")]
    ids = random_ids(codec.vocabulary.size, (2, 16))
    assert torch.equal(network(ids), before(ids))
    kept = [*range(codec.vocabulary.base_size), *range(codec.vocabulary.size, codec.vocabulary.padded_size)]
    assert torch.equal(network.input_rows[kept], before.input_rows[kept])
    # Tokens that say nothing keep their free rows, which training moved.
    if isinstance(rule, Hybrid):
        sham = codec.vocabulary.added_ids["<SHAM_00>"]
        assert torch.equal(network.input_rows[sham], before.input_rows[sham])
        assert network.input_rows.grad is not None
        assert network.input_rows.grad[codec.vocabulary.base_size : codec.vocabulary.size - 1].any()
    materialise(network)
    composition_free = config.network(codec.vocabulary.padded_size)
    composition_free.load_state_dict(network.state_dict(), strict=True)


@pytest.mark.parametrize("config", CONFIGS)
def test_it_compiles_whole(config: ModelConfig) -> None:
    network = composed(config, FACTS, ComposedRows(width=8))
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    ids = random_ids(FACTS.vocabulary.size, (2, 8))
    torch.testing.assert_close(compiled(ids), network(ids))


def test_composed_rows_are_float32_where_blocks_are_not() -> None:
    network = composed(SMALL, FACTS, ComposedRows(width=8))
    with torch.no_grad():
        of(network).of_input.out.weight.normal_()
        plain = network.tables()[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(network.tables()[0], plain)
        torch.testing.assert_close(plain.double(), copy.deepcopy(network).double().tables()[0], rtol=0, atol=1e-5)


def test_an_empty_place_holds_no_token() -> None:
    """Where a part has fewer pieces than others, the index says 0; the row of token 0 must not count."""
    network = composed(SMALL, FACTS, ComposedRows(width=8))
    assert not (of(network).pieces_NPL[of(network).weights_NPL > 0] == 0).any()
    new = slice(FACTS.vocabulary.base_size, FACTS.vocabulary.size)
    with torch.no_grad():
        of(network).of_input.out.weight.normal_()
        before = network.tables()[0][new].clone()
        network.input_rows[0] += 1
        assert torch.equal(network.tables()[0][new], before)
        network.input_rows[int(FACTS.vocabulary.encode_plain("1").ids[0])] += 1
        assert not torch.equal(network.tables()[0][new], before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For many small products: threads would wait for one another, for minutes on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_fact_never_trained_gets_a_row() -> None:
    """Rows have a planted structure: operands add up, and the sum is bent. Every seventh fact is held out."""
    codec = FACTS
    network = composed(UntiedConfig(n_embd=32), codec, ComposedRows(width=64))
    composition = of(network)
    generator = torch.Generator().manual_seed(5)
    base, size = codec.vocabulary.base_size, codec.vocabulary.size
    digits = 0.02 * torch.randn(10, 32, generator=generator)
    facts = [tuple(map(int, name[5:-1].split("_"))) for name in codec.vocabulary.added]
    target = torch.stack([torch.tanh(20 * (digits[a] + digits[b])) * 0.02 + digits[c % 10] for a, b, c in facts])
    held_out = torch.arange(len(facts)) % 7 == 3
    optimizer = torch.optim.Adam(composition.of_input.parameters(), lr=3e-3)
    for _ in range(250):
        rows = composition(network.input_rows.detach(), network.output_rows.detach())[0][base:size]
        error = (rows - target)[~held_out].square().mean() * 1e4
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    rows = network.tables()[0].detach()[base:size]
    random = network.input_rows.detach()[:45]

    def distance(found: torch.Tensor) -> float:
        return float((found - target)[held_out].norm(dim=1).mean())

    assert distance(rows) < 0.5 * distance(random)
    assert distance(rows) < 0.7 * distance(target[~held_out].mean(0).expand_as(target))
    # And most are closer to their own target than to that of any other held-out fact.
    nearest = torch.cdist(rows[held_out], target[held_out]).argmin(1)
    assert (nearest == torch.arange(len(nearest))).float().mean() > 0.6


def test_phases() -> None:
    method = ComposedRows(width=8, mode="first", first_share=0.25)
    assert [method.phase(step, 8) for step in range(4)] == ["composition", "composition", "all", "all"]
    assert {ComposedRows().phase(step, 8) for step in range(8)} == {"all"}
    assert method.phase(0, 1) == "all"
    assert method.phase(0, 2) == "composition"
    assert ComposedRows(mode="first", first_share=0.999).phase(1, 2) == "all"
    network = composed(SMALL, FACTS, method)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.1)
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    changes = []
    for step in range(8):
        changes.append(enter_phase(network, method, step, 8))
        optimizer.zero_grad(set_to_none=True)
        loss(network, FACTS, step).backward()
        optimizer.step()
        now = dict(network.named_parameters())
        moved = {name for name, parameter in now.items() if not torch.equal(parameter, start[name])}
        if step < 2:
            assert moved
            assert all(name.startswith("composition.") for name in moved)
        else:
            assert network.composition is None
            assert moved == set(now)
    assert changes == [True, False, True, False, False, False, False, False]
    # A resume in the second phase: the fresh network becomes one without a composition, all of it trained.
    resumed = composed(SMALL, FACTS, method)
    assert enter_phase(resumed, method, 5, 8)
    resumed.load_state_dict(network.state_dict(), strict=True)
    assert all(parameter.requires_grad for parameter in resumed.parameters())


def test_other_methods_and_arms_without_meaning_have_one_phase() -> None:
    first = ComposedRows(mode="first")
    sham = make_codec(ShuffledMeaning())
    for network, method in (
        (composed(SMALL, sham, first), first),
        (composed(SMALL, FACTS, ComposedRows()), PieceRows()),
    ):
        assert not enter_phase(network, method, 0, 10)
        assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", sorted(named_interventions()))
def test_no_two_tokens_share_a_row(name: str) -> None:
    rule = named_interventions()[name]
    if name == "mul_facts_99":
        return  # 4,950 tokens: the same family as mul_facts_12
    codec = make_codec(rule)
    network = composed(SMALL, codec, ComposedRows(width=8))
    if network.composition is None:
        return
    with torch.no_grad():
        of(network).of_input.out.weight.normal_(generator=torch.Generator().manual_seed(0))
    rows = network.tables()[0].detach()[codec.vocabulary.base_size : codec.vocabulary.size]
    assert rows.isfinite().all()
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)


def test_tokens_with_the_same_parts_are_refused() -> None:
    codec = make_codec(Chunked(2))
    meanings = [TokenMeaning(f"<N_{text}>", "A", ("4", "5"), text) for text in ("45", "54")]
    with pytest.raises(UserError, match="<N_45> and <N_54> both say '4 5'"):
        part_tables(codec.vocabulary, meanings)
    # Said as a question and as a statement they are two.
    two = [TokenMeaning("<N_45>", "A", ("4", "5"), "45"), TokenMeaning("<N_54>", "B", ("4", "5"), "54")]
    tables = part_tables(codec.vocabulary, two)
    assert tables is not None
    assert tables.relations == 2
