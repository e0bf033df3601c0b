"""What all tasks share."""

from vocablab.tasks.task import evenly, graded


def test_even_subsets() -> None:
    rows = [{"n": i} for i in range(10)]
    assert [i for i, _ in evenly(rows, 4)] == [0, 2, 5, 7]
    assert len(evenly(rows, None)) == 10


def test_grades_say_what_was_read() -> None:
    assert graded("", "54", "54").extracted == "54"
    assert (graded("", "54", "54").strict, graded("", "54", "54").flexible) == (0.0, 1.0)
    assert graded("", "", "").strict == graded("", "", "").flexible == 0.0
