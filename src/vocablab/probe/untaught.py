"""Tokens that stood in no text (`FactTokens.untaught`): does their row work the first time it is used?

Such a row is what initialisation gave it: the mean of its pieces, or what a composition (`ComposedRows`) that was
trained on the other facts makes of its parts. It is read in a text without the operands, so that the answer can come
from the row only, and ranked among all fact tokens after its question. Beside it stand the mean of the taught rows,
the mean of its pieces, a random row, and what taught tokens reach with their own rows. Unlike the rows of
`vocablab.probe.composed`, nothing in the network has ever met these tokens.

Shapes: N facts, the taught ones first, M of them untaught, D width.
"""

from dataclasses import replace

import numpy as np

from vocablab.probe.contexts import MOST_FACTS, facts_in_play, token_ids
from vocablab.probe.measures import Figure, Findings
from vocablab.probe.row_trial import MEAN, RowTrial, Split, Used, fixed_rows, measures
from vocablab.probe.subject import Subject, untaught_ids
from vocablab.tasks.task import evenly

PROBE = "untaught"
OWN, TAUGHT = "own row", "taught row"


def untaught(subject: Subject) -> Findings:
    """Use of rows that were never trained; nothing for an arm all of whose tokens are taught."""
    found = Findings()
    hidden = untaught_ids(subject.codec)
    if not hidden:
        return found
    found.notes += _contradiction(subject, list(hidden.values()))
    family, _ = facts_in_play(subject)
    taught = token_ids(subject)
    known = [fact for _, fact in evenly(list(taught), MOST_FACTS)]
    asked = [fact for _, fact in evenly(list(hidden), MOST_FACTS)]
    facts = [*known, *asked]
    trial = RowTrial.of(subject, family, facts)
    if trial is None:
        found.notes.append(f"{subject.name}: a fact with a token cannot stand in a text; untaught rows were not used.")
        return found
    ids = taught | hidden
    is_asked_N = np.arange(len(facts)) >= len(known)
    kinds: dict[str, dict[str, np.ndarray]] = {}
    own = {}
    for which in ("input", "output"):
        table_VD = subject.table(which)
        own[which] = table_VD[[ids[fact] for fact in facts]]
        learned_ND = own[which][~is_asked_N]
        rows = {OWN: own[which][is_asked_N], MEAN: np.repeat(learned_ND.mean(0, keepdims=True), len(asked), axis=0)}
        for kind, rows_MD in (rows | fixed_rows(subject, family, asked, table_VD, learned_ND)).items():
            kinds.setdefault(kind, {})[which] = np.concatenate([learned_ND, rows_MD])
    used = {
        kind: _used(trial, rows["input"], rows["output"], own["output"], is_asked_N) for kind, rows in kinds.items()
    }
    candidates = (trial.answers, len(facts))
    found.measures += measures(PROBE, used, "of untaught facts", OWN, candidates)
    # Another set of facts: its mean row is judged on the untaught ones, so nothing is a control for it.
    reference = _used(trial, own["input"], own["output"], own["output"], ~is_asked_N)
    found.measures += [
        replace(one, control=None, note="For comparison: facts whose tokens were taught.")
        for one in measures(PROBE, {TAUGHT: reference, MEAN: reference}, "of taught facts", OWN, candidates)
        if one.target.startswith(TAUGHT)
    ]
    bars = used | {f"{TAUGHT}, of taught facts": reference}
    series = [
        {"name": name, "x": list(bars), "y": [float(getattr(one, part).mean()) for one in bars.values()]}
        for name, part in (("answer, read behind the token", "answer_N"), ("token, after the question", "token_N"))
    ]
    title = "Tokens that stood in no text, used for the first time"
    found.figures.append(
        Figure("untaught-rows", title, "bars", "row", "mean reciprocal rank of what is right", {"series": series})
    )
    return found


def _used(
    trial: RowTrial, input_ND: np.ndarray, output_ND: np.ndarray, own_ND: np.ndarray, judged_N: np.ndarray
) -> Used:
    """What became of the judged facts with these rows."""
    split = Split("untaught", judged_N[None], np.where(judged_N, 0, -1))
    bits_N, answer_N = trial.read(input_ND)
    token_N = trial.ranked(output_ND[None], own_ND, split)
    return Used(bits_N[judged_N], answer_N[judged_N], token_N[judged_N])


def _contradiction(subject: Subject, ids: list[int]) -> list[str]:
    """A note if training showed tokens that were declared never to stand in a text."""
    if subject.exposures is None:
        return []
    counts = dict(zip(subject.ids, subject.exposures, strict=True))
    seen = sum(int(counts[i]) for i in ids)
    return [f"{subject.name}: tokens declared untaught were shown {seen} times."] if seen else []
