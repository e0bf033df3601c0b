"""The DeepMind Mathematics generator: every module runs, and the seed decides every character."""

import os
import subprocess
import sys

import pytest

from vocablab.base.errors import UserError

pytest.importorskip("mathematics_dataset", reason="the extra vocablab[math] is not installed")

from vocablab.corpus.mathematics import LEVELS, MathematicsProblems, _problem, _seeded, all_modules

SOURCE = MathematicsProblems(1000)


def test_all_56_modules_of_three_levels_run() -> None:
    modules = all_modules()
    assert len(modules) == 56 * len(LEVELS)
    for name, module in modules.items():
        with _seeded(7):
            question, answer = _problem(module)
        assert question, name
        assert answer, name


def test_the_same_in_every_process_whatever_was_written_before() -> None:
    code = (
        "from vocablab.corpus.mathematics import MathematicsProblems as M; "
        "print(repr([M(1000).write(3, i) for i in (5, 4)]))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    here = repr([SOURCE.write(3, 5), SOURCE.write(3, 4)])
    assert found == {here + "\n"}
    assert SOURCE.write(4, 5) != SOURCE.write(3, 5)


def test_sums_are_right() -> None:
    sums = MathematicsProblems(10, modules=("arithmetic__add_or_sub",))
    checked = 0
    for index in range(60):
        for line in sums.write(0, index).splitlines():
            words = line.rstrip().split()
            if words[0] == "What" and len(words) == 6 and words[3] in "+-":
                a, b = float(words[2].strip("()")), float(words[4].rstrip("?").strip("()"))
                assert float(words[5]) == pytest.approx(a + b if words[3] == "+" else a - b)
                checked += 1
    assert checked > 3
    with pytest.raises(UserError, match="no module begins with"):
        MathematicsProblems(1, modules=("poetry",)).write(0, 0)
