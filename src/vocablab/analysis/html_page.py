"""Pages that open anywhere, offline: style, script, plotly and data are inside the file."""

import json
import re
from importlib import resources
from typing import Any

from vocablab.analysis.fragments import text

_SLOT = re.compile(r"\{\{(\w+)\}\}")


def html_page(body: str, script: str, title: str, data: Any, slots: dict[str, str]) -> str:
    """The page made of the head that all pages share and a template for the rest.

    Args:
        body: template of what follows the head, a file of `templates/`. It has a slot ``{{name}}`` for each of `slots`,
            and may have one for the title.
        script: what draws, a file of `templates/`.
        title: plain text.
        data: what the script draws, as JSON values.
        slots: finished HTML.
    """
    # Imported here because plotly takes its time, and the numbers alone do not need it.
    from plotly.offline import get_plotlyjs

    filled = slots | {
        "title": text(title),
        "style": _template("report.css"),
        "plotly": get_plotlyjs(),
        "script": _template(script),
        "data": script_json(data),
    }
    # One pass, so that a slot's name inside a model's output or a directory's name is never filled in.
    return _SLOT.sub(lambda match: filled[match.group(1)], _template("head.html") + _template(body))


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever text it holds."""
    found = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        found = found.replace(character, f"\\u{ord(character):04x}")
    return found


def _template(name: str) -> str:
    return (resources.files("vocablab.analysis") / "templates" / name).read_text(encoding="utf-8")
