"""What an intervention did to a text, for a person and for a program: counts, samples, what it left alone and why."""

import json
from collections import Counter, defaultdict
from html import escape
from pathlib import Path
from typing import Any

from vocablab.base.config import to_json
from vocablab.base.errors import RunError, UserError
from vocablab.base.files import read_json, write_bytes_atomically
from vocablab.vocab.inject import Injected, restore, side_record
from vocablab.vocab.intervention import Intervention

SAMPLES = 5
"""How many samples are shown per rule and per reason."""
CONTEXT = 30
"""Characters of text shown on each side of a sample."""
LOSSLESS = "the replacement says all of it"
"""Name of the rule where nothing about the raw form is lost."""

Audit = dict[str, Any]


def audit(raw: str, injected: Injected, intervention: Intervention) -> Audit:
    """Everything that a reader needs to trust an injection.

    Returns:
        ``counts`` (sites, by rule, by token, left alone by reason); ``samples`` per rule with the restored text;
        ``left_alone``: samples per reason; ``replacements``: the side record (`side_record`). A rule is a surface
        form with placeholders, such as ``{a}*{b}={c}``.

    Raises:
        RunError: rule 2, if the changed text cannot be restored exactly.
    """
    record = side_record(injected)
    if restore(injected.text, intervention, record) != raw:
        raise RunError("rule 2: the changed text cannot be restored exactly; nothing was written.")
    spans, misses = injected.spans, intervention.near_misses(raw)
    samples: dict[str, list[dict[str, str]]] = defaultdict(list)
    for span in spans:
        shown = samples[span.form or LOSSLESS]
        if len(shown) < SAMPLES:
            restored = intervention.surface(span.replacement, span.form)
            place = _place(raw, span.start, span.end)
            shown.append({**place, "replacement": span.replacement, "restored": restored})
    left: dict[str, list[dict[str, str]]] = defaultdict(list)
    for miss in misses:
        if len(left[miss.reason]) < SAMPLES:
            left[miss.reason].append(_place(raw, miss.start, miss.end))
    return {
        "intervention": to_json(intervention),
        "counts": {
            "characters": len(raw),
            "sites": len(spans),
            "by_rule": dict(Counter(span.form or LOSSLESS for span in spans).most_common()),
            "by_token": dict(Counter(span.replacement for span in spans).most_common()),
            "left_alone": dict(Counter(miss.reason for miss in misses).most_common()),
        },
        "restored_exactly": True,
        "samples": dict(samples),
        "left_alone": dict(left),
        "replacements": record,
    }


def _place(raw: str, start: int, end: int) -> dict[str, str]:
    return {
        "before": raw[max(0, start - CONTEXT) : start],
        "raw": raw[start:end],
        "after": raw[end : end + CONTEXT],
    }


def write_audit(found: Audit, path: Path) -> None:
    """Write an audit as the name of the file says: ``.html`` for a person, ``.jsonl`` or ``.json`` for a program."""
    if path.suffix == ".html":
        text = page(found)
    elif path.suffix == ".jsonl":
        text = "".join(_line(row) for row in _rows(found))
    else:
        text = json.dumps(found, indent=1) + "\n"
    # Surrogates stand for input bytes that are no UTF-8; a page shows them escaped, JSON escapes them anyway.
    write_bytes_atomically(path, text.encode("utf-8", "backslashreplace"))


def read_side_record(path: Path) -> list[list[Any]]:
    """The side record in a ``.json`` or ``.jsonl`` audit.

    Raises:
        UserError: if it is missing, damaged, or a page.
    """
    if path.suffix == ".html":
        raise UserError(f"--audit {path}: a page cannot be restored from; write the audit as .json or .jsonl.")
    try:
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [[r["at"], r["replacement"], r["form"]] for r in rows if r["kind"] == "replacement"]
        return [[int(a), str(b), str(c)] for a, b, c in read_json(path, "the audit file")["replacements"]]
    except FileNotFoundError:
        raise UserError(f"there is no audit file {path}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the audit file {path} is damaged: {type(error).__name__}: {error}.") from None


def _rows(found: Audit) -> list[dict[str, Any]]:
    kept = ("intervention", "counts", "restored_exactly")
    rows: list[dict[str, Any]] = [{"kind": "summary", **{key: found[key] for key in kept}}]
    rows += [{"kind": "sample", "rule": rule, **one} for rule, many in found["samples"].items() for one in many]
    rows += [{"kind": "left alone", "reason": why, **one} for why, many in found["left_alone"].items() for one in many]
    rows += [{"kind": "replacement", "at": a, "replacement": b, "form": c} for a, b, c in found["replacements"]]
    return rows


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


_STYLE = """
body { margin: 0 auto; max-width: 1100px; padding: 32px 28px 64px; color: #1b2330; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 28px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 36px 0 8px; }
p { color: #566072; margin: 0 0 12px; max-width: 80ch; }
dl { display: flex; flex-wrap: wrap; gap: 10px 36px; margin: 18px 0 0; }
dt { font-size: 13px; color: #566072; } dd { margin: 0; font-size: 20px; font-weight: 650; }
.scroll { overflow-x: auto; border: 1px solid #dde2ea; border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-size: 12.5px; color: #566072; background: #f5f7fa; white-space: nowrap; }
th, td { padding: 6px 12px; border-bottom: 1px solid #dde2ea; vertical-align: top; }
tr:last-child td { border-bottom: 0; } tr.first td { border-top: 2px solid #c4ccd8; }
code { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
.token { white-space: nowrap; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
details { margin-top: 28px; }
mark { background: #fff0c2; border-radius: 3px; padding: 0 2px; } mark.new { background: #d5efe4; }
i { color: #8a93a3; font-style: normal; }
"""


def page(found: Audit) -> str:
    """An audit as one page that opens anywhere."""
    counts = found["counts"]
    name = found["intervention"]["type"]
    refused = sum(counts["left_alone"].values())
    facts = {
        "characters read": counts["characters"],
        "sites changed": counts["sites"],
        "left alone": refused,
        "different tokens": len(counts["by_token"]),
    }
    cells = "".join(f"<div><dt>{key}</dt><dd>{value:,}</dd></div>" for key, value in facts.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Audit of {escape(name)}</title><style>{_STYLE}</style></head><body>
<h1>Audit of {escape(name)}</h1>
<p>The changed text was restored and is the raw text, character by character.</p>
<dl>{cells}</dl>
<h2>What was changed</h2>
<p>By rule: the way the text was written, with <code>{{a}}</code>, <code>{{b}}</code> for operands and
<code>{{c}}</code> for the answer; up to {SAMPLES} samples each.</p>
{_table(("rule", "sites", "in the text", "becomes", "restored"), _changed(found))}
<h2>What was left alone</h2>
<p>It looks like a site and is none.</p>
{_table(("reason", "places", "in the text"), _left(found))}
<h2>Replacements by number</h2>
{_table(("replacement", "sites"), [(f"<code>{escape(k)}</code>", f"{v:,}") for k, v in counts["by_token"].items()])}
<details><summary>The intervention as declared</summary>
<pre><code>{escape(json.dumps(found["intervention"], indent=1, ensure_ascii=False))}</code></pre></details>
</body></html>
"""


def _changed(found: Audit) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for rule, number in found["counts"]["by_rule"].items():
        for index, one in enumerate(found["samples"][rule]):
            head = (f"<code>{escape(rule)}</code>", f"{number:,}") if index == 0 else ("", "")
            new = f'<code class="token"><mark class="new">{_shown(one["replacement"])}</mark></code>'
            rows.append((*head, _context(one), new, f"<code>{_shown(one['restored']) or '<i>nothing</i>'}</code>"))
    return rows


def _left(found: Audit) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for reason, number in found["counts"]["left_alone"].items():
        for index, one in enumerate(found["left_alone"][reason]):
            rows.append((*((escape(reason), f"{number:,}") if index == 0 else ("", "")), _context(one)))
    return rows


def _context(one: dict[str, str]) -> str:
    return f"<code>{_shown(one['before'])}<mark>{_shown(one['raw'])}</mark>{_shown(one['after'])}</code>"


def _shown(text: str) -> str:
    return escape(text).replace("\n", "<i>↵</i>")


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return "<p>None.</p>"
    numbers = {"sites", "places"}
    kinds = [' class="n"' if head in numbers else "" for head in heads]
    top = "".join(f"<th{kind}>{head}</th>" for head, kind in zip(heads, kinds, strict=True))
    body = []
    for row in rows:
        first = ' class="first"' if row[0] else ""
        body.append(f"<tr{first}>" + "".join(f"<td{k}>{c}</td>" for c, k in zip(row, kinds, strict=True)) + "</tr>")
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
