"""Scoring and answering against lm-evaluation-harness and transformers: items and tokens per second at equal results.

    python benchmarks/evaluate.py                      # everything, medians of three
    python benchmarks/evaluate.py --cases 1M tiny      # some of it
    python benchmarks/evaluate.py --quick              # small sizes, to see that it runs

Likelihood: HellaSwag in the harness's way, float32, the same exported model with random weights; `lm_eval`'s `hf` model
at the best of three batch sizes. Every log-likelihood must agree within 1e-3 nats, or nothing is printed. Generation:
GSM8K's prompts, greedy, against `generate` of transformers, left-padded in batches, at the best of two batch sizes and
two orders of the prompts. Answers of random weights never end, which no trained model's do; so there are two cases, one
with endings planted. Random weights also repeat themselves more than trained ones do, which makes guessing easy: hence
the line without guesses. Each measurement is a process of its own, so that none profits from another's memory;
contenders take turns, and seconds are medians.
"""

import argparse
import importlib.metadata
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"
TOLERANCE = 1e-3
"""Nats by which a log-likelihood may differ."""
GOALS = {"likelihood": 2.5, "generation": 2.0}
"""Ratios that are aimed at."""


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    kind: str
    """``likelihood`` or ``generation``."""
    shape: str
    """``124M`` or ``tiny``."""
    items: int
    """HellaSwag items or GSM8K prompts."""
    longest: int = 0
    """Tokens of an answer, at most."""
    ends: bool = False
    """Whether answers end by themselves, as a trained model's do."""


CASES = {
    "124M": Case("likelihood", "124M", 200),
    "1M": Case("likelihood", "tiny", 2000),
    "answers-124M": Case("generation", "124M", 64, 128, ends=True),
    "answers-124M-endless": Case("generation", "124M", 64, 128),
    "answers-tiny": Case("generation", "tiny", 256, 256, ends=True),
    "answers-tiny-endless": Case("generation", "tiny", 256, 256),
}
QUICK = {
    "1M": Case("likelihood", "tiny", 24),
    "answers-tiny": Case("generation", "tiny", 12, 32, ends=True),
    "answers-tiny-endless": Case("generation", "tiny", 12, 32),
}
CONTENDERS = {
    "likelihood": {"lm-eval": [{"batch": b} for b in (1, 8, 32)], "vocablab": [{}]},
    "generation": {
        "transformers": [{"batch": b, "sorted": s} for b in (16, 64) for s in (False, True)],
        "vocablab": [{}],
        "vocablab without guesses": [{"guesses": 0}],
    },
}


def make_model(case: Case, directory: Path) -> None:
    """Export a model with random weights; in a case whose answers end, one that says end-of-text now and then."""
    from vocablab.corpus.lost_form import FormCode
    from vocablab.export.hugging_face import export
    from vocablab.model.gpt2 import GPT2_124M, GPT2Config
    from vocablab.vocab.base_vocabulary import GPT2Vocabulary, TrainedBPE
    from vocablab.vocab.codec import Codec
    from vocablab.vocab.intervention import NoChange
    from vocablab.vocab.vocabulary import Vocabulary, padded

    if case.shape == "124M":
        size, base = GPT2_124M, GPT2Vocabulary().build(())
    else:
        size, base = GPT2Config(4, 4, 128, 640), TrainedBPE(2048).build(texts())
    codec = Codec(Vocabulary(base, (), padded(base.get_vocab_size())), NoChange())
    network = size.build(codec.vocabulary.padded_size, 0)
    directory.mkdir(parents=True)
    if case.ends:
        plant_endings(network, codec, case)
    export(network, codec, directory, FormCode.empty(), {})


def texts() -> list[str]:
    """What a small vocabulary is trained on."""
    from vocablab.tasks.gsm8k import GSM8K
    from vocablab.tasks.hellaswag import HellaSwag

    items = [*HellaSwag(limit=1000).items(DATA), *GSM8K(limit=600).items(DATA)]
    return [item.prompt + item.gold for item in items]


def plant_endings(network: Any, codec: Any, case: Case) -> None:
    """Make answers end at many different lengths, half of them before about the middle of the longest.

    Every position's row gets some of the end-of-text row's direction: most get little, a few get much. Where a text
    ends then depends on where it is and on what it says, and whoever computes the model sees the same. (Lengthening the
    end-of-text row does not do it: half of the answers then end at once, and the others, in their loops, never.)
    """
    from vocablab.corpus.lost_form import FormCode
    from vocablab.evaluate.generation import generate
    from vocablab.evaluate.model import Loaded
    from vocablab.model.reader import NetworkReader

    positions = dict(network.named_parameters())["transformer.wpe.weight"]
    first = positions.detach().clone()
    direction = network.output_rows[codec.vocabulary.eos_id].detach().clone()
    share = torch.from_numpy(np.random.default_rng(0).exponential(size=(len(first), 1))).float()
    asked = prompts(case)[:: max(1, case.items // 16)]
    low, high = 0.05, 1.0
    found: list[tuple[float, float]] = []
    # Few answers have few lengths, so the middle may be out of reach; it is enough to be near.
    while len(found) < 8 and (not found or min(found)[0] > 0.15):
        strength = math.sqrt(low * high)
        with torch.no_grad():
            positions.copy_(first + strength * share * direction)
        loaded = Loaded(NetworkReader(network.eval()), codec, FormCode.empty())
        middle = statistics.median(len(answer.ids) for answer in generate(loaded, asked, case.longest)) / case.longest
        found.append((abs(middle - 0.5), strength))
        low, high = (strength, high) if middle > 0.5 else (low, strength)
    off, strength = min(found)
    if off > 0.4:
        raise SystemExit("no strength makes answers end: they all end at once, or none does.")
    with torch.no_grad():
        positions.copy_(first + strength * share * direction)


def prompts(case: Case) -> list[Any]:
    """GSM8K's, as vocablab asks them."""
    from vocablab.evaluate.generation import Prompt
    from vocablab.tasks.gsm8k import GSM8K

    return [Prompt(item.item_id, item.prompt) for item in GSM8K(limit=case.items).items(DATA)]


def measure(case: Case, who: str, options: dict[str, Any], directory: Path) -> tuple[float, Any]:
    """Seconds, and what came out: log-likelihoods in nats, or answers as token ids."""
    runs = {
        "lm-eval": _lm_eval, "transformers": _transformers, "vocablab": _vocablab, "vocablab without guesses": _vocablab
    }  # fmt: skip
    return runs[who](case, options, directory)


def _pairs(case: Case) -> tuple[Any, list[Any]]:
    from vocablab.tasks.hellaswag import HellaSwag

    task = HellaSwag(limit=case.items)
    return task, task.items(DATA)


def _vocablab(case: Case, options: dict[str, Any], directory: Path) -> tuple[float, Any]:
    from vocablab.evaluate.choosing import choice_costs
    from vocablab.evaluate.model import load
    from vocablab.model.decoding import GUESSES, Decoder, Request

    loaded = load(directory, "cpu")
    if case.kind == "likelihood":
        task, items = _pairs(case)
        choice_costs(loaded, task, items[:2], 64)
        began = time.perf_counter()
        costs = choice_costs(loaded, task, items, 64)
        seconds = time.perf_counter() - began
        return seconds, [-one.bits * math.log(2) for costs_of in costs for one in costs_of]
    eos = loaded.codec.vocabulary.eos_id
    decoder = Decoder(loaded.reader, eos=eos, banned=loaded.nameless, guesses=options.get("guesses", GUESSES))
    requests = [Request(ids, case.longest) for ids in _prompt_ids(loaded, case)]
    decoder.answers([Request(requests[0].ids, 2)])
    began = time.perf_counter()
    answers = decoder.answers(requests)
    return time.perf_counter() - began, [answer.ids for answer in answers]


def _prompt_ids(loaded: Any, case: Case) -> list[list[int]]:
    eos, room = loaded.codec.vocabulary.eos_id, loaded.context - case.longest
    return [[eos, *loaded.codec.encode(p.text, p.name).ids.tolist()][-room:] for p in prompts(case)]


def _lm_eval(case: Case, options: dict[str, Any], directory: Path) -> tuple[float, Any]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=options["batch"])
    items = _pairs(case)[1]
    requests = [
        Instance("loglikelihood", {}, (item.prompt, choice), number) for number, item in enumerate(items)
        for choice in item.choices
    ]  # fmt: skip
    lm.loglikelihood(requests[:2], disable_tqdm=True)
    began = time.perf_counter()
    found = lm.loglikelihood(requests, disable_tqdm=True)
    return time.perf_counter() - began, [float(value) for value, _ in found]


@torch.no_grad()
def _transformers(case: Case, options: dict[str, Any], directory: Path) -> tuple[float, Any]:
    from transformers import AutoModelForCausalLM, GenerationConfig

    from vocablab.evaluate.model import load

    loaded = load(directory, "cpu")
    ids, eos = _prompt_ids(loaded, case), loaded.codec.vocabulary.eos_id
    config = GenerationConfig(
        max_new_tokens=case.longest, do_sample=False, eos_token_id=eos, pad_token_id=eos,
        suppress_tokens=loaded.nameless or None,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    del loaded
    order = sorted(range(len(ids)), key=lambda i: len(ids[i])) if options["sorted"] else list(range(len(ids)))
    answers: dict[int, list[int]] = {}

    def ask(rows: list[int]) -> None:
        longest = max(len(ids[i]) for i in rows)
        batch = torch.tensor([[eos] * (longest - len(ids[i])) + ids[i] for i in rows])
        mask = torch.tensor([[0] * (longest - len(ids[i])) + [1] * len(ids[i]) for i in rows])
        for i, out in zip(rows, model.generate(batch, attention_mask=mask, generation_config=config), strict=True):
            new = out[longest:].tolist()
            answers[i] = new[: new.index(eos)] if eos in new else new

    config.max_new_tokens = 2
    ask(order[:1])
    config.max_new_tokens = case.longest
    began = time.perf_counter()
    for start in range(0, len(order), options["batch"]):
        ask(order[start : start + options["batch"]])
    return time.perf_counter() - began, [answers[i] for i in range(len(ids))]


def child(case: Case, who: str, options: dict[str, Any], directory: Path, threads: int) -> tuple[float, Any]:
    """`measure` in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out.json"
        told = {"case": case.__dict__, "who": who, "options": options, "model": str(directory), "threads": threads}
        command = [sys.executable, __file__, "--child", json.dumps(told), "--json", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{who} {options} failed:\n{done.stderr[-3000:]}")
        found = json.loads(out.read_text())
    return found["seconds"], found["results"]


def run_child(told: dict[str, Any], out: Path) -> None:
    """The other side of `child`."""
    torch.set_num_threads(told["threads"])
    seconds, results = measure(Case(**told["case"]), told["who"], told["options"], Path(told["model"]))
    out.write_text(json.dumps({"seconds": seconds, "results": results}))


def differences(case: Case, theirs: Any, ours: Any) -> int:
    """Prompts that were answered otherwise; for log-likelihoods 0, or the end."""
    if case.kind == "generation":
        return sum(a != b for a, b in zip(theirs, ours, strict=True))
    worst = float(np.abs(np.array(theirs) - np.array(ours)).max())
    if not worst <= TOLERANCE:
        raise SystemExit(
            f"log-likelihoods differ by {worst:.2e} nats (at most {TOLERANCE:g}): no time is worth printing"
        )
    return 0


def best_way(case: Case, who: str, directory: Path, threads: int) -> dict[str, Any]:
    """The options with which a contender is fastest."""
    ways = CONTENDERS[case.kind][who]
    if len(ways) == 1:
        return ways[0]
    # A quarter of the stories is enough to tell. Of prompts all are needed: batches of 64, and their order, differ from
    # others only where there are many.
    few = replace(case, items=max(8, case.items // 4)) if case.kind == "likelihood" else case
    return min(ways, key=lambda way: child(few, who, way, directory, threads)[0])


def compare(
    name: str, case: Case, ways: dict[str, dict[str, Any]], directory: Path, repeats: int, threads: int
) -> list[dict[str, Any]]:
    """One line per contender, with its way: median seconds, ratio to the reference's."""
    contenders = list(ways)
    taken: dict[str, list[float]] = {who: [] for who in contenders}
    different = dict.fromkeys(contenders, 0)
    lengths: dict[str, list[int]] = {}
    expected: Any = None
    for _ in range(repeats):
        for who in contenders:
            seconds, results = child(case, who, ways[who], directory, threads)
            expected = results if expected is None else expected
            different[who] = max(different[who], differences(case, expected, results))
            taken[who].append(seconds)
            if case.kind == "generation":
                lengths[who] = np.quantile([len(answer) for answer in results], (0.25, 0.5, 0.75)).astype(int).tolist()
    medians = {who: statistics.median(taken[who]) for who in contenders}
    return [
        {
            "case": name, "who": who, "way": ways[who], "seconds": medians[who], "all_seconds": taken[who],
            "per_second": case.items / medians[who], "ratio": medians[contenders[0]] / medians[who],
            "goal": GOALS[case.kind] if who == "vocablab" else None, "different": different[who],
            "answer_tokens": lengths.get(who),
        }
        for who in contenders
    ]  # fmt: skip


def notes_of(line: dict[str, Any]) -> str:
    """How a contender was run and what it answered."""
    notes = [f"{key} {value}" for key, value in line["way"].items()]
    if line["answer_tokens"]:
        quarter, half, most = line["answer_tokens"]
        notes += [f"median answer {half} tokens (quartiles {quarter}, {most})", f"{line['different']} answers differ"]
    return ", ".join(notes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, help="some of the cases")
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat, the first way of each contender")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run_child(json.loads(chosen.child), chosen.json)
        return
    if not DATA.is_dir():
        raise SystemExit(f"this benchmark needs the data directory {DATA}.")
    cases = QUICK if chosen.quick else CASES
    missing = sorted(set(chosen.cases or cases) - set(cases))
    if missing:
        raise SystemExit(f"--quick has no case {missing[0]}.")
    found = []
    print(f"{'case':<22}{'who':<26}{'items/s':>9}{'seconds':>9}{'ratio':>7}{'goal':>6}  notes", flush=True)
    for name in chosen.cases or cases:
        with tempfile.TemporaryDirectory() as place:
            case, model = cases[name], Path(place) / "model"
            make_model(case, model)
            who = CONTENDERS[case.kind]
            if chosen.quick:
                ways, repeats = {one: options[0] for one, options in who.items()}, 1
            else:
                ways, repeats = {one: best_way(case, one, model, chosen.threads) for one in who}, chosen.repeats
            lines = compare(name, case, ways, model, repeats, chosen.threads)
        for line in lines:
            goal = "" if line["goal"] is None else f"{line['goal']:.1f}"
            print(
                f"{name:<22}{line['who']:<26}{line['per_second']:>9.2f}{line['seconds']:>9.2f}{line['ratio']:>7.2f}"
                f"{goal:>6}  {notes_of(line)}",
                flush=True,
            )
        found += lines
    if chosen.json:
        packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "lm_eval")}
        machine = {"machine": platform.processor() or platform.machine(), "threads": chosen.threads, **packages}
        chosen.json.write_text(json.dumps({**machine, "lines": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
