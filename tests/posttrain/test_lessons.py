"""In which order examples are learned."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocablab.base.errors import UserError
from vocablab.posttrain.lessons import lessons, shares
from vocablab.posttrain.sft import SupervisedFineTuning
from vocablab.tasks.drills import Drills
from vocablab.tasks.task import Example


def some(kind: str, count: int) -> list[Example]:
    return [Example(f"{kind}/{i}", f"{kind} {i}?", f" {i}.") for i in range(count)]


def config(**changed: object) -> SupervisedFineTuning:
    return SupervisedFineTuning(**{"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, **changed})  # type: ignore[arg-type]


def test_problems_alone_are_each_learned_once_per_epoch() -> None:
    (lesson,) = lessons(config(held_out_share=0.1), some("p", 80), [], 0)
    assert lesson.steps == 18
    assert len(lesson.held_out) == 8
    learned = Counter(e.example_id for e in lesson.order)
    assert set(learned.values()) == {2}
    assert not set(learned) & {e.example_id for e in lesson.held_out}
    # Every epoch is a pass of its own, in another order.
    first, second = lesson.order[:72], lesson.order[72:]
    assert {e.example_id for e in first} == {e.example_id for e in second}
    assert first != second
    assert lesson.epoch_ends == (9, 18)


def test_a_mixture_has_its_share_in_every_epoch_and_no_drill_comes_twice_before_all_came() -> None:
    drills = some("d", 400)
    (lesson,) = lessons(config(drills=Drills(), drill_share=0.75), some("p", 80), drills, 0)
    ids = frozenset(e.example_id for e in drills)
    half = len(lesson.order) // 2
    for part in (lesson.order[:half], lesson.order[half:]):
        assert sum(e.example_id in ids for e in part) / len(part) == pytest.approx(0.75, abs=0.02)
    assert shares(lesson, ids) == pytest.approx(0.75, abs=0.01)
    counts = Counter(e.example_id for e in lesson.order if e.example_id in ids)
    assert max(counts.values()) - (min(counts.values()) if len(counts) == 380 else 0) <= 1


def test_interleaved_batches_are_of_one_kind_and_alternate() -> None:
    drills = some("d", 80)
    (lesson,) = lessons(config(drills=Drills(), order="interleaved"), some("p", 80), drills, 0)
    kinds = [{e.example_id[0] for e in lesson.order[i : i + 8]} for i in range(0, len(lesson.order), 8)]
    assert all(len(kind) == 1 for kind in kinds)
    flat = "".join(kind.pop() for kind in kinds)
    assert "ddd" not in flat
    assert "ppp" not in flat


def test_drills_first_are_two_lessons() -> None:
    found = lessons(config(drills=Drills(), order="drills_first", drill_epochs=3), some("p", 80), some("d", 40), 0)
    assert [lesson.name for lesson in found] == ["drills", "problems"]
    assert all(e.example_id[0] == "d" for e in found[0].order)
    assert all(e.example_id[0] == "p" for e in found[1].order)
    assert found[0].epoch_ends[-1] == found[0].steps == 14


@given(
    st.integers(1, 60), st.integers(1, 60), st.sampled_from(["mixed", "interleaved", "drills_first"]),
    st.integers(1, 16), st.floats(0.05, 0.95), st.floats(0.1, 3.0), st.integers(0, 3),
)  # fmt: skip
def test_whole_batches_same_seed_same_order(
    problems: int, drills: int, order: str, batch: int, share: float, epochs: float, seed: int
) -> None:
    how = config(epochs=epochs, batch_size=batch, drills=Drills(), order=order, drill_share=share)
    found = lessons(how, some("p", problems), some("d", drills), seed)
    for lesson in found:
        assert len(lesson.order) == lesson.steps * batch > 0
        assert lesson.epoch_ends[-1] == lesson.steps
        assert list(lesson.epoch_ends) == sorted(set(lesson.epoch_ends))
        assert not {e.example_id for e in lesson.order} & {e.example_id for e in lesson.held_out}
    assert found == lessons(how, some("p", problems), some("d", drills), seed)


def test_nothing_to_learn_is_said() -> None:
    with pytest.raises(UserError, match="no problems"):
        lessons(config(), [], [], 0)
    with pytest.raises(UserError, match="no drills"):
        lessons(config(drills=Drills()), some("p", 3), [], 0)


def test_no_kind_is_lost_that_has_fewer_examples_than_a_batch() -> None:
    how = config(epochs=1, batch_size=32, drills=Drills(), order="interleaved", drill_share=0.8, held_out_share=0.0)
    (lesson,) = lessons(how, some("p", 20), some("d", 400), 0)
    kinds = Counter(e.example_id[0] for e in lesson.order)
    assert kinds["p"] == 32
    assert kinds["d"] == 64


def test_the_best_epoch_needs_something_held_out() -> None:
    with pytest.raises(UserError, match="none is held out"):
        lessons(config(use="best"), some("p", 9), [], 0)
