"""How fast a network is pretrained on this machine's CPU, and how many tokens the modern recipe saves.

    python benchmarks/pretrain.py [--data ../shared/data] [--repeats 3] [--steps 12] [--sizes 1M 10M 50k] [--out FILE]

Speed: vocablab's own `pretrain` on a synthetic shard, against two plain loops over the same batches from the same
weights with the same optimiser: nanoGPT's way of writing GPT-2 (below; float32, op by op, logits for all positions) and
transformers' `GPT2LMHeadModel` with the loss from its labels. Every turn of every contender is a process of its own;
the contenders take turns, and ratios are medians over the turns. A step of ours includes reading the batch, the checks
and the journal. Before any time is believed, the losses of the first steps are compared. Not timed, for anybody:
imports, building, the first steps. Memory is the most that the process ever had resident up to its last step.

A share of the peak is that of model FLOPs (those of `flops_per_token`) in the best matrix product that this machine did
in the same run, in the contender's own number format.

Sample efficiency: the recipe `modern_tiny` with half the tokens of `tiny`, on the same text (OpenStax if the data
directory has it, else generated prose). The data seed is not the one that the recipes were tuned on.
"""

import argparse
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocablab.corpus.build import Arm, build, training_texts
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.shards import DOCUMENT_TYPE, Split, read_split, write_shard
from vocablab.corpus.sources import Files, GeneratedProse
from vocablab.corpus.workers import InProcess
from vocablab.lab.recipes import PRETRAINING
from vocablab.model.gpt2 import GPT2Config
from vocablab.model.hugging_face import to_hugging_face
from vocablab.pretrain.config import Pretraining
from vocablab.pretrain.loop import pretrain
from vocablab.training.budget import Tokens
from vocablab.training.distributed import Ranks
from vocablab.training.optimizer import AdamW
from vocablab.training.precision import resolved
from vocablab.training.schedule import WarmupStableDecay
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.vocabulary import EOS, Vocabulary, bpe_tokenizer, byte_alphabet, padded


@dataclass(frozen=True)
class Size:
    """What is trained in one comparison."""

    model: GPT2Config
    rows: int
    """Of the token table."""
    batch: int
    """Sequences per step."""
    faster: float
    """Goal: times the tokens per second of the eager loop."""
    memory: float | None = None
    """Goal: share of the eager loop's peak memory."""


SIZES = {
    "1M": Size(GPT2Config(n_layer=4, n_head=4, n_embd=80, n_positions=256), 8192, 8, 1.5),
    "10M": Size(GPT2Config(n_layer=6, n_head=5, n_embd=320, n_positions=256), 8192, 8, 2.0),
    "50k": Size(GPT2Config(n_layer=6, n_head=6, n_embd=384, n_positions=512), 50304, 8, 1.6, 0.5),
    "smoke": Size(GPT2Config(n_layer=1, n_head=2, n_embd=32, n_positions=32), 512, 4, 1.0, 1.0),
}
EAGER, TRANSFORMERS, OURS, COMPILED = "eager float32 loop", "transformers GPT-2", "vocablab", "vocablab, compiled"
FLOAT32 = "vocablab, float32"
CONTENDERS = (EAGER, TRANSFORMERS, FLOAT32, OURS, COMPILED)
WARM_UP, COMPARED = 3, 5
"""Steps before the clock counts, and steps whose losses are compared."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}
"""Largest relative difference of those losses from the eager loop's."""
PEAK_SHARE = 0.5
LEARNING_RATE, BETAS, WEIGHT_DECAY, CLIP = 1e-3, (0.9, 0.95), 0.1, 1.0
SEED = 0
TUNED_SEED, REPORTED_SEED = 0, 1
"""Data seeds: the recipes' learning rates were chosen on the first one."""
SAMPLE_TOKENS, SAMPLE_VOCABULARY = 2_048_000, 4096


def plain_codec(rows: int) -> Codec:
    """Bytes and EOS in a table of any size: the ids of a synthetic shard need no text."""
    tokens = {**byte_alphabet(), EOS: 256}
    return Codec(Vocabulary(bpe_tokenizer(tokens, []), (), rows), NoChange())


def write_tokens(directory: Path, number: int, rows: int) -> None:
    """A shard of one document whose tokens are drawn by Zipf's law."""
    weights = 1.0 / np.arange(1, rows + 1)
    tokens = np.random.default_rng(SEED).choice(rows, number, p=weights / weights.sum()).astype(np.uint16)
    documents = np.zeros(1, DOCUMENT_TYPE)
    documents["tokens"], documents["raw_bytes"] = number, 4 * number
    write_shard(directory, 0, tokens, documents)


class NanoBlock(nn.Module):
    """A block as nanoGPT writes it (github.com/karpathy/nanoGPT)."""

    def __init__(self, model: GPT2Config) -> None:
        super().__init__()
        d, self.heads = model.n_embd, model.n_head
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(d, 3 * d), "c_proj": nn.Linear(d, d)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(d, 4 * d), "c_proj": nn.Linear(4 * d, d)})

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.attn["c_attn"](self.ln_1(x)).split(d, dim=2)
        q, k, v = (each.view(b, t, self.heads, d // self.heads).transpose(1, 2) for each in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](y.transpose(1, 2).contiguous().view(b, t, d))
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class NanoGPT(nn.Module):
    """GPT-2 with its loss, logits for all positions at once."""

    def __init__(self, model: GPT2Config, rows: int) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(rows, model.n_embd),
                "wpe": nn.Embedding(model.n_positions, model.n_embd),
                "h": nn.ModuleList([NanoBlock(model) for _ in range(model.n_layer)]),
                "ln_f": nn.LayerNorm(model.n_embd),
            }
        )

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.transformer["wte"](ids) + self.transformer["wpe"](torch.arange(ids.shape[1]))
        for block in self.transformer["h"]:
            x = block(x)
        logits = F.linear(self.transformer["ln_f"](x), self.transformer["wte"].weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class TheirGPT2(nn.Module):
    """transformers' class; its loss over the same targets as everybody's."""

    def __init__(self, size: Size, weights: dict[str, Tensor]) -> None:
        super().__init__()
        import transformers

        model = size.model
        config = transformers.GPT2Config(
            vocab_size=size.rows, n_positions=model.n_positions, n_embd=model.n_embd, n_layer=model.n_layer,
            n_head=model.n_head, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
            bos_token_id=0, eos_token_id=0, attn_implementation="sdpa",
        )  # fmt: skip
        self.network = transformers.GPT2LMHeadModel(config)
        missing, unexpected = self.network.load_state_dict(to_hugging_face(model, weights), strict=False)
        if unexpected or set(missing) - {"lm_head.weight"}:
            raise SystemExit(f"the weights do not fit transformers' GPT-2: {missing}, {unexpected}.")
        self.network.tie_weights()

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        # Its class would shift labels by itself and lose the last target of every window.
        loss: Tensor = self.network(input_ids=ids, labels=targets, shift_labels=targets.contiguous()).loss
        return loss


def plain_loop(module: nn.Module, split: Split, size: Size, steps: int) -> Iterator[float]:
    """What a careful user writes: the loss of each step."""
    parameters = list(module.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, foreach=True)
    module.train()
    context = size.model.n_positions
    for step in range(steps):
        first = step * size.batch
        starts = [(first + i) * context for i in range(size.batch)]
        rows = [split.tokens[s : s + context + 1].astype(np.int64) for s in starts]
        ids = torch.from_numpy(np.stack(rows))
        loss = module(ids[:, :-1], ids[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        yield loss.item()


def turn(name: str, size: Size, steps: int, data: Path) -> dict[str, Any]:
    """One contender trains, in this process: seconds and loss of every step, peak memory."""
    split = read_split(data / "train")
    if name in {EAGER, TRANSFORMERS}:
        weights = size.model.build(size.rows, SEED).state_dict()
        if name == EAGER:
            module: nn.Module = NanoGPT(size.model, size.rows)
            module.load_state_dict(weights)
        else:
            module = TheirGPT2(size, weights)
        del weights
        losses, times = [], [time.perf_counter()]
        for loss in plain_loop(module, split, size, steps):
            losses.append(loss)
            times.append(time.perf_counter())
        peak = peak_memory_mib()
    else:
        losses, times, peak = ours(name, size, steps, data)
    return {"seconds": np.diff(times).tolist(), "losses": losses, "peak_mib": peak}


def ours(name: str, size: Size, steps: int, data: Path) -> tuple[list[float], list[float], float]:
    """`pretrain` as the product calls it; a run this short reports after every step."""
    config = Pretraining(
        # One step more, not timed: the last step validates.
        Tokens((steps + 1) * size.batch * size.model.n_positions),
        batch_size=size.batch,
        optimizer=AdamW(LEARNING_RATE, WEIGHT_DECAY, *BETAS),
        schedule=WarmupStableDecay(0, decay_share=0.0),
        clip=CLIP,
        precision="float32" if name == FLOAT32 else "auto",
        compile="always" if name == COMPILED else "never",
        evaluate_every=1.0,
        checkpoint_seconds=math.inf,
    )
    times, peaks = [time.perf_counter()], []

    def progress(*_: object) -> None:
        times.append(time.perf_counter())
        peaks.append(peak_memory_mib())

    with tempfile.TemporaryDirectory(dir=data) as made:
        directory = Path(made)
        pretrain(
            config, size.model, plain_codec(size.rows), read_split(data / "train"), read_split(data / "validation"),
            SEED, directory, progress, place=Ranks(device="cpu"),
        )  # fmt: skip
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [line["train_nats_per_token"] for line in lines[:steps]], times[: steps + 1], peaks[steps - 1]


def peak_memory_mib() -> float:
    """Most resident memory of this process since it was started."""
    try:
        # On Linux getrusage's number outlives exec: a child starts with the peak of its parent (man 2 getrusage).
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def matmul_peaks(sizes: Iterable[Size]) -> dict[str, float]:
    """FLOP/s of the best matrix product by number format: square ones and those of the models."""
    shapes = {(n, n, n) for n in (1024, 2048)}
    for size in sizes:
        tokens, d = size.batch * size.model.n_positions, size.model.n_embd
        shapes |= {(tokens, d, 4 * d), (tokens, 4 * d, d), (tokens, d, size.rows)}
    found = {}
    for kind in (torch.float32, torch.bfloat16):
        best = 0.0
        for m, k, n in sorted(shapes):
            # Laid out as a linear layer has it.
            a, b = torch.randn(m, k).to(kind), torch.randn(n, k).to(kind)
            out = torch.empty(m, n, dtype=kind)
            torch.mm(a, b.t(), out=out)
            until, fastest = time.perf_counter() + 0.3, math.inf
            while time.perf_counter() < until:
                began = time.perf_counter()
                torch.mm(a, b.t(), out=out)
                fastest = min(fastest, time.perf_counter() - began)
            best = max(best, 2 * m * k * n / fastest)
        found[str(kind).removeprefix("torch.")] = best
    return found


def in_own_process(wanted: dict[str, Any]) -> Any:
    """What `child` answers in a fresh process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", json.dumps(wanted)]
    command += ["--threads", str(torch.get_num_threads())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{wanted} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def child(wanted: dict[str, Any]) -> Any:
    """One turn, or the peaks of the machine."""
    if "peaks" in wanted:
        return matmul_peaks(SIZES[name] for name in wanted["peaks"])
    return turn(wanted["contender"], SIZES[wanted["size"]], wanted["steps"], Path(wanted["data"]))


def number_format(name: str) -> str:
    return resolved("auto", "cpu") if name in {OURS, COMPILED} else "float32"


def check_losses(size: str, turns: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Largest relative difference of each contender's first losses from the eager loop's.

    Raises:
        SystemExit: if they do not train the same model on the same batches.
    """
    found = {}
    expected = turns[EAGER][0]["losses"][:COMPARED]
    for name, made in turns.items():
        for one in made:
            pairs = list(zip(one["losses"][:COMPARED], expected, strict=True))
            worst = max(abs(a - b) / b for a, b in pairs)
            if not worst <= TOLERANCE[number_format(name)]:
                raise SystemExit(f"{size}, {name}: the losses differ from the eager loop's by {worst:.2e}: {pairs}")
            found[name] = max(found.get(name, 0.0), worst)
    return found


def race(size_name: str, steps: int, repeats: int, names: list[str], peaks: dict[str, float]) -> dict[str, Any]:
    """One comparison: every contender in every turn."""
    size = SIZES[size_name]
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="pretrain-") as made:
        data, context = Path(made), size.model.n_positions
        write_tokens(data / "train", (steps + 1) * size.batch * context + 1, size.rows)
        write_tokens(data / "validation", context, size.rows)
        for number in range(repeats):
            # Whoever runs first in a turn is another one each time.
            for name in names[number % len(names) :] + names[: number % len(names)]:
                wanted = {"contender": name, "size": size_name, "steps": steps, "data": str(data)}
                turns[name].append(in_own_process(wanted))
    differences = check_losses(size_name, turns)
    flops = sum(size.model.flops_per_token(size.rows).values())
    rates = {
        name: [size.batch * context / statistics.median(one["seconds"][WARM_UP:]) for one in made]
        for name, made in turns.items()
    }
    rows = {}
    for name, made in turns.items():
        rate, kind = statistics.median(rates[name]), number_format(name)
        rows[name] = {
            "tokens_per_second": rate,
            "ratio": statistics.median(a / b for a, b in zip(rates[name], rates[EAGER], strict=True)),
            "gflops": rate * flops / 1e9,
            "share_of_peak": rate * flops / peaks[kind],
            "precision": kind,
            "peak_mib": statistics.median(one["peak_mib"] for one in made),
            "loss_difference": differences[name],
            "turns": rates[name],
        }
    return {"parameters": size.model.parameters(size.rows), "rows": rows, "losses": turns[EAGER][0]["losses"]}


def print_race(name: str, found: dict[str, Any]) -> None:
    size = SIZES[name]
    print(f"\n{name}: {found['parameters'] / 1e6:.1f}M parameters, {size.rows:,} rows, {size.batch} sequences of "
          f"{size.model.n_positions}")  # fmt: skip
    print(f"{'':<20} {'format':>8} {'tokens/s':>9} {'to eager':>9} {'GFLOP/s':>8} {'of peak':>8} {'MiB':>6} "
          f"{'loss differs':>13}")  # fmt: skip
    for contender, row in found["rows"].items():
        print(f"{contender:<20} {row['precision']:>8} {row['tokens_per_second']:>9,.0f} {row['ratio']:>7.2f} x "
              f"{row['gflops']:>8.0f} {row['share_of_peak']:>8.0%} {row['peak_mib']:>6.0f} "
              f"{row['loss_difference']:>13.1e}")  # fmt: skip


def goals(name: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The goals of a size. A long run is compiled (`compile` auto), so either row of ours may meet them."""
    rows, size = found["rows"], SIZES[name]
    mine = [contender for contender in (OURS, COMPILED) if contender in rows]
    best = max(mine, key=lambda contender: rows[contender]["ratio"])
    made = [_goal(f"{name}: speed of the eager loop", rows[best]["ratio"], size.faster, best, " x")]
    if size.memory is not None:
        shares = {contender: rows[contender]["peak_mib"] / rows[EAGER]["peak_mib"] for contender in mine}
        made.append(_goal(f"{name}: its peak memory", shares[best], -size.memory, best, " x"))
    made.append(_goal(f"{name}: share of peak (an aim)", rows[best]["share_of_peak"], PEAK_SHARE, best, ""))
    return made


def _goal(what: str, value: float, bound: float, by: str, unit: str) -> dict[str, Any]:
    """A negative bound is one from above."""
    met = value <= -bound if bound < 0 else value >= bound
    said = f"{what}: {value:.2f}{unit} of {'at most' if bound < 0 else 'at least'} {abs(bound):g}{unit} ({by})"
    return {"goal": said, "value": value, "met": met}


def sample_corpus(data: Path, tokens: int, seed: int, out: Path) -> tuple[str, Codec, Split, Split]:
    """Text as shards under a vocabulary trained on it."""
    books = data / "openstax"
    if books.exists():
        label, corpus = "OpenStax", Corpus((Files("openstax", str(books)),), 0.02)
    else:
        label, corpus = "generated prose", Corpus((GeneratedProse(tokens // 40, 0.0),), 0.02)
    size = min(SAMPLE_VOCABULARY, 512 if label != "OpenStax" else SAMPLE_VOCABULARY)
    base = TrainedBPE(size).build(islice(training_texts(corpus, None, seed), 300))
    codec = Codec(Vocabulary(base, (), padded(size)), NoChange())
    if label == "OpenStax":
        corpus = replace(corpus, weights=(1.0,), target_tokens=tokens + tokens // 20)
    build(
        corpus, {"arm": Arm(codec, out / "arm")}, out / "work", data=None, seed=seed, engine=InProcess(), leaks=None,
        progress=lambda *_: None,
    )  # fmt: skip
    return label, codec, read_split(out / "arm/train"), read_split(out / "arm/validation")


def sample_efficiency(data: Path, tokens: int, seed: int) -> dict[str, Any]:
    """Validation bits per byte of both recipes."""
    with tempfile.TemporaryDirectory(prefix="pretrain-") as made:
        label, codec, train, validation = sample_corpus(data, tokens, seed, Path(made))
        found: dict[str, Any] = {"text": label, "vocabulary": codec.vocabulary.size, "data_seed": seed}
        for name, amount in (("tiny", tokens), ("modern_tiny", tokens // 2)):
            recipe, directory = PRETRAINING[name](Tokens(amount)), Path(made) / name
            directory.mkdir()
            began = time.perf_counter()
            config = replace(recipe.pretrain, evaluate_every=1.0, max_epochs=2.0, checkpoint_seconds=math.inf)
            counts = pretrain(
                config, recipe.model, codec, train, validation, SEED, directory, lambda *_: None,
                place=Ranks(device="cpu"),
            )  # fmt: skip
            found[name] = {
                "tokens": counts["tokens"],
                "bits_per_byte": counts["final"]["val_bits_per_byte"],
                "parameters": counts["parameters"],
                "seconds": time.perf_counter() - began,
            }
    return found


def print_sample_efficiency(found: dict[str, Any]) -> dict[str, Any]:
    print(f"\nsample efficiency on {found['text']}, {found['vocabulary']} tokens, data seed {found['data_seed']}")
    for name in ("tiny", "modern_tiny"):
        one = found[name]
        print(f"{name:<20} {one['tokens']:>10,} tokens  {one['bits_per_byte']:.4f} bits/byte  "
              f"{one['parameters'] / 1e6:.2f}M parameters  {one['seconds']:.0f} s")  # fmt: skip
    classic, modern = found["tiny"]["bits_per_byte"], found["modern_tiny"]["bits_per_byte"]
    said = f"modern_tiny with half the tokens: {modern:.4f} bits/byte of at most {classic:.4f} (tiny)"
    return {"goal": said, "value": modern - classic, "met": modern <= classic}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data directory")
    parser.add_argument("--repeats", type=int, default=3, help="turns; medians are reported")
    parser.add_argument("--steps", type=int, default=12, help=f"steps of a turn, the first {WARM_UP} not timed")
    parser.add_argument("--sizes", nargs="*", choices=list(SIZES), default=["1M", "10M", "50k"])
    parser.add_argument("--threads", type=int, help="of every contender; 1 on a busy machine, where threads wait")
    parser.add_argument("--skip-compiled", action="store_true", help="leave out the compiled contender")
    parser.add_argument("--skip-sample-efficiency", action="store_true")
    parser.add_argument("--sample-tokens", type=int, default=SAMPLE_TOKENS, help="of the classic recipe")
    parser.add_argument("--data-seed", type=int, default=REPORTED_SEED, help=f"{TUNED_SEED} was used for tuning")
    parser.add_argument("--out", type=Path, help="write everything as JSON here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.child:
        print(json.dumps(child(json.loads(options.child))))
        return
    if options.steps <= max(WARM_UP, COMPARED):
        raise SystemExit(f"--steps: more than {max(WARM_UP, COMPARED)} are needed.")
    names = [name for name in CONTENDERS if not (options.skip_compiled and name == COMPILED)]
    report: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    verdicts = []
    if options.sizes:
        peaks = in_own_process({"peaks": options.sizes})
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; best matrix product: "
              + ", ".join(f"{kind} {value / 1e9:,.0f} GFLOP/s" for kind, value in peaks.items()))  # fmt: skip
        report |= {"peaks": peaks, "sizes": {}}
        for name in options.sizes:
            found = race(name, options.steps, options.repeats, names, peaks)
            print_race(name, found)
            report["sizes"][name] = found
            verdicts += goals(name, found)
    if not options.skip_sample_efficiency:
        report["sample_efficiency"] = sample_efficiency(options.data, options.sample_tokens, options.data_seed)
        verdicts.append(print_sample_efficiency(report["sample_efficiency"]))
    print("\ngoals:")
    for verdict in verdicts:
        print(f"{'met' if verdict['met'] else 'NOT MET':<8} {verdict['goal']}")
    report["goals"] = verdicts
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
