"""What a study promised before its first run, and in words what was changed since.

The first stage that finishes locks the claims. From then on any other claim, delta, margin, seed or item makes the
verdict exploratory, also seeds that are added after a look at the results: whoever stops when the numbers please
finds an effect where there is none. The hash of what was in force stands in every record, under `counts` and not in
the identity: the same model stays the same model whatever is claimed about it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vocablab.base.config import fingerprint, to_json
from vocablab.base.errors import UserError
from vocablab.base.files import read_json
from vocablab.base.records import RECORD_NAME, first_difference, utc_now
from vocablab.lab.study import Study

COUNTED_AS = "registration"
"""Key of the hash in a record's counts, and of the whole in `study.json`."""
PAIRING = "treatment and control of one seed, item by item"
"""How scores are paired; part of the promise, so that another rule would be another registration."""
_RECORDS = f"*/seed*/*/{RECORD_NAME}"


def promised(study: dict[str, Any]) -> dict[str, Any]:
    """What a study (as JSON) promises: claims, arms compared, seeds, items, pairing."""
    arms = {arm["name"]: arm for arm in study["arms"]}
    return {
        "claims": study["primary"],
        "control": study["control"],
        "treatment": study["treatment"],
        "seeds": study["seeds"],
        "items": {role: arms[study[role]]["recipe"]["evaluate"] for role in ("control", "treatment")},
        "pairing": PAIRING,
    }


def registration_hash(study: Study) -> str:
    """SHA-256 of what the study promises as it is declared now."""
    return fingerprint(promised(to_json(study, identity_only=True)))


def registered(study: Study, directory: Path, previous: dict[str, Any] | None) -> dict[str, Any]:
    """The registration in force: the locked one, or that of now if nothing has run yet.

    Args:
        study: as it is declared now.
        directory: of the study.
        previous: `study.json` as it stands there; None if there is none.

    Returns:
        ``sha256``, ``date`` (UTC, of the lock) and ``promised``.

    Raises:
        UserError: if the file that stands there registers nothing.
    """
    now = {
        "sha256": registration_hash(study),
        "date": utc_now(),
        "promised": promised(to_json(study, identity_only=True)),
    }
    if previous is None:
        return now
    before: dict[str, Any] | None = previous.get(COUNTED_AS)
    if before is None:
        raise UserError(f"{directory / 'study.json'} has no registration of its claims; use another --runs.")
    same = before["sha256"] == now["sha256"]
    return before if same or has_records(directory) else now


def edits(study: Study, registration: dict[str, Any], directory: Path) -> list[str]:
    """What differs from the registration, in words; empty for a study that keeps its promise."""
    found = changes(registration["promised"], promised(to_json(study, identity_only=True)))
    # Hashes of the records catch what study.json cannot: that it was deleted, or that an edit was taken back.
    known = {registration["sha256"]} | ({registration_hash(study)} if found else set())
    others = [sha for sha in _recorded(directory) if sha not in known]
    if others:
        found.append(f"{len(others)} stages ran under other claims than the registered ones")
    return found


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """In words what differs between two promises."""
    found = _claim_changes(old["claims"], new["claims"])
    for role in ("control", "treatment"):
        if old[role] != new[role]:
            found.append(f"the {role} was {old[role]}, is {new[role]}")
    found += [f"seed {seed} was added" for seed in new["seeds"] if seed not in old["seeds"]]
    found += [f"seed {seed} was dropped" for seed in old["seeds"] if seed not in new["seeds"]]
    if old["items"] != new["items"]:
        where, _, values = first_difference(old["items"], new["items"]).partition(": ")
        before, _, after = values.partition(" -> ")
        found.append(f"the questions were edited ({where} was {before}, is {after})")
    if old["pairing"] != new["pairing"]:
        found.append(f"the pairing was '{old['pairing']}', is '{new['pairing']}'")
    return found


def _claim_changes(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    """Claims are matched by kind, target and metric, what is left by kind and target."""
    left, found = list(new), []
    unmatched = []
    for claim in old:
        twin = next((c for c in left if all(c[k] == claim[k] for k in ("type", "target", "metric"))), None)
        if twin is None:
            unmatched.append(claim)
        else:
            left.remove(twin)
            found += _field_changes(claim, twin)
    for claim in unmatched:
        twin = next((c for c in left if all(c[k] == claim[k] for k in ("type", "target"))), None)
        if twin is None:
            found.append(f"the claim {_named(claim)} was dropped")
        else:
            left.remove(twin)
            found += _field_changes(claim, twin)
    return found + [f"the claim {_named(claim)} was added" for claim in left]


def _field_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    # A field that a claim has only since a later version of vocablab was never promised, so it cannot be broken.
    return [
        f"{name} of {old['target']} was {_said(value)}, is {_said(new.get(name))}"
        for name, value in old.items()
        if new.get(name) != value
    ]


def _named(claim: dict[str, Any]) -> str:
    return f"{claim['type']} of {claim['metric']} on {claim['target']}"


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def has_records(directory: Path) -> bool:
    """Whether any stage of any run of the study has finished."""
    return any(directory.glob(_RECORDS))


def _recorded(directory: Path) -> Iterable[str]:
    for path in sorted(directory.glob(_RECORDS)):
        sha = read_json(path, "a record").get("counts", {}).get(COUNTED_AS)
        if sha is not None:
            yield str(sha)
