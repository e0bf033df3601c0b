"""The contenders of the benchmark make the same tokens."""

import multiprocessing
from pathlib import Path

import numpy as np
import pyarrow as pa

from vocablab.base.modules import load_file
from vocablab.corpus.shards import read_split
from vocablab.corpus.workers import LocalWorkers

ROOT = Path(__file__).parents[2]


def test_vocablab_and_the_plain_script_make_the_same_tokens(tmp_path: Path) -> None:
    benchmark = load_file(str(ROOT / "benchmarks/prepare.py"), "benchmark")
    source = tmp_path / "text"
    source.mkdir()
    lines = b"".join(b'{"text": "document %d: 6 * 9 = 54 and so on"}\n' % i for i in range(500))
    with pa.output_stream(str(source / "a.jsonl.zst"), compression="zstd") as stream:
        stream.write(lines)
    with LocalWorkers(2) as workers:
        found = benchmark.ours(workers, source, ["control"], tmp_path / "ours")
    benchmark._load()
    with multiprocessing.get_context("fork").Pool(1, benchmark._load) as pool:
        assert benchmark.plain_script(pool, source, tmp_path / "plain") == found
    plain = np.fromfile(tmp_path / "plain/train.bin", np.uint16)
    shards = [read_split(tmp_path / "ours/control" / split).tokens for split in ("train", "validation")]
    ours = np.concatenate([tokens[0 : len(tokens)] for tokens in shards])
    # The same documents, in another order.
    assert sorted(bytes(d.tobytes()) for d in np.split(plain, np.flatnonzero(plain == 50256) + 1)) == sorted(
        bytes(d.tobytes()) for d in np.split(ours, np.flatnonzero(ours == 50256) + 1)
    )
