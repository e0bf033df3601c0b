"""Scoring and answering against lm-evaluation-harness and transformers: items and tokens per second at equal results.

    python benchmarks/evaluate.py                      # everything, medians of three
    python benchmarks/evaluate.py --cases 1M tiny      # some of it
    python benchmarks/evaluate.py --quick              # small sizes, to see that it runs

Likelihood: HellaSwag in the harness's way, float32, the same exported model with random weights; `lm_eval`'s `hf` model
at the best of three batch sizes. Every log-likelihood must agree within 1e-3 nats, or nothing is printed. Generation:
GSM8K's prompts, greedy, against `generate` of transformers, left-padded in batches, at the best of two batch sizes and
two orders of the prompts. Each measurement is a process of its own, so that none profits from another's memory.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
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
    """Lengthen the end-of-text row until half of the answers end before two thirds of the longest."""
    from vocablab.corpus.lost_form import FormCode
    from vocablab.evaluate.generation import generate
    from vocablab.evaluate.model import Loaded
    from vocablab.model.reader import NetworkReader

    row = network.output_rows[codec.vocabulary.eos_id]
    first = row.detach().clone()
    for factor in np.arange(1.2, 6.0, 0.1):
        with torch.no_grad():
            row.copy_(first * factor)
        loaded = Loaded(NetworkReader(network.eval()), codec, FormCode.empty())
        answers = generate(loaded, prompts(case)[:: max(1, case.items // 16)], case.longest)
        if statistics.median(len(answer.ids) for answer in answers) < case.longest * 2 / 3:
            return
    raise SystemExit("no length of the end-of-text row makes answers end")


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
            raise SystemExit(f"{who} failed: {done.stderr.strip().splitlines()[-1]}")
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


def compare(name: str, case: Case, directory: Path, repeats: int, threads: int) -> list[dict[str, Any]]:
    """One line per contender: median seconds, ratio to the reference's."""
    who = CONTENDERS[case.kind]
    reference = next(iter(who))
    # The best way of each is found first, on fewer items.
    few = Case(**{**case.__dict__, "items": max(8, case.items // 4)})
    best: dict[str, dict[str, Any]] = {}
    for name_of, ways in who.items():
        timed = [(child(few, name_of, way, directory, threads)[0], i) for i, way in enumerate(ways)] if ways[1:] else []
        best[name_of] = ways[min(timed)[1]] if timed else ways[0]
    taken: dict[str, list[float]] = {name_of: [] for name_of in who}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name_of in who:
            seconds, results[name_of] = child(case, name_of, best[name_of], directory, threads)
            taken[name_of].append(seconds)
    lines = []
    for name_of in who:
        seconds = statistics.median(taken[name_of])
        line = {
            "case": name, "who": name_of, "way": best[name_of], "seconds": seconds,
            "per_second": case.items / seconds, "ratio": statistics.median(taken[reference]) / seconds,
            "goal": GOALS[case.kind] if name_of == "vocablab" else None,
            "different": differences(case, results[reference], results[name_of]),
        }  # fmt: skip
        if case.kind == "generation":
            line["median_tokens"] = statistics.median(len(answer) for answer in results[name_of])
        lines.append(line)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, help="some of the cases")
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat")
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
    found = []
    print(f"{'case':<22}{'who':<26}{'items/s':>9}{'seconds':>9}{'ratio':>7}{'goal':>6}  notes", flush=True)
    for name in chosen.cases or cases:
        with tempfile.TemporaryDirectory() as place:
            make_model(cases[name], Path(place) / "model")
            repeats = 1 if chosen.quick else chosen.repeats
            lines = compare(name, cases[name], Path(place) / "model", repeats, chosen.threads)
        for line in lines:
            notes = [f"{key} {value}" for key, value in line["way"].items()]
            if "median_tokens" in line:
                notes += [f"{line['median_tokens']:.0f} tokens", f"{line['different']} answers differ"]
            goal = "" if line["goal"] is None else f"{line['goal']:.1f}"
            print(
                f"{name:<22}{line['who']:<26}{line['per_second']:>9.2f}{line['seconds']:>9.2f}{line['ratio']:>7.2f}"
                f"{goal:>6}  {', '.join(notes)}",
                flush=True,
            )
        found += lines
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
