"""Fine-tuning and training by reward, as HTML: what each arm learned and how held-out problems went."""

from typing import Any

from vocablab.analysis.fragments import chip, percent, table, text

_INTRO = (
    "What came after pretraining, means over seeds. Held-out readings steer and watch the training; the verdicts rest "
    "on the evaluation alone. In the pictures the strong line is the mean of an arm over the steps that all its seeds "
    "have, faint lines are its seeds."
)
_BITS = (
    "Held-out bits per byte are of the answers that fine-tuning did not see. Lost forms are not charged, so they "
    "compare steps, not arms."
)
_REWARD = (
    "On held-out problems, start → end; used and idle tokens at the end. Pass rate: share of right answers "
    "among those sampled; greedy: of the most probable ones. Used: distinct added tokens whose fact is true, whose "
    "operands were known and whose result is taken up; idle: all others. Entropy, KL and length: last logged step."
)
_PAIRS = (
    "Pairs of answers to the same problem, one with added tokens and one without: shares of pairs, and the mean "
    "difference of their rewards. First → last quarter of the logged steps."
)


def post_training(report: dict[str, Any]) -> str:
    """The section on what came after pretraining; nothing at all if nothing did."""
    found = report["post_training"]
    tuned, rewarded = found["fine_tuning"], found["reward"]
    if not (tuned["runs"] or rewarded["runs"] or report["curves"]["sft"]):
        return ""
    parts = [f'<section id="post-training"><h2>Post-training</h2><p class="note">{_INTRO}</p>']
    if tuned["runs"] or report["curves"]["sft"]:
        parts.append('<h3>Fine-tuning</h3><div id="tuning-plots"></div>')
    if tuned["runs"]:
        parts.append(f'{_lessons(report)}<p class="note">{_BITS}</p>')
    if rewarded["runs"]:
        parts.append(f'<h3>Training by reward</h3>{_stopped(report)}<div id="reward-plots"></div>')
        parts.append(f'{_reward(report)}<p class="note">{_REWARD}</p>')
    if any(row["paired"] for row in rewarded["arms"]):
        parts.append(f'<h4>Contrastive pairs</h4>{_pairs(report)}<p class="note">{_PAIRS}</p>')
    return "".join(parts) + "</section>"


def span(values: list[int | None]) -> str:
    """What seeds have in common, or the range of it."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = min(known), max(known)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def decimals(value: float | None, places: int = 3) -> str:
    """A number with its decimals, or a dash."""
    return "–" if value is None else f"{value:.{places}f}"


def change(row: dict[str, Any], name: str) -> str:
    """A share at the start and at the end of training by reward."""
    return f"{100 * row['start'][name]:.1f} → {percent(row['end'][name])}"


def _lessons(report: dict[str, Any]) -> str:
    rows = [
        [
            chip(report, row["arm"]),
            text(row["lesson"]),
            str(row["n_seeds"]),
            span(row["steps"]),
            f"{row['examples']:,.0f}",
            percent(row["drill_share"]),
            decimals(row["end"], 4),
            decimals(row["best"], 4),
            f"{span(row['best_step'])}<small>last {span(row['last_step'])}</small>" if row["use"] else "–",
            text(row["use"]),
        ]
        for row in report["post_training"]["fine_tuning"]["arms"]
    ]
    head = ["Arm", "Lesson", "Seeds", "Steps", "Examples", "Drills", "Held-out bits/byte, end", "At the best step"]
    return table([*head, "Best step", "Weights in use"], rows, numeric_from=2, name="fine-tuning")


def _reward(report: dict[str, Any]) -> str:
    rows = []
    for row in report["post_training"]["reward"]["arms"]:
        end, last = row["end"], row["last"]
        stopped = len(row["stopped"])
        rows.append(
            [
                chip(report, row["arm"]),
                str(row["n_seeds"]),
                span(row["steps"]),
                change(row, "held_out_pass_rate"),
                change(row, "held_out_greedy"),
                decimals(end["held_out_used_tokens"], 2),
                decimals(end["held_out_idle_tokens"], 2),
                decimals(last["entropy"]),
                decimals(last["kl"]),
                decimals(last["length"], 1),
                f'<b class="fail">{stopped} of {row["n_seeds"]}</b>' if stopped else "none",
            ]
        )
    head = ["Arm", "Seeds", "Steps", "Pass rate<small>held out</small>", "Greedy<small>held out</small>"]
    head += [f"{kind} tokens<small>per answer</small>" for kind in ("Used", "Idle")]
    head += [f"{name}<small>{unit}</small>" for name, unit in (("Entropy", "nats/token"), ("KL", "nats/token"))]
    head += ["Length<small>tokens</small>", "Stopped<small>early</small>"]
    return table(head, rows, name="training by reward")


def _stopped(report: dict[str, Any]) -> str:
    said = [
        f"<li>{chip(report, row['arm'])} seed {stop['seed']}, step {stop['step']:,}: {text(stop['sentence'])}</li>"
        for row in report["post_training"]["reward"]["arms"]
        for stop in row["stopped"]
    ]
    return f'<div class="notice"><b>Stopped early.</b><ul>{"".join(said)}</ul></div>' if said else ""


def _pairs(report: dict[str, Any]) -> str:
    rows = []
    for row in report["post_training"]["reward"]["arms"]:
        if row["paired"]:
            first, last = row["paired"]["first"], row["paired"]["last"]
            shares = ("only_with_right", "only_without_right", "with_better", "without_better")
            cells = [f"{percent(first[name])} → {percent(last[name])}" for name in shares]
            difference = f"{first['difference']:+.3f} → {last['difference']:+.3f}"
            rows.append([chip(report, row["arm"]), *cells, difference])
    head = ["Arm", "Only with tokens right", "Only without right", "With better paid", "Without better paid"]
    return table([*head, "Reward, with minus without"], rows, name="contrastive pairs")
