"""Parts of `benchmarks/gpu.py`: what follows pretraining does on a GPU what it does on the CPU.

Answers from our decoder, the log-probabilities and gradients that training by reward uses, and the probes of rows in
their contexts, each in float32 on both devices. Training itself is TRL's, which a bare machine lacks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vocablab.model.decoding import Decoder, Request
from vocablab.model.own_network import Follower
from vocablab.posttrain.trees import log_probabilities
from vocablab.probe.attention import attention
from vocablab.probe.causal import causal
from vocablab.probe.composed import composed
from vocablab.probe.lens import lens
from vocablab.probe.measures import Findings
from vocablab.probe.subject import Subject, facts_of
from vocablab.vocab.codec import Codec
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.meaning import token_meanings
from vocablab.vocab.vocabulary import EOS, Vocabulary, bpe_tokenizer, byte_alphabet

SEED = 0
TOLERANCE = 2e-3
"""Largest difference, relative to the norm, that is taken for rounding of float32 products in another order."""
CONTINUOUS = ("mass", "bits", "reciprocal rank", "log", "explained")
"""Metrics that a rounding moves by a rounding; shares of answers may jump where two answers are nearly tied."""


def fact_codec() -> Codec:
    """The 45 products on bytes."""
    rule = FactTokens()
    base = bpe_tokenizer({**byte_alphabet(), EOS: 256}, [])
    return Codec(Vocabulary(base, rule.tokens(), 320), rule)


def model_of(codec: Codec, tiny: bool) -> Any:
    """A GPT-2 of transformers with random weights, large enough to prefer some tokens clearly; small's size or tiny."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(SEED)
    size = {"n_layer": 2, "n_head": 2, "n_embd": 64} if tiny else {"n_layer": 12, "n_head": 12, "n_embd": 768}
    config = GPT2Config(vocab_size=codec.vocabulary.padded_size, n_positions=256, initializer_range=0.1, **size)
    model = GPT2LMHeadModel._from_config(config, attn_implementation="eager", dtype=torch.float32)
    return model.eval()


def check_answers(device: str, tiny: bool) -> dict[str, Any]:
    """Greedy and sampled answers of our decoder, the weights copied from a model on the device, against the CPU's."""
    codec = fact_codec()
    eos = codec.vocabulary.eos_id
    prompts = [[eos, *range(1 + n, 20 + 2 * n)] for n in range(24)]
    found = {}
    for name, temperature in (("greedy", 0.0), ("sampled", 1.0)):
        requests = [Request(p, 24, None, temperature, seed) for seed, p in enumerate(prompts)]
        answers = []
        for where in ("cpu", device):
            reader = Follower(model_of(codec, tiny).to(where)).reader()
            answers.append(Decoder(reader, eos=eos, banned=codec.nameless(320)).answers(requests))
        found[name] = float(np.mean([a.ids == b.ids for a, b in zip(*answers, strict=True)]))
    # A tie within rounding may send one of the answers another way.
    return {**found, "passed": min(found.values()) >= 0.9}


def check_log_probabilities(device: str, tiny: bool) -> dict[str, Any]:
    """Log-probabilities of answers to shared prompts and their gradients."""
    codec = fact_codec()
    generator = torch.Generator().manual_seed(SEED)
    prompts = torch.randint(1, 256, (4, 24), generator=generator).repeat_interleave(4, 0)
    ids = torch.cat([prompts, torch.randint(1, 256, (16, 12), generator=generator)], dim=1)
    mask = torch.ones_like(ids)
    mask[::3, -5:] = 0
    made = []
    for where in ("cpu", device):
        model = model_of(codec, tiny).to(where)
        logs, entropy = log_probabilities(model, ids.to(where), mask.to(where), 12, 1.0)
        (logs.sum() - 0.1 * entropy.sum()).backward()
        slopes = torch.cat([p.grad.flatten() for p in model.parameters()])
        made.append([one.detach().cpu() for one in (logs, entropy, slopes)])
    worst = {
        name: float((a - b).norm() / a.norm())
        for name, a, b in zip(("logs", "entropy", "gradient"), *made, strict=True)
    }
    return {**worst, "passed": max(worst.values()) <= TOLERANCE}


def check_probes(device: str, tiny: bool) -> dict[str, Any]:
    """Measures of the probes that run the network, model on the device and on the CPU."""
    codec = fact_codec()
    every: tuple[Callable[[Subject], Findings], ...] = (attention, lens, causal, composed)
    # A rehearsal needs no more than one that looks inside and one that looks at the end.
    probes = every[:2] if tiny else every
    values = []
    for where in ("cpu", device):
        ids = tuple(codec.vocabulary.added_ids[name] for name in codec.vocabulary.added)
        meanings = token_meanings(codec.vocabulary, codec.intervention)
        subject = Subject("model", model_of(codec, tiny).to(where), codec, ids, meanings, facts_of(codec))
        values.append(
            {
                (m.probe, m.place, m.target, m.metric): m.value
                for probe in probes
                for m in probe(subject).measures
                if any(word in m.metric for word in CONTINUOUS)
            }
        )
    if not values[0] or values[0].keys() != values[1].keys():
        return {"measures": [len(one) for one in values], "passed": False}
    worst = max(abs(values[0][key] - values[1][key]) / max(1.0, abs(values[0][key])) for key in values[0])
    return {"measures": len(values[0]), "worst": worst, "passed": worst <= 10 * TOLERANCE}


CHECKS: dict[str, Callable[[str, bool], dict[str, Any]]] = {
    "answers": check_answers,
    "log-probs": check_log_probabilities,
    "probes": check_probes,
}
"""By name."""
