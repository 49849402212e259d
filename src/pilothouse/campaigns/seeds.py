"""Which seed a run of a campaign over seeds has: fresh for each purpose, shared between the arms of one look.

Every trial has a block of seeds of its own. The candidate's runs count up from its start, and the baseline's runs
beside them take the same ones, so the arms can be paired. Where the candidate is the baseline's config itself, run
again, the same seed would make the same run, so there the baseline's have seeds of their own. The runs that confirm a
promotion, and with which a calibration begins, are counted apart: no look has seen them.
"""

from __future__ import annotations

from enum import IntEnum

BLOCK = 2000


class Purpose(IntEnum):
    """What a run is for, as the place of its seeds within the trial's block."""

    LOOK = 0
    ARM = 400
    SCREEN = 600
    TWIN = 1000


ROOM = {
    Purpose.LOOK: Purpose.ARM - Purpose.LOOK,
    Purpose.ARM: Purpose.SCREEN - Purpose.ARM,
    Purpose.SCREEN: 200,
    Purpose.TWIN: 400,
}
"""How many runs of a purpose a trial may have; a campaign file can ask for no more (`campaigns.definition`)."""


def seed_of(first: int, *, trial: int, purpose: Purpose, index: int) -> int:
    """Return the seed of the run number `index` of a purpose, counted from 0, in a campaign that begins at `first`."""
    assert 0 <= index < ROOM[purpose], f"run {index} of trial {trial} would take the seeds of another purpose"
    return first + BLOCK * trial + purpose + index


def purpose_of(first: int, *, trial: int, seed: int) -> Purpose | None:
    """Return what a run of this trial with this seed is for; None for a seed that no purpose of the trial has."""
    place = seed - first - BLOCK * trial
    return next((each for each in Purpose if 0 <= place - each < ROOM[each]), None)
