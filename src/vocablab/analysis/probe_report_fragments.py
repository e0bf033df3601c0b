"""The probes of a study's runs, as HTML: answers and headline measures by arm, and pictures of one seed."""

from collections import Counter
from typing import Any

from vocablab.analysis.fragments import chip, table, text
from vocablab.analysis.probe_fragments import rules, word
from vocablab.analysis.probe_questions import decimals

_NOTE = (
    "Exploratory: each model is asked by itself, and no verdict above rests on it. The words follow fixed rules, the "
    "same for every model; each arm counts its seeds."
)


def probes(report: dict[str, Any]) -> str:
    """The section of what the probe stage left; nothing at all if no run was probed."""
    found = report["probes"]
    if not any(found.values()):
        return ""
    parts = ['<section id="probes"><h2>Probes</h2>']
    if found["answers"]:
        parts.append(f'<p class="note">{_NOTE}</p>{_answers(report)}')
        parts.append(f"<details><summary>Headline measures</summary>{_measures(report)}</details>")
        parts.append(f"<details><summary>The rules of the words</summary>{rules()}</details>")
    if found["pages"]:
        links = ", ".join(f'<a href="{text(page["file"])}">{text(page["file"])}</a>' for page in found["pages"])
        parts.append(f'<p class="note">All measures and figures of a run, beside this page: {links}.</p>')
    parts += [_picture(report, entry) for entry in found["pictures"]]
    parts.append(_left_out(found["left_out"]))
    return "".join(parts) + "</section>"


def _arms(report: dict[str, Any]) -> list[str]:
    probed = {row["arm"] for row in report["probes"]["answers"]}
    return [arm["name"] for arm in report["study"]["arms"] if arm["name"] in probed]


def _answers(report: dict[str, Any]) -> str:
    arms = _arms(report)
    groups: dict[str, dict[str, Any]] = {}
    for row in report["probes"]["answers"]:
        groups.setdefault(row["question"], {})[row["arm"]] = row
    rows = [[text(question), *(_words(found.get(arm)) for arm in arms)] for question, found in groups.items()]
    return table(["Question", *(chip(report, arm) for arm in arms)], rows, numeric_from=99, name="probes")


def _words(row: dict[str, Any] | None) -> str:
    """Each word with the number of seeds that say it."""
    if row is None:
        return ""
    return "".join(
        f"<div>{word(one)} <small>{count} of {row['seeds']}</small></div>" for one, count in row["words"].items()
    )


def _measures(report: dict[str, Any]) -> str:
    arms = _arms(report)
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in report["probes"]["measures"]:
        key = tuple(row[name] for name in ("probe", "place", "target", "metric"))
        groups.setdefault(key, {})[row["arm"]] = row
    rows = [
        [f"{text(target)}: {text(metric)}<small>{text(probe)}, {text(place)}</small>",
         *(_measure(found.get(arm)) for arm in arms)]
        for (probe, place, target, metric), found in groups.items()
    ]  # fmt: skip
    note = (
        '<p class="note">Means over seeds; small: lowest to highest seed, mean of the controls, seeds that say yes.</p>'
    )
    return note + table(["Measure", *(chip(report, arm) for arm in arms)], rows, name="headline measures of probes")


def _measure(row: dict[str, Any] | None) -> str:
    if row is None:
        return '<span class="soft">–</span>'
    small = [f"{decimals(row['least'])} to {decimals(row['most'])}"] if row["n_seeds"] > 1 else []
    small += [] if row["control"] is None else [f"control {decimals(row['control'])}"]
    small += [] if row["yes"] is None else [f"yes {row['yes']} of {row['n_seeds']}"]
    return decimals(row["mean"]) + "".join(f"<small>{one}</small>" for one in small)


def _picture(report: dict[str, Any], entry: dict[str, Any]) -> str:
    where = f"{chip(report, entry['arm'])} seed {entry['seed']} · <code>{text(entry['file'])}</code>"
    shown = f'<img src="data:image/png;base64,{text(entry["png"])}" alt="{text(entry["file"])}">'
    return f"<figure><figcaption>{where}</figcaption>{shown}</figure>"


def _left_out(left: list[dict[str, Any]]) -> str:
    """How many pictures are not shown, why, and where they lie."""
    if not left:
        return ""
    counts = Counter((entry["why"], entry["file"].rsplit("/", 1)[0]) for entry in left)
    listed = "".join(
        f"<li>{count} in <code>{text(place)}</code>: {text(why)}</li>" for (why, place), count in counts.items()
    )
    return f"<details><summary>{len(left)} pictures are not shown here</summary><ul>{listed}</ul></details>"
