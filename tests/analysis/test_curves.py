"""The training curves: reading, means and bands by hand, and the faults they must survive or name."""

import io
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vocablab.analysis.curve_figures import hellaswag_png, loss_png, seeds_said, short
from vocablab.analysis.curve_page import hellaswag_figure, loss_figure, render, write_curves
from vocablab.analysis.curve_runs import TrainingRun, distinct, find_runs, names_of, read_metrics
from vocablab.analysis.curves import build_curves, combine, loss_range, points, smooth
from vocablab.base.errors import UserError


def reading(step: int, train: float | None = None, val: float | None = None, **more: float | None) -> dict[str, Any]:
    return {"step": step, "tokens": 10 * step, "source_bytes": 40 * step} | {
        key: value
        for key, value in {"train_bits_per_byte": train, "val_bits_per_byte": val, **more}.items()
        if value is not None
    }


def write(directory: Path, rows: list[dict[str, Any]], end: str = "") -> Path:
    directory.mkdir(parents=True)
    (directory / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + end)
    return directory


def write_study(directory: Path) -> Path:
    """Two arms of three seeds; the seeds of `b` were read at other steps than one another."""
    for seed in range(3):
        rows = [reading(s, 3.0 - 0.1 * s + seed, 2.0 + seed if s % 5 == 0 else None) for s in range(1, 11)]
        write(directory / "a" / f"seed{seed}" / "pretrain", rows)
        rows = [reading(s, 2.0, val=float(s)) for s in range(2 + seed, 21 + seed, 2 + seed)]
        write(directory / "b" / f"seed{seed}" / "pretrain", rows)
    study = {"name": "s", "control": "b", "treatment": "a", "arms": [{"name": "b"}, {"name": "a"}]}
    (directory / "study.json").write_text(json.dumps(study))
    return directory


def curves_of(value: dict[str, Any], arm: str, kind: str) -> list[dict[str, Any]]:
    return [curve for curve in value["loss"][kind] if curve["arm"] == arm]


def test_means_and_bands_by_hand(tmp_path: Path) -> None:
    value = build_curves(find_runs(write_study(tmp_path / "s")))
    (validation,) = curves_of(value, "a", "validation")
    assert validation["x"] == [200, 400]
    assert validation["mean"] == [3.0, 3.0]
    assert (validation["low"], validation["high"]) == ([2.0, 2.0], [4.0, 4.0])
    assert validation["seeds"] == [0, 1, 2]
    (train,) = curves_of(value, "a", "train")
    np.testing.assert_allclose(train["mean"], [3.0 - 0.1 * s + 1 for s in range(1, 11)])
    row = next(row for row in value["table"] if row["arm"] == "a")
    assert row["train_bits_per_byte"] == pytest.approx({"mean": 3.0, "low": 2.0, "high": 4.0})
    assert row["step"] == {"mean": 10, "low": 10, "high": 10}
    assert row["hellaswag"] is None
    assert [arm["name"] for arm in value["arms"]] == ["b", "a"]
    assert value["arms"][0]["color"] == "#5A6472"
    assert value["arms"][1]["color"] == "#0072B2"


def test_seeds_read_at_other_places_are_interpolated_over_what_they_share(tmp_path: Path) -> None:
    value = build_curves(find_runs(write_study(tmp_path / "s")), "steps")
    (validation,) = curves_of(value, "b", "validation")
    # Seeds read at 2, 4..20, at 3, 6..21 and at 4, 8..20: the last has fewest, all cover 4 to 20; each reads y = x.
    assert validation["x"] == [4, 8, 12, 16, 20]
    np.testing.assert_allclose(validation["mean"], validation["x"])
    np.testing.assert_allclose(validation["high"], validation["x"])


def test_the_grid_keeps_both_ends() -> None:
    grid, values = combine(
        [(np.array([0.0, 10.0]), np.array([0.0, 10.0])), (np.array([1.0, 2.0, 9.0]), np.array([5.0, 5.0, 7.0]))]
    )
    assert grid.tolist() == [1, 9]
    assert values.tolist() == [[1, 9], [5, 7]]


def test_single_readings_at_different_places_are_one_point() -> None:
    grid, values = combine([(np.array([10.0]), np.array([1.0])), (np.array([12.0]), np.array([2.0]))])
    assert grid.tolist() == [11]
    assert values.tolist() == [[1], [2]]


def test_smoothing_by_hand() -> None:
    x = np.arange(80.0)
    at, y = smooth((x, 2 * x))
    # 5 % of 80 readings are 4: two on either side; at an end those that there are.
    assert at[:3].tolist() == [1, 1.5, 2]
    assert at[-1] == 78
    np.testing.assert_allclose(y, 2 * at)
    few = np.arange(10.0)
    assert smooth((few, few))[1].tolist() == few.tolist()


values_of_seeds = st.lists(
    st.dictionaries(st.integers(0, 30), st.floats(-5, 5), min_size=1, max_size=12), min_size=1, max_size=4
)


@given(values_of_seeds)
def test_the_band_holds_every_seed_and_order_never_matters(drawn: list[dict[int, float]]) -> None:
    rows = [tuple({"step": float(s), "val_bits_per_byte": y} for s, y in sorted(seed.items())) for seed in drawn]
    runs = [TrainingRun(Path("/x/a"), i, False, Path(f"/x/a/{i}"), found) for i, found in enumerate(rows)]
    value = build_curves(runs, "steps")
    for order in itertools.islice(itertools.permutations(runs), 6):
        assert build_curves(order, "steps") == value
    (curve,) = value["loss"]["validation"]
    assert curve["x"] == sorted(set(curve["x"]))
    seeds = [points(run.rows, "steps", "val_bits_per_byte") for run in runs]
    if len(seeds) == 1:
        assert curve["low"] is None
        return
    shared = max(x[0] for x, _ in seeds), min(x[-1] for x, _ in seeds)
    for at, low, mean, high in zip(curve["x"], curve["low"], curve["mean"], curve["high"], strict=True):
        assert low - 1e-9 <= mean <= high + 1e-9
        if shared[0] <= shared[1]:
            assert shared[0] <= at <= shared[1]
            there = [float(np.interp(at, x, y)) for x, y in seeds]
            assert min(there) == pytest.approx(low)
            assert max(there) == pytest.approx(high)
    bottom, top = loss_range(value["loss"])
    assert bottom < top


@given(st.lists(st.floats(0, 10), min_size=1, max_size=300))
def test_smoothing_stays_within_the_readings(drawn: list[float]) -> None:
    x, y = smooth((np.arange(float(len(drawn))), np.array(drawn)))
    assert len(x) == len(drawn)
    assert (np.diff(x) > 0).all()
    assert min(drawn) - 1e-9 <= y.min() <= y.max() <= max(drawn) + 1e-9


def test_a_study_an_arm_a_run_and_a_directory_of_metrics_are_found(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s")
    assert len(find_runs(study)) == 6
    assert [run.seed for run in find_runs(study / "a")] == [0, 1, 2]
    for name in ("a/seed1", "a/seed1/pretrain"):
        (run,) = find_runs(study / name)
        assert (run.arm, run.seed, run.unfinished) == (study / "a", 1, False)
    for name in ("mine", "other-seed0", "other-seed1"):
        write(tmp_path / "out" / name, [reading(1, 1.0)])
    assert [(run.arm.name, run.seed) for run in find_runs(tmp_path / "out")] == [
        ("mine", None), ("other", 0), ("other", 1),
    ]  # fmt: skip
    assert len(distinct([*find_runs(study), *find_runs(study / "a"), *find_runs(study / "a/seed1")])) == 6


def test_nothing_found_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"/empty holds no training run: looked for metrics\.jsonl in it"):
        find_runs(tmp_path / "empty")
    with pytest.raises(UserError, match=r"/nowhere is not there"):
        find_runs(tmp_path / "nowhere")


def test_a_running_run_is_drawn_alone_and_marked(tmp_path: Path) -> None:
    study = write_study(tmp_path / "s")
    write(study / "a" / "seed3" / "pretrain.partial", [reading(1, 9.0), reading(2, 8.0)], end='{"step": 3, "train_b')
    write(study / "a" / "seed2" / "pretrain.partial", [reading(1, 7.0)])
    value = build_curves(find_runs(study))
    finished, running = curves_of(value, "a", "train")
    assert finished["seeds"] == [0, 1, 2]
    assert not finished["unfinished"]
    assert running == {"arm": "a", "seeds": [3], "unfinished": True, "x": [40, 80], "mean": [9, 8]} | {
        "low": None, "high": None,
    }  # fmt: skip
    assert [row["unfinished"] for row in value["table"]] == [False, False, True]
    assert "Dashed" in value["captions"]["loss"]
    names = {trace["name"]: trace["line"].get("dash") for trace in loss_figure(value)["data"] if trace["showlegend"]}
    assert names == {"b": "solid", "a": "solid", "a (unfinished)": "dash"}
    assert "<b>unfinished</b>" in render(value)
    write(tmp_path / "one.partial", [reading(1, 2.0)])
    (run,) = find_runs(tmp_path / "one")
    assert (run.arm.name, run.unfinished) == ("one", True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"step": 2, "train', "line 2 is not JSON"),
        ("[1, 2]", "line 2 is not an object"),
        ('{"step": 2, "val_bits_per_byte": "2.5"}', 'line 2: val_bits_per_byte is "2.5", not a number'),
        ('{"step": 2, "train_bits_per_byte": true}', "line 2: train_bits_per_byte is true"),
        ("\xff", "line 2 is not JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "r.partial", [reading(1, 1.0)]) / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + line.encode("latin-1") + b"\n" + json.dumps(reading(3, 1.0)).encode())
    with pytest.raises(UserError, match=re.escape(f"{path}, {said}")):
        find_runs(tmp_path / "r.partial")


def test_only_a_last_line_without_its_end_is_passed_over_and_only_while_unfinished(tmp_path: Path) -> None:
    path = write(tmp_path / "r", [reading(1, 1.0)], end='{"step": 2, "tr') / "metrics.jsonl"
    assert len(read_metrics(path, unfinished=True)) == 1
    with pytest.raises(UserError, match="line 2 is not JSON"):
        read_metrics(path, unfinished=False)
    path.write_text(path.read_text() + "\n")
    with pytest.raises(UserError, match="line 2 is not JSON"):
        read_metrics(path, unfinished=True)


def test_nan_null_and_missing_values_are_no_readings(tmp_path: Path) -> None:
    rows = [reading(1, 3.0, math.nan), reading(2, math.inf, 2.5), {"val_bits_per_byte": 2.0}, reading(3, 2.0)]
    write(tmp_path / "r", [*rows, {"step": 4, "source_bytes": 160, "val_bits_per_byte": None}])
    value = build_curves(find_runs(tmp_path / "r"))
    assert value["loss"]["validation"][0]["x"] == [80]
    assert value["loss"]["train"][0]["x"] == [40, 120]
    json.dumps(value, allow_nan=False)
    runs = find_runs(write(tmp_path / "q", [{"step": 1, "train_bits_per_byte": 1.0}]))
    with pytest.raises(UserError, match="has no line with both tokens and train_bits_per_byte"):
        build_curves(runs, "tokens")


def test_a_resumed_run_wrote_some_steps_twice(tmp_path: Path) -> None:
    rows = [reading(1, 5.0), reading(2, 4.0), reading(3, 3.9), reading(2, 4.1), reading(2, val=4.2)]
    path = write(tmp_path / "r", rows) / "metrics.jsonl"
    assert read_metrics(path, unfinished=False) == [reading(1, 5.0), reading(2, 4.1, 4.2)]


def swag(step: int, share: float, items: int) -> dict[str, Any]:
    return reading(step, 1.0) | {"hellaswag.acc_norm": share, "hellaswag.acc": 0.1, "hellaswag.items": items}


def test_hellaswag_and_its_reference_lines(tmp_path: Path) -> None:
    write(tmp_path / "o" / "x-seed0", [swag(1, 0.25, 10042), swag(2, 0.27, 10042)])
    write(tmp_path / "o" / "x-seed1", [swag(1, 0.27, 10042), swag(2, 0.31, 10042)])
    value = build_curves(find_runs(tmp_path / "o"))
    (curve,) = value["hellaswag"]["curves"]
    np.testing.assert_allclose(curve["mean"], [0.26, 0.29])
    assert value["hellaswag"]["gpt2_124m"] == 0.2955
    assert "10,042 items: one standard error of a run is about 0.4 points" in value["captions"]["hellaswag"]
    assert [note["text"] for note in hellaswag_figure(value)["layout"]["annotations"]] == [
        "chance, 25 %", "GPT-2 124M as published, 29.55 %",
    ]  # fmt: skip
    assert value["table"][0]["hellaswag"] == pytest.approx({"mean": 0.29, "low": 0.27, "high": 0.31})
    write(tmp_path / "o" / "y", [swag(1, 0.25, 400)])
    value = build_curves(find_runs(tmp_path / "o"))
    assert value["hellaswag"]["gpt2_124m"] is None
    assert value["hellaswag"]["items"] == [400, 10042]
    assert len(hellaswag_figure(value)["layout"]["annotations"]) == 1


def test_names_of_directories_stay_text(tmp_path: Path) -> None:
    hostile = "<b>&{{plotly}}$x$"
    for name in (hostile, "_hidden"):
        write(tmp_path / "o" / name, [swag(1, 0.25, 200), swag(2, 0.27, 200)])
    value = build_curves(find_runs(tmp_path / "o"))
    page = render(value)
    assert "&lt;b&gt;&amp;{{plotly}}$x$" in page
    assert hostile not in page
    names = [trace["name"] for trace in loss_figure(value)["data"] if trace["showlegend"]]
    assert names == ["&lt;b&gt;&amp;{{plotly}}$x$", "_hidden"]
    assert len(loss_png(value)) > 10_000


def test_names_are_as_long_as_they_must_be() -> None:
    arms = [Path("/r/one/control"), Path("/r/two/control"), Path("/r/two/facts")]
    assert list(map(names_of(arms).get, arms)) == ["one/control", "two/control", "facts"]


def test_more_arms_than_colours_look_different(tmp_path: Path) -> None:
    for number in range(15):
        write(tmp_path / "o" / f"arm{number}", [reading(1, 1.0)])
    arms = build_curves(find_runs(tmp_path / "o"))["arms"]
    assert [arm["name"] for arm in arms] == [f"arm{number}" for number in range(15)]
    assert len({(arm["color"], arm["symbol"]) for arm in arms}) == 15
    assert len({(arm["color"], arm["dash"]) for arm in arms}) == 12


def test_pictures_are_images_that_show_something(tmp_path: Path) -> None:
    write(tmp_path / "o" / "x-seed0", [swag(s, 0.25 + 0.01 * s, 200) for s in range(1, 9)])
    write(tmp_path / "o" / "x-seed1", [swag(s, 0.26 + 0.01 * s, 200) for s in range(1, 9)])
    value = build_curves(find_runs(tmp_path / "o"))
    for data in (loss_png(value), hellaswag_png(value)):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        assert image.width >= 1200
        seen = np.asarray(image).reshape(-1, 3)
        # The first arm's blue, in the line and the legend.
        assert (np.abs(seen.astype(int) - [0x00, 0x72, 0xB2]).sum(axis=1) < 12).sum() > 1000
    assert loss_png(value) == loss_png(value)


def test_pictures_of_others_are_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "with", [swag(1, 0.25, 200)])
    write(tmp_path / "without", [reading(1, 1.0)])
    out = tmp_path / "out"
    assert len(write_curves(build_curves(find_runs(tmp_path / "with")), out)) == 4
    assert len(write_curves(build_curves(find_runs(tmp_path / "without")), out)) == 3
    assert not (out / "hellaswag.png").exists()
    (out / "curves.json").write_text('{"made_by": "me"}')
    with pytest.raises(UserError, match=r"curves\.json was not written by"):
        write_curves(build_curves(find_runs(tmp_path / "with")), out)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "loss.png").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"loss\.png was not written by"):
        write_curves(build_curves(find_runs(tmp_path / "with")), foreign)
    assert (foreign / "loss.png").read_bytes() == b"mine"


def test_few_characters() -> None:
    assert [short(v, "source_bytes") for v in (0, 500, 4e10, 1.25e6)] == ["0", "500", "40 GB", "1.25 MB"]
    assert [short(1.5e9, "tokens"), short(2000, "steps")] == ["1.5B", "2,000"]
    assert [seeds_said(s) for s in ([], [3], [0, 1], [0, 1, 2], [0, 2, 3])] == ["", "3", "0, 1", "0 to 2", "0, 2, 3"]
