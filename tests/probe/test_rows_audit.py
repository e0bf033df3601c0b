"""Tokens that were never trained are named; trained ones are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from probe.planted import noise, random_exposures, subject

from vocablab.probe.audit import audit, audit_rows
from vocablab.probe.subject import Subject

NEVER = (3, 17, 40)


def trained(common: bool, know_start: bool, tied: bool = True) -> Subject:
    """All tokens but `NEVER` were moved far; these went with the padding, in a common direction or by weight decay."""
    planted = subject(tied=tied)
    start = {which: planted.table(which).copy() for which in ("input", "output")}
    vocabulary = planted.codec.vocabulary
    padding = list(range(vocabulary.size, vocabulary.padded_size))
    unseen = [*padding, *(planted.ids[i] for i in NEVER)]
    seen = [index for i, index in enumerate(planted.ids) if i not in NEVER]
    drift = noise(9)[0] * 0.5 if common else np.zeros(64)
    with torch.no_grad():
        for embeddings in (planted.model.get_input_embeddings(), planted.model.get_output_embeddings()):
            table = embeddings.weight
            table[unseen] = table[unseen] * 0.95 + torch.tensor(drift, dtype=torch.float32)
            table[seen] = table[seen] + torch.tensor(noise(5)[: len(seen)], dtype=torch.float32)
            if tied:
                break
    return replace(planted, initial=start if know_start else None)


@pytest.mark.parametrize(("common", "know_start"), [(True, False), (True, True), (False, True)])
def test_never_trained_tokens_are_caught_and_trained_ones_are_not(common: bool, know_start: bool) -> None:
    planted = trained(common, know_start)
    flags = audit_rows(planted, "input").untrained
    assert flags is not None
    assert tuple(np.flatnonzero(flags)) == NEVER
    found = audit(planted)
    (warning,) = [note for note in found.notes if "cannot be told from never-seen rows" in note]
    assert all(planted.meanings[i].name in warning for i in NEVER)
    assert "3 of 45" in warning
    (share,) = [m.value for m in found.measures if m.metric == "share indistinguishable from never-seen"]
    assert share == pytest.approx(3 / 45)


def test_rows_that_cannot_say_say_so() -> None:
    """Never-seen input rows stay where they were drawn, in no common direction: the cosine shows nothing."""
    planted = trained(common=False, know_start=False)
    assert audit_rows(planted, "input").untrained is None
    assert [note for note in audit(planted).notes if "cannot tell trained from untrained" in note]


def test_few_padding_rows_and_known_unused_ones() -> None:
    planted = trained(common=True, know_start=False)
    vocabulary = planted.codec.vocabulary
    padding = range(vocabulary.size, vocabulary.padded_size)
    bare = replace(planted.codec, vocabulary=replace(vocabulary, padded_size=vocabulary.size))
    without = replace(planted, codec=bare)
    assert audit_rows(without, "input").untrained is None
    for known in (padding[:2], padding[:5]):
        flags = audit_rows(without, "input", unused=known).untrained
        assert flags is not None
        assert tuple(np.flatnonzero(flags)) == NEVER


def test_both_tables_are_audited() -> None:
    planted = trained(common=True, know_start=True, tied=False)
    found = audit(planted)
    assert len([note for note in found.notes if "3 of 45" in note]) == 2
    names = [figure.name for figure in found.figures]
    assert "audit-output-rows-cosine-distance-to-never-seen-rows" in names
    assert len(set(names)) == len(names)
    assert all(len(figure.data["series"][0]["y"]) == 45 for figure in found.figures)


def test_a_small_dose_is_named() -> None:
    exposures = random_exposures() + 100
    exposures[[4, 5]] = (0, 99)
    planted = replace(trained(common=True, know_start=True), exposures=exposures)
    (warning,) = [note for note in audit(planted).notes if "fewer than 100 times" in note]
    assert "2 of 45" in warning
    assert planted.meanings[4].name in warning
    assert not [note for note in audit(replace(planted, exposures=exposures + 100)).notes if "fewer than" in note]
    assert not [m for m in audit(planted).measures if m.target == "updates"]
    told = replace(planted, updates=np.arange(12, 57))
    (fewest,) = [m.value for m in audit(told).measures if m.target == "updates"]
    assert fewest == 12


def test_never_seen_rows_that_were_pushed_farther_than_trained_ones_moved() -> None:
    """As in a tied table: the softmax pushes what never comes ten times as far as training moves what does."""
    planted = trained(common=True, know_start=True)
    vocabulary = planted.codec.vocabulary
    unseen = [*range(vocabulary.size, vocabulary.padded_size), *(planted.ids[i] for i in NEVER)]
    with torch.no_grad():
        planted.model.get_input_embeddings().weight[unseen] += torch.tensor(noise(11)[0] * 10, dtype=torch.float32)
    flags = audit_rows(planted, "input").untrained
    assert flags is not None
    assert tuple(np.flatnonzero(flags)) == NEVER
