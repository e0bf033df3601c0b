"""How fast injection is, against plain `re` and tiktoken doing the same work with the same result.

    python benchmarks/inject.py --data ../shared/data [--out inject.json]

Rare matches: OpenStax, HellaSwag. Dense matches: GSM8K's training set. Both paths get the same documents, the same
patterns and the same checks of every candidate; `scan` finds the sites, `ids` also makes token ids of the changed
text. Every repetition starts with a fresh tokenizer, whose cache is cold; building it is not timed in either path.
Hits and ids are compared before any time is believed. One worker process per core; a time is that of the slowest
worker; ratios are medians over repetitions in which the two paths take turns.
"""

import argparse
import hashlib
import json
import multiprocessing
import platform
import resource
import statistics
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from vocablab.base.data import iterate_rows
from vocablab.corpus.files import row_text
from vocablab.vocab.codec import Codec, stream_pieces
from vocablab.vocab.fact_tokens import FactTokens
from vocablab.vocab.finder import Finder
from vocablab.vocab.forms import Forms
from vocablab.vocab.region_search import RegionSearch
from vocablab.vocab.standard_tokenizers import tiktoken_encoding
from vocablab.vocab.vocabulary import Vocabulary, gpt2_base, padded

CORPORA = {
    "openstax": ("openstax/openstax-00.jsonl.zst", 10.0, 8.0),
    "hellaswag": ("hellaswag/hellaswag_val.jsonl", 10.0, 8.0),
    "gsm8k": ("gsm8k/train.jsonl", 2.0, 2.0),
}
"""File, and how many times faster the scan and the ids are promised to be."""
FACTS = FactTokens()


def plain_facts_finder() -> Finder:
    """The same finder with `re` alone."""
    fast = Finder.of(FACTS.family)
    forms = fast.forms
    plain = RegionSearch(forms.search.pattern, None)
    return Finder(Forms(plain, forms.forms, forms.letters, forms.statements), fast.table)


class Fast:
    """vocablab's own path."""

    def __init__(self) -> None:
        base = gpt2_base()
        size = padded(base.get_vocab_size() + len(FACTS.tokens()))
        self.codec = Codec(Vocabulary(base, FACTS.tokens(), size), FACTS)
        self.codec.vocabulary.encode_plain_batch(["build the tokenizer now, as tiktoken's is"])

    def scan(self, texts: list[str]) -> list[Any]:
        return [FACTS.sites(text, "") for text in texts]

    def ids(self, texts: list[str]) -> list[np.ndarray]:
        return self.codec.encode_batch(texts, [FACTS.spans(text, "") for text in texts])


class Plain(Fast):
    """`re` and tiktoken."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = FactTokens()
        self.facts.__dict__["_finder"] = plain_facts_finder()
        self.encoding = tiktoken_encoding(self.codec.vocabulary)

    def scan(self, texts: list[str]) -> list[Any]:
        return [self.facts.sites(text, "") for text in texts]

    def ids(self, texts: list[str]) -> list[np.ndarray]:
        added, encode = self.codec.vocabulary.added_ids, self.encoding.encode_ordinary
        rows = []
        for text in texts:
            spans = self.facts.spans(text, "")
            ids: list[int] = []
            for piece, ends in stream_pieces(text, spans) if spans else [(text, ())]:
                if ends is None:
                    ids.append(added[piece.replacement])
                else:
                    ids += encode(piece)
            rows.append(np.array(ids, dtype=np.int32))
        return rows


def load(path: Path, worker: int, workers: int) -> list[str]:
    texts = (row_text(row) for row in iterate_rows(path))
    return list(islice((text for text in texts if text), worker, None, workers))


def digest(found: list[Any]) -> str:
    """A checksum of hits or ids."""
    parts = (row.tobytes() if isinstance(row, np.ndarray) else repr(row).encode() for row in found)
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def work(path: Path, worker: int, workers: int, repeats: int, barrier: Any, queue: Any) -> None:
    """Time both paths in turns on one share of the documents."""
    texts = load(path, worker, workers)
    seconds: dict[str, list[float]] = {}
    checks: dict[str, str] = {}
    for _ in range(repeats):
        for kind in (Fast, Plain):
            one = kind()
            for task in ("scan", "ids"):
                barrier.wait()
                began = time.perf_counter()
                found = getattr(one, task)(texts)
                seconds.setdefault(f"{kind.__name__} {task}", []).append(time.perf_counter() - began)
                checks.setdefault(f"{kind.__name__} {task}", digest(found))
    sites = sum(map(len, Fast().scan(texts)))
    queue.put((seconds, checks, sum(len(t.encode("utf-8", "surrogatepass")) for t in texts), sites))


def memory(path: Path, kind: str, queue: Any) -> None:
    """Peak memory of one pass in a process of its own, in MB, and before the pass."""
    texts, one = load(path, 0, 1), {"Fast": Fast, "Plain": Plain}[kind]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one.ids(texts)
    queue.put((before / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def measure(path: Path, workers: int, repeats: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(workers), context.Queue()
    processes = [context.Process(target=work, args=(path, w, workers, repeats, barrier, queue)) for w in range(workers)]
    for process in processes:
        process.start()
    results = [queue.get(timeout=900) for _ in processes]
    for process in processes:
        process.join()
    for _, checks, _, _ in results:
        for task in ("scan", "ids"):
            if checks[f"Fast {task}"] != checks[f"Plain {task}"]:
                raise SystemExit(f"{path}: the two paths differ in {task}.")
    size = sum(r[2] for r in results) / 1e6
    row: dict[str, Any] = {"cores": workers, "megabytes": size, "sites": sum(r[3] for r in results)}
    for task in ("scan", "ids"):
        slowest = {
            kind: [max(times) for times in zip(*(r[0][f"{kind} {task}"] for r in results), strict=True)]
            for kind in ("Fast", "Plain")
        }
        ratios = [slow / fast for slow, fast in zip(slowest["Plain"], slowest["Fast"], strict=True)]
        row[task] = {
            "fast_mb_per_s": size / statistics.median(slowest["Fast"]),
            "plain_mb_per_s": size / statistics.median(slowest["Plain"]),
            "ratio": statistics.median(ratios),
            "ratios": ratios,
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data directory")
    parser.add_argument("--repeats", type=int, default=5, help="repetitions; medians are reported")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="worker processes")
    parser.add_argument("--out", type=Path, help="write everything as JSON here")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "rows": [], "memory": {}}
    print(f"{'corpus':<10} {'cores':>5} {'MB':>6} {'sites':>6} | {'scan MB/s':>9} {'re':>6} {'ratio':>6} {'goal':>5}"
          f" | {'ids MB/s':>9} {'re+tt':>6} {'ratio':>6} {'goal':>5}")  # fmt: skip
    for name, (file, scan_goal, ids_goal) in CORPORA.items():
        for cores in options.cores:
            row = measure(options.data / file, cores, options.repeats)
            found["rows"].append({"corpus": name, "scan_goal": scan_goal, "ids_goal": ids_goal, **row})
            cells = [
                f"{t['fast_mb_per_s']:>9.1f} {t['plain_mb_per_s']:>6.1f} {t['ratio']:>5.1f}x {goal:>4.0f}x"
                for t, goal in ((row["scan"], scan_goal), (row["ids"], ids_goal))
            ]
            print(f"{name:<10} {cores:>5} {row['megabytes']:>6.1f} {row['sites']:>6} | {' | '.join(cells)}", flush=True)
    context = multiprocessing.get_context("spawn")
    for name, (file, _, _) in CORPORA.items():
        for kind in ("Fast", "Plain"):
            queue = context.Queue()
            process = context.Process(target=memory, args=(options.data / file, kind, queue))
            process.start()
            before, peak = queue.get(timeout=900)
            process.join()
            found["memory"][f"{name} {kind}"] = {"before_mb": before, "peak_mb": peak}
    print("peak memory of one process, MB (of it before the pass): " + "; ".join(
        f"{name} {m['peak_mb']:.0f} ({m['before_mb']:.0f})" for name, m in found["memory"].items()))  # fmt: skip
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
