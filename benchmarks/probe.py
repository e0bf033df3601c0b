"""How long all probes of one model take: 45 fact tokens on GPT-2 small with the real vocabulary.

    python benchmarks/probe.py            # 124M parameters
    python benchmarks/probe.py --quick    # one block of 32, to see that it runs

Random weights: what a probe finds does not change how long it looks. The goal is three minutes on two cores.
"""

import argparse
import itertools
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vocablab.corpus.lost_form import FormCode
from vocablab.export.hugging_face import export
from vocablab.model.gpt2 import GPT2_124M, GPT2Config
from vocablab.probe.config import Probing
from vocablab.probe.run import probe
from vocablab.probe.subject import load_subject
from vocablab.vocab.base_vocabulary import GPT2Vocabulary
from vocablab.vocab.codec import Codec
from vocablab.vocab.interventions import FactTokens
from vocablab.vocab.vocabulary import Vocabulary, padded

GOAL = 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model and few permutations")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    facts, base = FactTokens(), GPT2Vocabulary().build([])
    size = padded(base.get_vocab_size() + len(facts.tokens()))
    codec = Codec(Vocabulary(base, facts.tokens(), size), facts)
    shape = GPT2Config(1, 2, 32, 256) if chosen.quick else GPT2_124M
    config = replace(Probing(), permutations=20, layer_permutations=20) if chosen.quick else Probing()
    marks: list[tuple[float, str]] = []
    with tempfile.TemporaryDirectory() as place:
        network = shape.build(size, 0)
        initial = {"input": network.input_rows.detach().numpy(), "output": network.output_rows.detach().numpy()}
        export(network, codec, Path(place), FormCode.empty(), {})
        subject = load_subject(Path(place), "random", "cpu", initial, np.arange(1, len(facts.tokens()) + 1) * 10)
        found = probe(subject, config, lambda done, total, note: marks.append((time.perf_counter(), note)))
    seconds = {name: after - before for (before, name), (after, _) in itertools.pairwise(marks)}
    for name, spent in seconds.items():
        print(f"{name:<24}{spent:>8.1f} s")
    total = sum(seconds.values())
    print(f"{'together':<24}{total:>8.1f} s (goal {GOAL:.0f} s), {len(found.measures)} measures")
    if chosen.json:
        chosen.json.write_text(json.dumps({"threads": chosen.threads, "seconds": seconds, "together": total}) + "\n")


if __name__ == "__main__":
    main()
