"""Fine-tuning and GRPO against TRL's trainers as they come: tokens per second, steps per second, same model, same work.

    python benchmarks/posttrain.py                    # both, 1M and 10M parameters
    python benchmarks/posttrain.py --cases grpo-1M    # some of it
    python benchmarks/posttrain.py --quick            # a few steps, to see that it runs

SFT: the same word problems and drills in batches of 32. TRL's `SFTTrainer` gets them as `prompt` and `completion` with
its own settings, padded batches and bfloat16 autocast, and once more in float32; the faster one counts. Tokens are real
ones, padding is not counted. GRPO: 16 problems x 8 answers of at most 32 tokens, no reference model; TRL's
`GRPOTrainer` answers with `model.generate`, in bfloat16 and in float32, of which the faster one counts. All start
from one fine-tuned model, whose answers end by themselves. Seconds of a step are medians over the steps after the
first; contenders take turns, and ratios are of one run.
"""

import argparse
import importlib.metadata
import json
import platform
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from vocablab.corpus.lost_form import FormCode
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2Config
from vocablab.posttrain.checkpoints import load_tokenizer, silence
from vocablab.posttrain.labels import label
from vocablab.posttrain.reinforced import reinforce
from vocablab.posttrain.rl import GRPO, Limits
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.posttrain.supervised import fine_tune
from vocablab.tasks.drills import Drills
from vocablab.tasks.one_step import OneStep
from vocablab.tasks.task import Example
from vocablab.vocab.base_vocabulary import TrainedBPE
from vocablab.vocab.codec import Codec, load_codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary, padded

SHAPES = {"1M": GPT2Config(4, 4, 128, 128), "10M": GPT2Config(6, 6, 384, 128)}
PIECES = 640
BATCH, PROMPTS, GROUP, LONGEST = 32, 16, 8, 32
GOALS = {"sft": None, "grpo": 2.0}
EVERY_STOP = Limits(entropy=0.0, truncated=1.0, repetition=1.0, idle_tokens=1e9)


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **rest: Any) -> None:
        self.ends.append(time.perf_counter())

    @property
    def step(self) -> float:
        """Median seconds of a step but the first."""
        return statistics.median(b - a for a, b in zip(self.ends, self.ends[1:], strict=False))


def examples() -> list[Example]:
    """Word problems, and three times as many drills."""
    problems = OneStep().examples(None)
    return [*problems, *Drills(examples_count=3 * len(problems)).examples(None)]


def start_model(shape: str, place: Path, steps: int) -> Path:
    """A model that was fine-tuned for a while, so that its answers end."""
    facts = FactTokens()
    base = TrainedBPE(PIECES).build([e.prompt + e.target for e in examples()])
    codec = Codec(Vocabulary(base, facts.tokens(), padded(PIECES + 45)), facts)
    export(SHAPES[shape].build(codec.vocabulary.padded_size, 0), codec, place / "new", FormCode.empty(), {})
    (place / "start").mkdir()
    config = SupervisedFineTuning(epochs=steps * BATCH / len(examples()), batch_size=BATCH, learning_rate=1e-3)
    fine_tune(config, place / "new", examples(), 0, "cpu", place / "start", lambda *a: None)
    return place / "start"


def sft_ours(start: Path, steps: int, out: Path) -> dict[str, Any]:
    """Steps as `vocablab sft` makes them."""
    from vocablab.posttrain import supervised

    clock, plain = Clock(), supervised.TimedCheckpoints
    # Where the callback for checkpoints stands, the clock stands too: the loop itself is left as it is.
    supervised.TimedCheckpoints = lambda *a: clock  # type: ignore[assignment,misc]
    try:
        epochs = steps * BATCH / len(examples())
        config = SupervisedFineTuning(epochs, BATCH, 1e-4, held_out_share=0.0, micro_batch=BATCH)
        fine_tune(config, start, examples(), 0, "cpu", out, lambda *a: None)
    finally:
        supervised.TimedCheckpoints = plain  # type: ignore[misc]
    return {"seconds": clock.step, "tokens": mean_tokens(start)}


def mean_tokens(start: Path) -> float:
    """Real tokens of a batch, on average."""
    codec = load_codec(start)
    rows = [row for e in examples() if (row := label(codec, e, 128)) is not None]
    return BATCH * statistics.fmean(len(row.input_ids) for row in rows)


def sft_theirs(start: Path, steps: int, out: Path, bfloat16: bool) -> dict[str, Any]:
    """`SFTTrainer` with its defaults on the same texts; fact tokens stand in them as text and are tokenized as such."""
    clock, codec = Clock(), load_codec(start)
    rows = [{"prompt": e.prompt, "completion": codec.decode(codec.encode(e.target).ids)} for e in examples()]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(out), max_steps=steps, per_device_train_batch_size=BATCH, learning_rate=1e-4, seed=0,
            bf16=bfloat16, use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(start),
        callbacks=[clock],
    )  # fmt: skip
    silence(trainer)
    trainer.train()
    return {"seconds": clock.step, "tokens": mean_tokens(start)}


def grpo_ours(start: Path, steps: int, out: Path) -> dict[str, Any]:
    """Steps as `vocablab rl` makes them."""
    from vocablab.posttrain import reinforced

    clock, plain = Clock(), reinforced.TimedCheckpoints
    reinforced.TimedCheckpoints = lambda *a: clock  # type: ignore[assignment,misc]
    try:
        config = GRPO(
            OneStep(), steps, PROMPTS, GROUP, 1e-6, LONGEST, beta=0.0, limits=EVERY_STOP, log_every=1, held_out=1,
            held_out_samples=1, read_every=10 * steps, micro_batch=PROMPTS * GROUP,
        )  # fmt: skip
        counts = reinforce(config, start, None, 0, "cpu", out, lambda *a: None)
    finally:
        reinforced.TimedCheckpoints = plain  # type: ignore[misc]
    return {"seconds": clock.step, "length": counts["last"]["length"], "truncated": counts["last"]["truncated"]}


def grpo_theirs(start: Path, steps: int, out: Path, bfloat16: bool) -> dict[str, Any]:
    """`GRPOTrainer` with its defaults: answers by `model.generate`, the same reward."""
    task, clock, codec = OneStep(), Clock(), load_codec(start)
    items = {item.prompt: item for item in task.problems(None)}

    def correct(prompts: list[str], completion_ids: list[list[int]], **rest: Any) -> list[float]:
        pairs = zip(prompts, completion_ids, strict=True)
        return [task.grade(items[prompt], codec.render(ids)).strict for prompt, ids in pairs]

    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32),
        reward_funcs=correct,
        args=GRPOConfig(
            output_dir=str(out), max_steps=steps, per_device_train_batch_size=PROMPTS * GROUP,
            num_generations=GROUP, max_completion_length=LONGEST, learning_rate=1e-6, seed=0, bf16=bfloat16,
            use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", logging_steps=1,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in items]),
        processing_class=load_tokenizer(start),
        callbacks=[clock],
    )  # fmt: skip
    silence(trainer)
    trainer.train()
    last = next(line for line in reversed(trainer.state.log_history) if "reward" in line)
    return {
        "seconds": clock.step,
        "length": last["completions/mean_length"],
        "truncated": last["completions/clipped_ratio"],
    }


def measure(kind: str, who: str, start: Path, steps: int) -> dict[str, Any]:
    """One turn of one contender."""
    bfloat16 = who.endswith("bfloat16")
    with tempfile.TemporaryDirectory() as out:
        if who == "vocablab":
            return (sft_ours if kind == "sft" else grpo_ours)(start, steps, Path(out))
        return (sft_theirs if kind == "sft" else grpo_theirs)(start, steps, Path(out), bfloat16)


def compare(case: str, steps: int, repeats: int, warm_up: int) -> list[dict[str, Any]]:
    """All contenders of a case, in turns."""
    kind, shape = case.split("-")
    whos = ("TRL, bfloat16", "TRL, float32", "vocablab")
    with tempfile.TemporaryDirectory() as place:
        start = start_model(shape, Path(place), warm_up)
        turns = [{who: measure(kind, who, start, steps) for who in whos} for _ in range(repeats)]
    seconds = {who: statistics.median(turn[who]["seconds"] for turn in turns) for who in whos}
    best = min(seconds[who] for who in whos[:2])
    return [
        {"case": case, "who": who, "seconds": seconds[who], "ratio": best / seconds[who], "goal": GOALS[kind]}
        | {key: value for key, value in turns[-1][who].items() if key != "seconds"}
        for who in whos
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [f"{kind}-{shape}" for kind in GOALS for shape in SHAPES]
    parser.add_argument("--cases", nargs="*", choices=known, default=known)
    parser.add_argument("--quick", action="store_true", help="three steps, one turn, the smaller model")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    cases = [case for case in chosen.cases if case.endswith("-1M")] if chosen.quick else chosen.cases
    steps, repeats, warm_up = (3, 1, 6) if chosen.quick else (chosen.steps, chosen.repeats, 150)
    found = []
    print(f"{'case':<10}{'who':<16}{'s/step':>8}{'per second':>18}{'ratio':>7}{'goal':>6}  notes", flush=True)
    for case in cases:
        for line in compare(case, steps, repeats, warm_up):
            found.append(line)
            rate = line.get("tokens", 1) / line["seconds"]
            said = f"{rate:,.0f} tokens" if "tokens" in line else f"{rate:.2f} steps"
            notes = (
                "" if "length" not in line else f"answers of {line['length']:.1f} tokens, {line['truncated']:.0%} cut"
            )
            goal = "" if line["goal"] is None or line["who"] != "vocablab" else f"{line['goal']:.1f}"
            print(
                f"{case:<10}{line['who']:<16}{line['seconds']:>8.3f}{said:>18}{line['ratio']:>7.2f}{goal:>6}  {notes}",
                flush=True,
            )
    if chosen.json:
        packages = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl")}
        machine = {"machine": platform.processor() or platform.machine(), "threads": chosen.threads, **packages}
        chosen.json.write_text(json.dumps({**machine, "lines": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
