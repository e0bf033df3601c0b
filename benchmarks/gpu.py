"""One command for a GPU: checks the training step there, times it, and compares its losses with float32.

    python benchmarks/gpu.py [--device cuda] [--minutes 9] [--out gpu.json]

Needs torch, transformers, safetensors, pyarrow, scipy and numpy, no network, no data, and vocablab need not be
installed. Goals on one H200: 489k tokens/s with GPT-2's 124M at a context of 1,024, 170k with 350M.

1. On the device: the chunked cross entropy against the plain one, a killed and resumed run against one that was not,
   and DDP and FSDP2 of one rank under torchrun against neither. Answers, the log-probabilities of training by reward,
   and probes against the CPU's (`gpu_models.py`).
2. Per model: the losses of 20 steps of `pretrain` as it runs on a GPU (compiled, bfloat16, chunked loss) against a
   loop in float32, op by op, with the plain loss. Modern models take Muon's steps in both.
3. Per model and micro-batch: tokens/s of `pretrain` with the recipe's batch, model FLOPs utilisation, peak memory.

What does not fit into the minutes is left out and said. `--device cpu --tiny` is a rehearsal of every part.
"""

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import torch
import torch.distributed as dist
from gpu_models import CHECKS
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from vocablab.corpus.shards import DOCUMENT_TYPE, Split, read_split, write_shard
from vocablab.model.gpt2 import GPT2_124M, GPT2_350M, GPT2Config
from vocablab.model.modern import MODERN_124M, ModernConfig
from vocablab.model.network import ModelConfig
from vocablab.pretrain.config import Pretraining
from vocablab.pretrain.loop import pretrain
from vocablab.pretrain.next_token import NextToken
from vocablab.training.budget import Tokens
from vocablab.training.distributed import Ranks, ranks, whole
from vocablab.training.loss import cross_entropy, plain_cross_entropy
from vocablab.training.optimizer import AdamW, MuonAdamW, Optimizer, set_learning_rates
from vocablab.training.precision import autocast
from vocablab.training.schedule import WarmupStableDecay
from vocablab.training.throughput import peak_memory_bytes, utilisation
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.vocabulary import EOS, Vocabulary, bpe_tokenizer, byte_alphabet

SEED = 0
CLIP = 1.0
TOLERANCE = {"bfloat16": 2e-2, "float32": 1e-3}
"""Largest relative difference that is taken for rounding."""


@dataclass(frozen=True)
class Case:
    """A model with what steps it, as `vocablab.lab.recipes` has them (that module needs more than a bare machine)."""

    model: ModelConfig
    optimizer: Optimizer
    micro_batches: tuple[int, ...]
    """The recipe's first."""
    goal: float | None = None
    """Tokens per second on one H200."""


CASES = {
    "gpt2_124m": Case(GPT2_124M, AdamW(6e-4), (32, 64, 16), 489e3),
    "gpt2_350m": Case(GPT2_350M, AdamW(3e-4), (16, 32, 8), 170e3),
    "modern_124m": Case(
        MODERN_124M, MuonAdamW(learning_rate=3e-3, weight_decay=0.0, muon_learning_rate=0.01), (32, 64, 16)
    ),
}
TINY_CASES = {
    "gpt2_124m": Case(GPT2Config(2, 2, 32, 32), AdamW(6e-4), (2,), 489e3),
    "modern_124m": Case(ModernConfig(2, 2, 32, 32, tied=True), MuonAdamW(learning_rate=3e-3), (2, 4)),
}


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    device: str
    rows: int
    batch: int
    """Sequences per step when timed."""
    timed_steps: int
    reference_batch: int
    reference_micro_batch: int
    reference_steps: int
    deadline: float

    @property
    def over(self) -> bool:
        return time.monotonic() > self.deadline


def plain_codec(rows: int) -> Codec:
    """Bytes and EOS in a table of any size: the ids of a synthetic shard need no text."""
    tokens = {**byte_alphabet(), EOS: 256}
    return Codec(Vocabulary(bpe_tokenizer(tokens, []), (), rows), NoChange())


def write_tokens(directory: Path, number: int, rows: int) -> Split:
    """A shard of one document: tokens by Zipf's law, each twice, so that there is something to learn."""
    weights = 1.0 / np.arange(1, rows + 1)
    drawn = np.random.default_rng(SEED).choice(rows, -(-number // 2), p=weights / weights.sum())
    documents = np.zeros(1, DOCUMENT_TYPE)
    documents["tokens"], documents["raw_bytes"] = number, 4 * number
    write_shard(directory, 0, np.repeat(drawn, 2)[:number].astype(np.uint16), documents)
    return read_split(directory)


def free(device: str) -> None:
    """Between two models: what is compiled, cached and counted."""
    gc.collect()
    torch.compiler.reset()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def run(
    case: Case,
    plan: Plan,
    root: Path,
    *,
    batch: int,
    micro_batch: int,
    steps: int,
    progress: Callable[..., None],
    directory: Path | None = None,
    **more: Any,
) -> tuple[dict[str, Any], list[float]]:
    """`pretrain` on a synthetic shard; returns its counts and the loss of every step."""
    context = case.model.n_positions
    with tempfile.TemporaryDirectory(dir=root) as made:
        data, own = Path(made), directory or Path(made) / "run"
        own.mkdir(exist_ok=True)
        train = write_tokens(data / "train", steps * batch * context + 1, plan.rows)
        validation = write_tokens(data / "validation", context, plan.rows)
        settings: dict[str, Any] = {"checkpoint_seconds": math.inf, **more}
        config = Pretraining(
            Tokens(steps * batch * context), batch_size=batch, micro_batch=micro_batch, optimizer=case.optimizer,
            schedule=WarmupStableDecay(5, decay_share=0.0), clip=CLIP, evaluate_every=1.0, **settings,
        )  # fmt: skip
        counts = pretrain(
            config, case.model, plain_codec(plan.rows), train, validation, SEED, own, progress,
            place=Ranks(device=plan.device),
        )  # fmt: skip
        lines = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
    return counts, [line["train_nats_per_token"] for line in lines]


def ignore(*_: object) -> None:
    """No progress shown."""


def relative(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def check_cross_entropy(plan: Plan) -> dict[str, Any]:
    """Value and gradients of the chunked loss against the plain one; at full size there are several chunks."""
    positions, width = (8192, 768) if plan.rows > 10_000 else (96, 32)
    generator = torch.Generator().manual_seed(SEED)
    hidden = torch.randn(positions, width, generator=generator).to(plan.device)
    table = (torch.randn(plan.rows, width, generator=generator) * 0.05).to(plan.device)
    targets = torch.randint(plan.rows, (positions,), generator=generator).to(plan.device)
    targets[::7] = -100
    expected, slopes = _loss_and_slopes(plain_cross_entropy, hidden, table, targets)
    found: dict[str, Any] = {}
    for precision in ("float32", "bfloat16"):
        with autocast(precision, plan.device):
            loss, own = _loss_and_slopes(cross_entropy, hidden, table, targets)
        worst = [relative(loss, expected), *(relative(a, b) for a, b in zip(own, slopes, strict=True))]
        found[precision] = dict(zip(("value", "hidden", "table"), worst, strict=True))
    found["passed"] = all(v <= TOLERANCE[p] for p in TOLERANCE for v in found[p].values())
    return found


def _loss_and_slopes(
    function: Callable[..., Tensor], hidden: Tensor, table: Tensor, targets: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    leaves = hidden.clone().requires_grad_(), table.clone().requires_grad_()
    loss = function(*leaves, targets)
    return loss.detach(), torch.autograd.grad(loss, leaves)


class _Killed(Exception):
    pass


def check_resume(plan: Plan, root: Path) -> dict[str, Any]:
    """A run that dies after a checkpoint and is started again, with Muon's and AdamW's state, against one that does
    not."""
    case = Case(ModernConfig(2, 2, 64, 64), MuonAdamW(learning_rate=3e-3), (8,))
    size: dict[str, Any] = {"batch": 8, "micro_batch": 4, "steps": 12}
    _, expected = run(case, plan, root, **size, progress=ignore)
    directory = root / "resumed"

    def die(done: float, *_: object) -> None:
        if done == 8:
            raise _Killed

    try:
        run(case, plan, root, **size, progress=die, directory=directory, checkpoint_seconds=0.0)
    except _Killed:
        kept = [path.name for path in directory.glob("checkpoint*.safetensors")]
    else:
        kept = []
    _, found = run(case, plan, root, **size, progress=ignore, directory=directory, checkpoint_seconds=0.0)
    worst = max(abs(a - b) / b for a, b in zip(found, expected, strict=True))
    return {"checkpoints": kept, "worst": worst, "passed": bool(kept) and worst <= TOLERANCE["float32"]}


def check_ranks(plan: Plan, kind: str) -> dict[str, Any]:
    """`rank_steps` under torchrun, one rank, in a process of its own."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1",
        str(Path(__file__).resolve()), "--device", plan.device.split(":")[0], "--rank-steps", kind,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    if done.returncode:
        return {"passed": False, "error": done.stderr[-1500:]}
    losses = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    worst = max(abs(a - b) / b for a, b in zip(losses["wrapped"], losses["alone"], strict=True))
    return {"worst": worst, "losses": losses["wrapped"], "passed": worst <= 1e-3}


def rank_steps(device: str, kind: str) -> dict[str, list[float]]:
    """Losses of some Muon and AdamW steps of a wrapped network, and of one that is not.

    `vocablab.training.distributed.distributed` leaves a single rank alone, so the wrapping is done here.
    """
    made: dict[str, list[float]] = {}
    with ranks(device) as place:
        ids = torch.randint(256, (4, 65), generator=torch.Generator().manual_seed(SEED)).to(place.device)
        for name in ("alone", "wrapped"):
            network = ModernConfig(2, 2, 64, 64).build(256, SEED).to(place.device)
            module: nn.Module = NextToken(network)
            if name == "wrapped" and kind == "ddp":
                chosen = [place.device] if place.device.startswith("cuda") else None
                module = nn.parallel.DistributedDataParallel(module, device_ids=chosen)
            elif name == "wrapped":
                mesh = dist.init_device_mesh(place.device.split(":", maxsplit=1)[0], (1,))
                for block in network.blocks:
                    fully_shard(block, mesh=mesh)
                fully_shard(module, mesh=mesh)
            named = dict(network.named_parameters())
            inside = {id(p) for p in network.blocks.parameters() if p.dim() == 2}
            optimizers = MuonAdamW(3e-3).build(named, [n for n, p in named.items() if id(p) in inside])
            losses = []
            for _ in range(4):
                with autocast("bfloat16" if place.device.startswith("cuda") else "float32", place.device):
                    loss = module(ids[:, :-1], ids[:, 1:]) / ids[:, 1:].numel()
                loss.backward()
                float(whole(nn.utils.clip_grad_norm_(network.parameters(), CLIP)))
                for optimizer in optimizers:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                losses.append(float(loss))
            made[name] = losses
    return made


def reference_losses(case: Case, plan: Plan, root: Path) -> list[float]:
    """A loop in float32, op by op, with all logits at once."""
    context, steps, batch = case.model.n_positions, plan.reference_steps, plan.reference_batch
    with tempfile.TemporaryDirectory(dir=root) as made:
        split = write_tokens(Path(made), steps * batch * context + 1, plan.rows)
        network = case.model.build(plan.rows, SEED).to(plan.device)
        named = dict(network.named_parameters())
        inside = {id(p) for p in network.blocks.parameters() if p.dim() == 2}
        optimizers = case.optimizer.build(named, [n for n, p in named.items() if id(p) in inside])
        schedule, losses = WarmupStableDecay(5, decay_share=0.0), []
        for step in range(steps):
            set_learning_rates(optimizers, schedule.factor(step, steps))
            total = 0.0
            for begin in range(0, batch, plan.reference_micro_batch):
                many = min(plan.reference_micro_batch, batch - begin)
                starts = [(step * batch + begin + i) * context for i in range(many)]
                rows = np.stack([split.tokens[s : s + context + 1] for s in starts]).astype(np.int64)
                ids = torch.from_numpy(rows).to(plan.device)
                hidden = network.hidden(ids[:, :-1], network.input_rows)
                nats = plain_cross_entropy(hidden.flatten(0, 1), network.output_rows, ids[:, 1:].flatten())
                (nats / (batch * context)).backward()
                total += float(nats.detach())
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            losses.append(total / (batch * context))
    return losses


def compare_losses(case: Case, plan: Plan, root: Path) -> dict[str, Any]:
    """Losses step by step against `reference_losses`."""
    expected = reference_losses(case, plan, root)
    free(plan.device)
    counts, found = run(
        case, plan, root, batch=plan.reference_batch, micro_batch=plan.reference_micro_batch,
        steps=plan.reference_steps, progress=ignore,
    )  # fmt: skip
    differences = [abs(a - b) / b for a, b in zip(found, expected, strict=True)]
    return {
        "precision": counts["precision"],
        "compiled": counts["compiled"],
        "losses": found,
        "float32": expected,
        "worst": max(differences),
        "passed": max(differences) <= TOLERANCE[counts["precision"]],
    }


def speed(case: Case, plan: Plan, root: Path, micro_batch: int) -> dict[str, Any]:
    """Tokens per second of steps after the first two; a run this short reports after every step."""
    times: list[float] = []
    memory: list[int] = []

    def progress(*_: object) -> None:
        times.append(time.perf_counter())
        memory.append(peak_memory_bytes(plan.device))

    batch = max(plan.batch, micro_batch)
    # The last step validates: it is not timed.
    counts, _ = run(
        case, plan, root, batch=batch, micro_batch=micro_batch, steps=plan.timed_steps + 3, progress=progress
    )
    rate = batch * case.model.n_positions / statistics.median(np.diff(times[1:-1]).tolist())
    flops = case.model.flops_per_token(plan.rows)
    return {
        "micro_batch": micro_batch,
        "tokens_per_second": rate,
        "mfu": utilisation(rate * sum(flops.values()), plan.device),
        "peak_memory_gib": memory[-2] / 2**30,
        "compiled": counts["compiled"],
        "precision": counts["precision"],
    }


def guarded(what: str, work: Callable[[], dict[str, Any]], plan: Plan) -> dict[str, Any]:
    """The result of a part, or why there is none: one failure must not cost the rest of a borrowed machine's time."""
    if plan.over:
        print(f"{what}: left out, the minutes are over", flush=True)
        return {"left_out": True}
    free(plan.device)
    try:
        return work()
    except torch.OutOfMemoryError:
        print(f"{what}: out of memory", flush=True)
        return {"out_of_memory": True}
    except Exception as error:
        print(f"{what}: FAILED, {type(error).__name__}: {error}", flush=True)
        return {"passed": False, "error": traceback.format_exc()}


def checks(plan: Plan, root: Path) -> dict[str, Any]:
    """Part 1."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "cross entropy": lambda: check_cross_entropy(plan),
        "resume": lambda: check_resume(plan, root),
    }
    backend = dist.is_nccl_available() if plan.device.startswith("cuda") else dist.is_gloo_available()
    if backend:
        parts |= {"ddp": lambda: check_ranks(plan, "ddp"), "fsdp": lambda: check_ranks(plan, "fsdp")}
    tiny = plan.rows < 10_000
    parts |= {name: (lambda check=check: check(plan.device, tiny)) for name, check in CHECKS.items()}
    found = {}
    for name, work in parts.items():
        found[name] = guarded(name, work, plan)
        detail = ", ".join(f"{key} {value}" for key, value in found[name].items() if key not in {"passed", "error"})
        print(f"check {name:<14} {'passed' if found[name].get('passed') else 'NOT PASSED'}  {detail}", flush=True)
    return found


def print_losses(name: str, found: dict[str, Any]) -> None:
    if "losses" not in found:
        return
    print(f"{name}: loss of {found['precision']}{', compiled' if found['compiled'] else ''} and of float32")
    for step, (own, reference) in enumerate(zip(found["losses"], found["float32"], strict=True), 1):
        print(f"  step {step:>3} {own:9.5f} {reference:9.5f}  {(own - reference) / reference:+.1e}")
    print(f"  largest relative difference {found['worst']:.1e}: {'passed' if found['passed'] else 'NOT PASSED'}",
          flush=True)  # fmt: skip


def print_speed(name: str, found: dict[str, Any], head: float) -> None:
    if "tokens_per_second" not in found:
        return
    used = "unknown" if found["mfu"] is None else f"{found['mfu']:.1%}"
    print(f"{name:<12} micro-batch {found['micro_batch']:>3} {found['tokens_per_second']:>10,.0f} tokens/s  "
          f"MFU {used:>7}  {found['peak_memory_gib']:6.2f} GiB  head {head:.0%} of FLOPs", flush=True)  # fmt: skip


def goal_lines(cases: dict[str, Case], models: dict[str, Any]) -> list[dict[str, Any]]:
    made = []
    for name, case in cases.items():
        if case.goal is None:
            continue
        rates = [one["tokens_per_second"] for one in models[name]["speed"] if "tokens_per_second" in one]
        best = max(rates, default=None)
        said = "not measured" if best is None else f"{best:,.0f}"
        made.append(
            {
                "goal": f"{name}: {said} of at least {case.goal:,.0f} tokens/s on one H200",
                "value": best,
                "met": best is not None and best >= case.goal,
            }
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="no part is begun after this time")
    parser.add_argument("--batch", type=int, default=512, help="sequences per step when timed; the recipes' is 512")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal with tiny sizes")
    parser.add_argument("--out", type=Path, help="write everything as JSON here")
    parser.add_argument("--rank-steps", choices=("ddp", "fsdp"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank_steps:
        print(json.dumps(rank_steps(options.device, options.rank_steps)))
        return
    deadline = time.monotonic() + 60 * options.minutes
    if options.tiny:
        plan, cases = Plan(options.device, 512, 4, 3, 4, 2, 20, deadline), TINY_CASES
    else:
        plan, cases = Plan(options.device, 50304, options.batch, 4, 32, 8, 20, deadline), CASES
    on_gpu = plan.device.startswith("cuda")
    machine = torch.cuda.get_device_name(plan.device) if on_gpu else "CPU"
    print(f"{machine}, torch {torch.__version__}", flush=True)
    report: dict[str, Any] = {"machine": machine, "torch": torch.__version__, "tiny": options.tiny}
    models: dict[str, Any] = {name: {"speed": []} for name in cases}
    with tempfile.TemporaryDirectory(prefix="gpu-") as made:
        root = Path(made)
        report["checks"] = checks(plan, root)
        for name, case in cases.items():
            models[name]["losses"] = guarded(f"{name}, losses", lambda c=case: compare_losses(c, plan, root), plan)
            print_losses(name, models[name]["losses"])
        # The recipe's own micro-batch of every model first: the minutes may not suffice for the others.
        for turn in range(max(len(case.micro_batches) for case in cases.values())):
            for name, case in cases.items():
                if turn >= len(case.micro_batches):
                    continue
                micro = case.micro_batches[turn]
                found = guarded(
                    f"{name}, micro-batch {micro}", lambda c=case, m=micro: speed(c, plan, root, m), plan
                )  # fmt: skip
                flops = case.model.flops_per_token(plan.rows)
                models[name]["head_share"] = flops["head"] / sum(flops.values())
                models[name]["speed"].append({"micro_batch": micro, **found})
                print_speed(name, found, models[name]["head_share"])
    report |= {"models": models, "goals": goal_lines(cases, models)}
    print("\ngoals:")
    for goal in report["goals"]:
        print(f"{'met' if goal['met'] else 'NOT MET':<8} {goal['goal']}")
    passed = [one.get("passed", False) for one in report["checks"].values()]
    passed += [models[name]["losses"].get("passed", False) for name in cases]
    print(f"checks: {sum(passed)} of {len(passed)} passed")
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    if not all(passed):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
