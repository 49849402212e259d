"""A key that looks like a successor's is nobody's to take: the two jobs would be mistaken for each other."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.engine.world import Fleet, make_spec

from pilothouse.engine.commands import Act
from pilothouse.errors import BadValue
from pilothouse.fleet.manifest import read_manifest
from pilothouse.ids import JobId
from pilothouse.operations.submit_manifest import submit_manifest
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT


def by_spec(fleet: Fleet, key: str, number: int) -> str:
    """Return the key of the job that a spec makes."""
    new = values.make_new_job(number, spec=make_spec(seed=number))
    return fleet.submit(number, new=replace(new, key=key)).key


def by_manifest(fleet: Fleet, key: str, number: int) -> str:
    """Return the key of the job that a manifest makes."""
    manifest = read_manifest({"command": ["true"], "seed": number, "idempotency_key": key})
    ids = (JobId(f"job-{number}-{count}") for count in itertools.count())
    act = Act(
        lambda tx: submit_manifest(tx, manifest, product=PRODUCT, ids=ids, now=fleet.clock.now()),
    )
    return fleet.ask(act).job.key


@pytest.mark.parametrize("submit", [by_spec, by_manifest])
def test_a_successors_key_cannot_be_taken(submit: Callable[[Fleet, str, int], str]) -> None:
    """Else the first job, sent again, would cancel it as its own successor with another body."""
    fleet = Fleet()
    assert submit(fleet, "a", 1) == "a"

    with pytest.raises(BadValue, match="'a~1' is that of a job which has superseded another one"):
        submit(fleet, "a~1", 2)

    assert submit(fleet, "a", 3) == "a~1"
    assert submit(fleet, "a~b", 4) == "a~b"


@pytest.mark.parametrize("key", ["daily/train/0123#0", "daily/train/0123#1", "nightly#7", "#0"])
def test_nobody_takes_the_key_of_a_campaign_s_step(key: str) -> None:
    """Else a ferry would take a job that nobody has approved for its own launch, and resume from its checkpoints."""
    with pytest.raises(BadValue, match="ends as only those of a campaign's own steps do"):
        by_manifest(Fleet(), key, 1)

    assert by_manifest(Fleet(), f"{key}/a", 1) == f"{key}/a"
