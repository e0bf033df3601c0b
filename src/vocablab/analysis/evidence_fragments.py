"""What lies behind the effects, as HTML: dose, treated items, ways to answer, adoption, samples."""

import json
from typing import Any

from vocablab.analysis.fragments import chip, interval, marked, measure, number, p_value, percent, table, text


def adoption(report: dict[str, Any]) -> str:
    """How the arms use their tokens."""
    rows = [
        [
            f"<code>{text(row['target'])}</code>",
            chip(report, row["arm"]),
            str(row["answers"]),
            f"{row['per_answer']:.2f}",
            percent(row["right"]),
            percent(row["adopted"]) + (f"<small>of {row['fits']}</small>" if row["fits"] else ""),
            percent(row["ended_share"]),
        ]
        for row in report["adoption"]
    ]
    if not rows:
        return '<p class="empty">No generated answers were scored.</p>'
    head = [
        "Task",
        "Arm",
        "Answers",
        "Fact tokens per answer",
        "Of them right",
        "Used where a fact fits",
        "Ended (EOS)",
    ]
    return table(head, rows, numeric_from=2, name="token adoption")


def samples(report: dict[str, Any]) -> str:
    """The same items side by side for each arm."""
    if not report["samples"]:
        return '<p class="empty">No item was generated for both control and treatment.</p>'
    return "".join(_sample(report, item) for item in report["samples"])


def _sample(report: dict[str, Any], item: dict[str, Any]) -> str:
    answers = []
    for arm in report["study"]["arms"]:
        answer = item["arms"].get(arm["name"])
        if answer is None:
            answers.append(f'<div class="answer">{chip(report, arm["name"])}<p class="missing">missing</p></div>')
            continue
        score = answer["score"]
        tone = "none" if score is None else "right" if score >= 0.5 else "wrong"
        said = {"none": "not scored", "right": "✓ right", "wrong": "✗ wrong"}[tone]
        end = "" if answer["ended_eos"] else " · did not end"
        answers.append(
            f'<div class="answer {tone}"><div class="top">{chip(report, arm["name"])}<b>{said}</b></div>'
            f"<pre>{marked(answer['output'])}</pre>"
            f'<p class="read">read as <code>{text(answer["extracted"] or "nothing")}</code>{end}</p></div>'
        )
    where = f"{item['task']}.{item['split']} · {item['item_id']} · seed {item['seed']}"
    return (
        f'<article class="sample"><p class="where"><code>{text(where)}</code><em>{text(item["why"])}</em></p>'
        f'<pre class="prompt">{marked(item["prompt"])}</pre>'
        f'<div class="answers">{"".join(answers)}</div></article>'
    )


def exposure(report: dict[str, Any]) -> str:
    """Dose by arm, and exposures against gain by token."""
    found = report["exposure"]
    parts = []
    if found["lacking"]:
        lacking = ", ".join(found["lacking"])
        parts.append(f'<p class="notice">The prepare records of {text(lacking)} do not count exposures.</p>')
    if found["doses"]:
        parts.append(_doses(report))
    if not found["tokens"]:
        return "".join(parts) or '<p class="empty">No record of prepare or sft counts exposures of a token.</p>'
    if any(row["gains"] for row in found["tokens"]):
        parts.append(f"<details><summary>Gain by exposure: rank correlations</summary>{_links(report)}</details>")
        parts.append(f"<details><summary>Every token</summary>{_tokens(report)}</details>")
    else:
        parts.append('<p class="empty">No item rests on the fact of one token, so no gain can be set against it.</p>')
    return "".join(parts)


def _where(task: str, split: str) -> str:
    return f"{task}.{split}" if split else task


def _doses(report: dict[str, Any]) -> str:
    rows = [
        [
            chip(report, row["arm"]),
            "fine-tuning" if row["stage"] == "sft" else "corpus",
            str(row["tokens"]),
            "–" if row["dose"] is None else f"{100 * row['dose']:.3f} %",
            f"{row['exposures']:,.0f}",
            f"{row['least']:,.0f} / {row['median']:,.0f} / {row['most']:,.0f}",
            str(row["never"]),
            "–" if row["epochs"] is None else f"{row['epochs']:.2f}",
        ]
        for row in report["exposure"]["doses"]
    ]
    head = ["Arm", "Counted in", "Tokens", "Dose", "Exposures", "Least / median / most", "Never seen", "Epochs read"]
    return table(head, rows, numeric_from=2, name="dose")


def _links(report: dict[str, Any]) -> str:
    rows = [
        [
            measure(_where(row["task"], row["split"]), row["metric"]),
            str(row["tokens"]),
            "–" if row["spearman"] is None else f"{row['spearman']:+.2f}",
        ]
        for row in report["exposure"]["links"]
    ]
    return table(["Measure", "Tokens", "Spearman's rank correlation"], rows)


def _tokens(report: dict[str, Any]) -> str:
    """One row per token, one column per measure."""
    found = report["exposure"]["tokens"]
    measures = dict.fromkeys((g["task"], g["split"], g["metric"]) for row in found for g in row["gains"])
    rows = []
    for row in found:
        gains = {(g["task"], g["split"], g["metric"]): g for g in row["gains"]}
        cells = [_gain(gains.get(key)) for key in measures]
        rows.append([marked(row["token"]), f"{row['exposures']:,.0f}", *cells])
    head = [measure(_where(task, split), metric) for task, split, metric in measures]
    return table(["Token", "Exposures", *head], rows, name="tokens")


def _gain(gain: dict[str, Any] | None) -> str:
    if gain is None:
        return '<span class="soft">–</span>'
    counted = f"{gain['items']} item{'s' * (gain['items'] != 1)}"
    return f"{number(gain['gain'], gain['metric'], signed=True)}<small>{counted}</small>"


def treated(report: dict[str, Any]) -> str:
    """Effects in items that have a place for a token, and in the others."""
    found = report["treated"]
    rows = []
    for row in found["rows"]:
        for group in ("treated", "untreated"):
            metric, part = row["metric"], row[group]
            cells = [measure(row["task"], f"{metric} · {group}")]
            if part is None:
                rows.append([*cells, "0", "", "", "", "", ""])
                continue
            means = [number(part[name], metric) for name in ("control_mean", "treatment_mean")]
            difference = [number(part["effect"], metric, signed=True), interval(part, metric)]
            rows.append([*cells, str(part["n_items"]), *means, *difference, p_value(part["p_value"])])
    head = ["Task", "Items", "Control", "Treatment", "Difference", "95 % interval", "p"]
    shown = table(head, rows, name="treated items") if rows else ""
    if found["without"]:
        names = ", ".join(found["without"])
        shown += f'<p class="note">Tasks without a treated item: {text(names)}.</p>'
    return shown or '<p class="empty">No answered task of the treatment says where its tokens fit.</p>'


def decodings(report: dict[str, Any]) -> str:
    """Ways to answer the same questions, and ways to read the same documents."""
    parts = []
    if report["decodings"]:
        parts.append(f"<h3>Answers</h3>{_decodings(report)}")
    if len({row["mode"] for row in report["text_modes"]}) > 1:
        parts.append(f"<h3>Documents</h3>{_text_modes(report)}")
    return "".join(parts) or '<p class="soft">Every task was asked in one way only.</p>'


def _decodings(report: dict[str, Any]) -> str:
    names = [arm["name"] for arm in report["study"]["arms"]]
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in report["decodings"]:
        mode = row["way"].removesuffix(row["decoding"]).strip(":")
        said = " · ".join(part for part in (mode, row["decoding"], row["metric"]) if part)
        groups.setdefault((_where(row["task"], row["split"]), said), {})[row["arm"]] = row
    rows = [[measure(*key), _items(arms), *(_share(arms.get(name)) for name in names)] for key, arms in groups.items()]
    head = ["Measure", "Items", *(chip(report, name) for name in names)]
    return table(head, rows, name="decodings")


def _items(arms: dict[str, Any]) -> str:
    return " / ".join(dict.fromkeys(str(row["n_items"]) for row in arms.values()))


def _share(row: dict[str, Any] | None) -> str:
    """A mean with its interval, and its difference to the arm's free answers."""
    if row is None:
        return '<span class="soft">not asked</span>'
    low, high, change = row["low"], row["high"], row["minus_free"]
    shown = percent(row["mean"])
    if low is not None and high is not None:
        shown += f"<small>{100 * low:.1f} to {100 * high:.1f}</small>"
    if change:
        shown += _change("minus free", change, "acc")
    return shown


def _change(what: str, change: dict[str, Any], metric: str) -> str:
    difference = number(change["effect"], metric, signed=True)
    return f"<small>{what} {difference}</small><small>({interval(change, metric)})</small>"


def _text_modes(report: dict[str, Any]) -> str:
    names = [arm["name"] for arm in report["study"]["arms"]]
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for row in report["text_modes"]:
        groups.setdefault((row["task"], row["mode"]), {})[row["arm"]] = row
    rows = [
        [measure(*key), _items(arms), *(_text_mean(arms.get(name)) for name in names)] for key, arms in groups.items()
    ]
    head = ["Documents", "Number", *(chip(report, name) for name in names)]
    return table(head, rows, name="text modes")


def _text_mean(row: dict[str, Any] | None) -> str:
    if row is None:
        return '<span class="soft">not asked</span>'
    metric, change = "bits_per_byte", row["minus_control"]
    shown = number(row["mean"], metric)
    if change:
        shown += _change("minus control", change, metric)
    return shown


def flat(value: Any, where: str = "") -> list[tuple[str, str]]:
    """Nested values as (dotted name, shown value)."""
    if isinstance(value, dict):
        return [pair for key, item in value.items() for pair in flat(item, f"{where}.{key}" if where else str(key))]
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return [(where, shown if len(shown) <= 300 else shown[:297] + "...")]
    return [(where, f"{value:,}" if isinstance(value, int) else f"{value:,.6g}")]
