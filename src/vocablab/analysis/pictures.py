"""What the probe stage left beside the runs: headline measures and their words over seeds, and pictures of one seed."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from vocablab.analysis.probe_pictures import MAIN
from vocablab.analysis.probe_questions import FINDINGS, QUESTIONS, answers, read_findings
from vocablab.analysis.probe_rules import ABSENT, WORDS, YES
from vocablab.analysis.scores import StudyFiles

Row = dict[str, Any]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LARGEST = 1_000_000
"""Bytes of one picture that the page shows."""
MOST = 3_000_000
"""Bytes of all of them: a heavier page is too much for a mail or a pull request."""
_SAME = ("question", "probe", "place", "target", "metric")
"""What is the same measure in another seed or arm."""


def probes(study: StudyFiles) -> Row:
    """What the report tells of probes; every list is empty if no run was probed.

    ``runs``: one row per arm, seed and headline measure. ``answers``: by question and arm how many seeds say which
    word. ``measures``: each headline measure of an arm, over its seeds. ``pictures``: of the first seed of each arm
    that has any, as base64. ``left_out``: where the others lie. ``pages``: where `probe.html` lies.
    """
    runs, said, pages = [], [], []
    for arm, seed in study.runs:
        place = _place(study, arm, seed)
        if (place / "probe.html").is_file():
            pages.append({"arm": arm, "seed": seed, "file": f"{arm}/seed{seed}/probe/probe.html"})
        if not (place / FINDINGS).is_file():
            continue
        for answer in (a for a in answers(read_findings(place / FINDINGS)["measures"]) if a["told"]):
            said.append({"arm": arm, "seed": seed, "question": answer["question"], "word": answer["word"]})
            rows = [row | {"part": part["name"]} for part in answer["parts"] for row in part["rows"]]
            runs += [{"arm": arm, "seed": seed, "question": answer["question"], **_headline(row)} for row in rows]
    pictures, left_out = _pictures(study)
    return {
        "runs": runs,
        "answers": _answers(said),
        "measures": _measures(runs),
        "pictures": pictures,
        "left_out": left_out,
        "pages": pages,
    }


def _place(study: StudyFiles, arm: str, seed: int) -> Path:
    return study.directory / arm / f"seed{seed}" / "probe"


def _headline(row: Row) -> Row:
    names = ("part", "probe", "place", "target", "metric", "value", "low", "high", "control", "p", "adjusted", "n")
    return {name: row[name] for name in (*names, "role", "word")}


def _answers(said: list[Row]) -> list[Row]:
    found: dict[tuple[str, str], Row] = {}
    for one in said:
        row = found.setdefault(
            (one["question"], one["arm"]), {"question": one["question"], "arm": one["arm"], "seeds": 0, "words": {}}
        )
        row["seeds"] += 1
        row["words"][one["word"]] = row["words"].get(one["word"], 0) + 1
    for row in found.values():
        row["words"] = {word: row["words"][word] for word in WORDS if word in row["words"]}
    return list(found.values())


def _measures(runs: list[Row]) -> list[Row]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in runs:
        groups.setdefault(tuple(row[name] for name in ("arm", *_SAME)), []).append(row)
    found = []
    for rows in groups.values():
        values = [row["value"] for row in rows]
        words = [row["word"] for row in rows if row["word"] not in (None, ABSENT)]
        controls = [row["control"] for row in rows if row["control"] is not None]
        found.append(
            {name: rows[0][name] for name in ("arm", *_SAME)}
            | {
                "mean": sum(values) / len(values),
                "least": min(values),
                "most": max(values),
                "control": sum(controls) / len(controls) if len(controls) == len(rows) else None,
                "n_seeds": len(rows),
                "yes": words.count(YES) if words else None,
            }
        )
    order = [question.text for question in QUESTIONS]
    return sorted(found, key=lambda row: order.index(row["question"]))


def _pictures(study: StudyFiles) -> tuple[list[Row], list[Row]]:
    """What is shown, arm by arm, and what is not."""
    candidates: list[tuple[int, int, str, int, Path]] = []
    left_out = []
    shown_arms: set[str] = set()
    for arm, seed in study.runs:
        files = sorted(_place(study, arm, seed).glob("*.png"))
        if files and arm in shown_arms:
            left_out += [_left(arm, seed, path, "another seed is shown") for path in files]
        elif files:
            shown_arms.add(arm)
            candidates += [(_rank(path), study.arm_names.index(arm), arm, seed, path) for path in files]
    room, shown = MOST, []
    # The most telling picture of every arm first, so that the limit never takes an arm away.
    for rank, number, arm, seed, path in sorted(candidates):
        data = path.read_bytes()
        if not data.startswith(_SIGNATURE):
            left_out.append(_left(arm, seed, path, "it is no PNG"))
        elif len(data) > min(_LARGEST, room):
            left_out.append(_left(arm, seed, path, "the page would be too heavy"))
        else:
            room -= len(data)
            entry = {"arm": arm, "seed": seed, "file": path.name, "sha256": hashlib.sha256(data).hexdigest()}
            shown.append((number, rank, entry | {"png": base64.b64encode(data).decode("ascii")}))
    return [entry for *_, entry in sorted(shown, key=lambda one: one[:2])], left_out


def _rank(path: Path) -> int:
    return next((place for place, head in enumerate(MAIN) if path.name.startswith(head)), len(MAIN))


def _left(arm: str, seed: int, path: Path, why: str) -> Row:
    return {"arm": arm, "seed": seed, "file": f"{arm}/seed{seed}/probe/{path.name}", "why": why}
