"""The same job on a cluster of two nodes: the same bytes."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.corpora import build_corpus, matched

from vocablab.corpus.corpus import Corpus
from vocablab.corpus.sources import Files, GeneratedProse
from vocablab.corpus.synthetic import TargetDose
from vocablab.lab.ray_engine import RayEngine
from vocablab.vocab.intervention import NoChange
from vocablab.vocab.interventions import FactTokens

ray = pytest.importorskip("ray", reason="the extra vocablab[cluster] is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    found = Cluster()
    for _ in range(2):
        found.add_node(num_cpus=1, object_store_memory=100 * 2**20, include_dashboard=False)
    try:
        yield found.address
    finally:
        ray.shutdown()
        found.shutdown()


def digests(out: Path) -> dict[str, str]:
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_nodes_give_the_bytes_of_one_process(cluster: str, tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(4):
        rows = [json.dumps({"text": d.text}) for d in GeneratedProse(400, 0.0).documents(None, number)]
        (folder / f"{number}.jsonl").write_text("\n".join(rows))
    sources = (Files("text", str(folder)), GeneratedProse(2000, 0.0))
    corpus = Corpus(sources, 0.05, weights=(2, 1), target_tokens=120_000, dose=TargetDose(0.008))
    codecs = matched({"control": NoChange(), "mul_facts": FactTokens()})
    one = build_corpus(corpus, codecs, tmp_path / "one")
    engine = RayEngine(cluster)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    assert len(nodes) == 2
    many = build_corpus(corpus, codecs, tmp_path / "many", engine=engine)
    assert many == one
    assert digests(tmp_path / "many") == digests(tmp_path / "one")
