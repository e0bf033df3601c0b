"""How fast text becomes token shards, against a plain script of tiktoken and numpy, and against datatrove's tokenizer.

    pip install datatrove zstandard
    python benchmarks/prepare.py --data ../shared/data [--jobs 2] [--repeats 5] [--out prepare.json]

Every contender reads the same compressed files and writes uint16 tokens with EOS after each document; vocablab also
hashes, splits, shuffles, indexes and counts. Token counts are compared before any time is believed. The contenders take
turns; ratios are medians over the turns. Not timed, for anybody: imports, loading the tokenizer, starting workers
(datatrove starts its workers itself, so the time of a run without documents is taken off its time). The memory is
that of all processes together (proportional set size), sampled during a run on several copies of the input.
"""

import argparse
import json
import multiprocessing
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from vocablab.base.data import iterate_rows
from vocablab.corpus.build import Arm, build
from vocablab.corpus.corpus import Corpus
from vocablab.corpus.leaks import LeakIndex
from vocablab.corpus.sources import Files
from vocablab.corpus.workers import LocalWorkers
from vocablab.lab.evaluation_texts import named_evaluation_sets
from vocablab.vocab.codec import Codec
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.standard_tokenizers import tiktoken_encoding
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base, padded

GOALS = {"tiktoken": 8.0, "datatrove": 15.0, "injection": 1.25, "memory_mib": 1024}
BUDGET = 10_000_000_000
EOT = 50256
COMMAND = [
    sys.executable, "-c", "from vocablab.lab.cli import main; main()", "prepare", "--intervention", "control",
    "--intervention", "mul_facts",
]  # fmt: skip
ONE, SEVERAL = "tiktoken, one process", "tiktoken, all processes"


def codec(rule: Any) -> Codec:
    base = gpt2_base()
    return Codec(Vocabulary(base, rule.tokens(), padded(base.get_vocab_size() + 45)), rule)


CODECS = {"control": codec(NoChange()), "mul_facts": codec(FactTokens())}


def ours(workers: LocalWorkers, source: Path, arms: list[str], out: Path, leaks: LeakIndex | None = None) -> int:
    """Text to shards as `vocablab prepare` does it; returns the training and validation tokens of the first arm."""
    made = {name: Arm(CODECS[name], out / name) for name in arms}
    corpus = Corpus((Files("text", str(source)),), 0.005)
    counts = build(
        corpus, made, out / "work", data=None, seed=0, engine=workers, leaks=leaks, progress=lambda *_: None
    )  # fmt: skip
    arm = counts["arms"][arms[0]]
    return int(arm["train"]["tokens"] + arm["validation"]["tokens"])


_ENCODING: Any = None


def _load() -> None:
    global _ENCODING  # noqa: PLW0603  (as such scripts do it: one encoding per worker process)
    _ENCODING = tiktoken_encoding(CODECS["control"].vocabulary)


def _tokenize(text: str) -> np.ndarray:
    return np.array([*_ENCODING.encode_ordinary(text), EOT], dtype=np.uint16)


def _texts(source: Path) -> Iterator[str]:
    for path in sorted(source.glob("*.jsonl.zst")):
        for row in iterate_rows(path):
            yield row["text"]


def plain_script(pool: Any, source: Path, out: Path) -> int:
    """What a careful user writes: tiktoken in a pool of workers, one buffer, one file."""
    out.mkdir(parents=True)
    tokens = 0
    with open(out / "train.bin", "wb") as handle:
        for row in pool.imap(_tokenize, _texts(source), chunksize=16):
            row.tofile(handle)
            tokens += len(row)
    return tokens


_DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.tokens import DocumentTokenizer
import datatrove.utils.logging
from loguru import logger
import time
logger.remove()
source, tokenizer, out, jobs = sys.argv[1:]
if __name__ == "__main__":
    began = time.perf_counter()
    LocalPipelineExecutor(
        pipeline=[
            JsonlReader(source, glob_pattern="*.jsonl.zst", compression="zstd", id_key="id"),
            DocumentTokenizer(out + "/tokens", tokenizer_name_or_path=tokenizer, eos_token="<|endoftext|>",
                              local_working_dir=out + "/work", save_filename="t", shuffle_documents=False),
        ],
        tasks=int(jobs), workers=int(jobs), logging_dir=out + "/logs",
    ).run()
    print("seconds", time.perf_counter() - began)
"""


def datatrove(source: Path, tokenizer: Path, out: Path, jobs: int) -> tuple[float, int]:
    """Seconds and tokens of datatrove's `DocumentTokenizer`."""
    out.mkdir(parents=True)
    script = out / "run.py"
    script.write_text(_DATATROVE)
    done = subprocess.run(
        [sys.executable, str(script), str(source), str(tokenizer), str(out), str(jobs)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"datatrove failed (is it installed?):\n{done.stderr[-2000:]}")
    seconds = float(done.stdout.rsplit("seconds", 1)[1])
    return seconds, sum(path.stat().st_size for path in (out / "tokens").glob("*.ds")) // 2


class Memory:
    """Peak memory of a command and all its worker processes while the block runs, in MiB."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process, self.peak, self.largest = process, 0.0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        root = psutil.Process(self.process.pid)
        while not self._stop.wait(0.05):
            sizes = [0.0]
            try:
                for process in [root, *root.children(recursive=True)]:
                    sizes.append(process.memory_full_info().pss / 2**20)
            except psutil.Error:
                continue
            self.peak, self.largest = max(self.peak, sum(sizes)), max(self.largest, *sizes)


def copies(source: Path, out: Path, number: int) -> Path:
    """The input several times over, for the memory: what is bounded must not grow with it."""
    out.mkdir()
    for path in source.glob("*.jsonl.zst"):
        for copy in range(number):
            (out / f"{copy}-{path.name}").symlink_to(path.resolve())
    return out


def race(source: Path, empty: Path, tokenizer: Path, data: Path, jobs: int, repeats: int, root: Path) -> Any:
    """Seconds of every contender in every turn, and the tokens it made."""
    seconds: dict[str, list[float]] = {}
    tokens: dict[str, int] = {}
    leaks = LeakIndex([text for make in named_evaluation_sets(data).values() for text in make()])
    own: list[tuple[str, list[str], LeakIndex | None]] = [
        ("vocablab", ["control"], None),
        ("vocablab, mul_facts", ["mul_facts"], None),
        ("vocablab, both arms", ["control", "mul_facts"], None),
        ("vocablab, leak scan", ["control"], leaks),
    ]
    fork = multiprocessing.get_context("fork")
    with LocalWorkers(jobs) as workers, fork.Pool(jobs, _load) as pool, fork.Pool(1, _load) as single:
        ours(workers, source, ["control", "mul_facts"], root / "warm")
        pool.map(_tokenize, ["load it now"] * 100)
        single.map(_tokenize, ["load it now"])
        for turn in range(repeats):
            out = root / f"turn{turn}"

            def take(name: str, work: Callable[[], int]) -> None:
                began = time.perf_counter()
                tokens[name] = work()
                seconds.setdefault(name, []).append(time.perf_counter() - began)

            for name, arms, scan in own:
                take(name, partial(ours, workers, source, arms, out / name, scan))
            take(ONE, partial(plain_script, single, source, out / "one"))
            take(SEVERAL, partial(plain_script, pool, source, out / "several"))
            idle, _ = datatrove(empty, tokenizer, out / "idle", jobs)
            full, tokens["datatrove"] = datatrove(source, tokenizer, out / "datatrove", jobs)
            seconds.setdefault("datatrove", []).append(full - idle)
            shutil.rmtree(out)
    if len({tokens[name] for name in ("vocablab", ONE, SEVERAL, "datatrove")}) != 1:
        raise SystemExit(f"the contenders made different numbers of tokens: {tokens}")
    return seconds, tokens["vocablab"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data directory")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes of every contender but one")
    parser.add_argument("--repeats", type=int, default=5, help="turns; medians are reported")
    parser.add_argument("--copies", type=int, default=8, help="copies of the input in the run whose memory is measured")
    parser.add_argument("--out", type=Path, help="write everything as JSON here")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="prepare-"))
    source, empty, tokenizer = root / "text", root / "empty", root / "tokenizer.json"
    source.mkdir()
    for path in (options.data / "openstax").glob("openstax-*.jsonl.zst"):
        (source / path.name).symlink_to(path.resolve())
    empty.mkdir()
    for number in range(options.jobs):
        with pa.output_stream(str(empty / f"{number}.jsonl.zst"), compression="zstd") as stream:
            stream.write(b'{"id": "0", "text": "one line"}\n')
    tokenizer.write_text(CODECS["control"].vocabulary.base.to_str())
    sizes = [len(text.encode()) for text in _texts(source)]
    megabytes = sum(sizes) / 1e6
    seconds, tokens = race(source, empty, tokenizer, options.data, options.jobs, options.repeats, root)
    print(f"{len(sizes):,} documents, {megabytes:.1f} MB, {tokens:,} tokens, {options.jobs} workers")
    print(f"{'':<24} {'MB/s':>7} {'tokens/s':>12} {'10B tokens':>11} {'vocablab is':>12}")
    ratios = {}
    for name, times in seconds.items():
        ratios[name] = statistics.median(a / b for a, b in zip(times, seconds["vocablab"], strict=True))
        rate = tokens / statistics.median(times)
        hours = BUDGET / rate / 3600
        print(f"{name:<24} {megabytes / statistics.median(times):>7.1f} {rate:>12,.0f} {hours:>9.2f} h"
              f" {ratios[name]:>9.2f} x")  # fmt: skip
    memory = {}
    many = copies(source, root / "many", options.copies)
    for number, place in ((1, source), (options.copies, many)):
        command = [
            *COMMAND,
            "--source",
            str(place),
            "--out",
            str(root / f"memory{number}"),
            "--jobs",
            str(options.jobs),
        ]
        with Memory(subprocess.Popen(command, stdout=subprocess.DEVNULL)) as watched:
            watched.process.wait()
        memory[f"{megabytes * number:.0f} MB"] = {"all": watched.peak, "largest": watched.largest}
    shutil.rmtree(root)
    print(f"goals: {ONE} {ratios[ONE]:.1f} x, {SEVERAL} {ratios[SEVERAL]:.1f} x of {GOALS['tiktoken']:.0f} x; "
          f"datatrove {ratios['datatrove']:.1f} x of {GOALS['datatrove']:.0f} x; "
          f"injection {ratios['vocablab, mul_facts'] - 1:+.0%} of {GOALS['injection'] - 1:+.0%}")  # fmt: skip
    print("peak memory in MiB, all processes (the largest): " + "; ".join(
        f"{size}: {found['all']:.0f} ({found['largest']:.0f})" for size, found in memory.items())
        + f"; goal under {GOALS['memory_mib']}")  # fmt: skip
    if options.out:
        report = {"machine": platform.processor() or platform.machine(), "seconds": seconds, "ratios": ratios}
        options.out.write_text(json.dumps({**report, "tokens": tokens, "memory": memory}, indent=1) + "\n")


if __name__ == "__main__":
    main()
