"""What probes are asked, in plain questions, and which measures answer each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vocablab.analysis import probe_rules as rules
from vocablab.analysis.probe_rules import Rule, all_of, any_of

DECIDES, HINTS, BESIDE, SHOWN = "decides", "hints", "beside", "shown"
"""What a headline measure counts for: its word is the answer's; a yes makes "not clear" of a no; it is shown beside the
answer; it is only in the table."""
_ROWS = r"(input |output )?rows"
_OPERAND = r"[^ ]+ operand"
MASS = "mass from the answer"
"""A metric: attention from the position that predicts the answer."""


@dataclass(frozen=True)
class Pick:
    """Which measures; each field but the probe is a regular expression for the whole text."""

    probe: str
    place: str
    target: str
    metric: str
    role: str = DECIDES
    rule: Rule = rules.tested


@dataclass(frozen=True)
class Part:
    """A part of a question."""

    name: str
    """In few words; empty if the question has one part only."""
    picks: tuple[Pick, ...]
    combine: Callable[[Sequence[str]], str] = all_of


@dataclass(frozen=True)
class Question:
    """A question to one model."""

    text: str
    finding: str
    """What "yes" says, as the object of "found:"."""
    parts: tuple[Part, ...]
    occasional: bool = False
    """Whether only few models have what it asks of: it is not told of the others."""


QUESTIONS = (
    Question(
        "Are operands in the rows?",
        "operands in the rows",
        (
            Part(
                "grouping",
                (
                    Pick("geometry", _ROWS, "operands", "CKA", rule=rules.tested_above_zero),
                    Pick("geometry", _ROWS, _OPERAND, "silhouette"),
                    Pick("geometry", _ROWS, "operands", "nearest neighbour shares it"),
                ),
                any_of,
            ),
            Part("linear probe", (Pick("linear", _ROWS, _OPERAND, "held-out accuracy"),)),
        ),
    ),
    Question(
        "Is the answer in the rows?",
        "the answer in the rows",
        (
            Part(
                "its size",
                (Pick("linear", _ROWS, r"(?!.*operand|frequency).*", "held-out R2", rule=rules.tested_above_zero),),
                any_of,
            ),
            Part("its last digit", (Pick("linear", _ROWS, "last digit", "held-out accuracy"),), any_of),
        ),
    ),
    Question(
        "Are rows periodic in the answer?",
        "rows periodic in the answer",
        (
            Part(
                "",
                (
                    Pick("fourier", _ROWS, r".* mod \d+", "held-out kappa", rule=rules.tested_above_zero),
                    Pick("fourier", _ROWS, r".* mod \d+", "kappa", HINTS, rules.tested_above_zero),
                    Pick("fourier", _ROWS, r"(?!.*operand).*", "spectral peak", SHOWN),
                ),
                any_of,
            ),
        ),
    ),
    Question(
        "Were the rows trained?",
        "trained rows",
        (
            Part(
                "against never-seen rows",
                (
                    Pick("audit", _ROWS, "tokens", "share indistinguishable.*", rule=rules.none_untrained),
                    Pick("audit", "corpus", "exposures", "share below the dose", SHOWN),
                ),
            ),
            Part("against initial rows", (Pick("geometry", _ROWS, "initial rows", "CKA", rule=rules.changed),)),
        ),
    ),
    Question(
        "Do later layers read the token?",
        "that later layers read the token",
        (
            Part(
                "",
                (
                    Pick("attention", "layers .*", "fact token", MASS, rule=rules.attended),
                    Pick("attention", "layer 1", "fact token", MASS, BESIDE),
                ),
            ),
        ),
    ),
    Question(
        "Do answers follow the token?",
        "that answers follow the token",
        (
            Part(
                "",
                (
                    Pick("causal", "context", "token .*", "reliance", rule=rules.share),
                    Pick("causal", "context", "token .*", "recomputed", BESIDE),
                    Pick("causal", "input rows", "fact token", "bits lost to .*", SHOWN),
                ),
            ),
        ),
    ),
    Question(
        "Does the model find the token for a question?",
        "that questions bring up the token",
        (
            Part(
                "",
                (
                    Pick("retrieval", "output", "token by .*", "accuracy at 1", rule=rules.share),
                    Pick("retrieval", "output", "token by .*", "mean reciprocal rank", SHOWN),
                ),
            ),
        ),
    ),
    Question(
        "Can an untrained fact’s token be composed?",
        "that rows of untrained facts can be composed",
        (
            Part(
                "when read",
                (
                    Pick("composed", "input rows", "composed row by .*", "answer bits", rule=rules.composed),
                    Pick("composed", "input rows", "(trained row|mean of pieces) by .*", "answer bits", SHOWN),
                ),
            ),
            Part(
                "when written",
                (Pick("composed", "output rows", "composed row by .*", "token reciprocal rank", rule=rules.composed),),
            ),
        ),
    ),
    Question(
        "Do tokens that stood in no text work at once?",
        "that tokens which stood in no text work at once",
        (
            Part(
                "when read",
                (
                    Pick("untaught", "input rows", "own row of untaught facts", "answer bits", rule=rules.composed),
                    Pick("untaught", "input rows", "mean of pieces of untaught facts", "answer bits", BESIDE),
                    Pick("untaught", "input rows", "taught row of taught facts", "answer bits", BESIDE),
                ),
            ),
            Part(
                "when written",
                (
                    Pick(
                        "untaught",
                        "output rows",
                        "own row of untaught facts",
                        "token reciprocal rank",
                        rule=rules.composed,
                    ),
                    Pick("untaught", "output rows", "taught row of taught facts", "token reciprocal rank", BESIDE),
                ),
            ),
        ),
        occasional=True,
    ),
    Question(
        "Are answers right more often with the token than with tokens banned?",
        "more right answers with tokens than without",
        (
            Part(
                "",
                (
                    Pick(
                        "retrieval",
                        "greedy",
                        "questions, (free|forced) - banned",
                        "accuracy difference",
                        rule=rules.tested_above_zero,
                    ),
                    Pick("retrieval", "greedy", "questions, forced - free", "accuracy difference", SHOWN),
                    Pick("retrieval", "greedy", "questions, banned", "accuracy", BESIDE),
                    Pick("retrieval", "greedy", "questions, (free|forced)", "accuracy", SHOWN),
                ),
            ),
        ),
    ),
)
