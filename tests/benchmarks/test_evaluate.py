"""The contenders of the benchmark give the same scores and the same answers."""

from pathlib import Path

import pytest

from vocablab.base.modules import load_file

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".." / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data beside the checkout")


@needs_data
def test_likelihoods_agree(tmp_path: Path) -> None:
    benchmark = load_file(str(ROOT / "benchmarks/evaluate.py"), "benchmark")
    case = benchmark.Case("likelihood", "tiny", 6)
    benchmark.make_model(case, tmp_path / "model")
    theirs = benchmark.measure(case, "lm-eval", {"batch": 4}, tmp_path / "model")[1]
    ours = benchmark.measure(case, "vocablab", {}, tmp_path / "model")[1]
    assert len(ours) == 24
    assert benchmark.differences(case, theirs, ours) == 0
    with pytest.raises(SystemExit, match="log-likelihoods differ"):
        benchmark.differences(case, theirs, [*ours[:-1], ours[-1] + 0.01])


@needs_data
def test_answers_agree_and_some_end(tmp_path: Path) -> None:
    benchmark = load_file(str(ROOT / "benchmarks/evaluate.py"), "benchmark")
    case = benchmark.Case("generation", "tiny", 10, 24, ends=True)
    benchmark.make_model(case, tmp_path / "model")
    theirs = benchmark.measure(case, "transformers", {"batch": 4, "sorted": True}, tmp_path / "model")[1]
    assert min(len(answer) for answer in theirs) < 24
    for who in ("vocablab", "vocablab without guesses"):
        options = benchmark.CONTENDERS["generation"][who][0]
        ours = benchmark.measure(case, who, options, tmp_path / "model")[1]
        assert benchmark.differences(case, theirs, ours) == 0
