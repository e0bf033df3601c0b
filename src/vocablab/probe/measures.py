"""What a probe reports: measures, one row each, and figures as plain data that a page draws."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Measure:
    """One number with what it must be compared with."""

    probe: str
    """Which one: ``geometry``, ``linear``, ``fourier``, ``audit``, ``attention``, ``causal``, ``lens``, ``retrieval``,
    ``composed``, ``untaught``."""
    place: str
    """Where it was measured: ``input rows``, ``output rows``, ``layer 3``, ``layer 3 head 1``."""
    target: str
    """Of what: ``first operand``, ``product``, ``last digit``, ``frequency``."""
    metric: str
    """Which number: ``silhouette``, ``accuracy``, ``kappa``, ``reliance``."""
    value: float
    """The number; never nan (a measure that cannot be taken is not reported, and a note says so)."""
    control: float | None = None
    """The same number where nothing can be found: random labels, matched text, permuted operands (their mean)."""
    p: float | None = None
    """p-value, if a test was made: against the control by permutation, or of a difference of pairs against 0."""
    n: int = 0
    """How many rows, texts or facts it rests on."""
    note: str = ""
    """One sentence a reader must know, or empty."""
    low: float | None = None
    """Lower bound of the 95% interval of `value`; None, as `high` is, if none was computed."""
    high: float | None = None
    """Its upper bound."""


@dataclass(frozen=True)
class Figure:
    """A picture as data.

    ``scatter``: ``data = {"points": [{"x", "y", "label", "groups": {name: value}}], "colour_by": [names]}``;
    ``heatmap``: ``{"values": [[...]], "x": [labels], "y": [labels], "low": 0.0, "high": 1.0}``;
    ``lines`` and ``bars``: ``{"series": [{"name", "x": [...], "y": [...]}]}``.
    """

    name: str
    """For a file: lower case, digits and hyphens."""
    title: str
    """What it shows, one sentence."""
    kind: Literal["scatter", "heatmap", "lines", "bars"]
    """How it is drawn."""
    x: str
    """Title of the horizontal axis, with its unit."""
    y: str
    """Title of the vertical axis, with its unit."""
    data: dict[str, Any]
    """JSON values only; see above."""


@dataclass
class Findings:
    """What some probes found."""

    measures: list[Measure] = field(default_factory=list)
    """The numbers."""
    figures: list[Figure] = field(default_factory=list)
    """The pictures."""
    notes: list[str] = field(default_factory=list)
    """Sentences: what could not be measured and why; warnings."""

    def __iadd__(self, other: "Findings") -> "Findings":
        self.measures += other.measures
        self.figures += other.figures
        self.notes += other.notes
        return self

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)
