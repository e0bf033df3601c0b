"""The benchmark compares like with like."""

from pathlib import Path

from vocablab.base.modules import load_file

ROOT = Path(__file__).parents[2]
TEXTS = ["Buy 6*9=54 eggs, 9 × 6 = 54. " * 3, "nothing here, 6*9=55", "<<2*3=6>>6 é 六 and 7 * 8 = 56" * 5, ""]


def test_both_paths_find_and_encode_the_same() -> None:
    benchmark = load_file(str(ROOT / "benchmarks/inject.py"), "benchmark")
    fast, plain = benchmark.Fast(), benchmark.Plain()
    assert fast.scan(TEXTS) == plain.scan(TEXTS)
    assert sum(map(len, fast.scan(TEXTS))) == 16
    assert benchmark.digest(fast.ids(TEXTS)) == benchmark.digest(plain.ids(TEXTS))
    assert benchmark.digest(fast.ids(TEXTS)) != benchmark.digest(fast.ids(TEXTS[1:]))
    assert plain.facts._finder.forms.search._databases is None
    assert benchmark.FACTS._finder.forms.search._databases is not None


def test_a_share_per_worker(tmp_path: Path) -> None:
    benchmark = load_file(str(ROOT / "benchmarks/inject.py"), "benchmark")
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "{i}"}}\n' for i in range(5)))
    assert [benchmark.load(path, worker, 2) for worker in (0, 1)] == [["0", "2", "4"], ["1", "3"]]
