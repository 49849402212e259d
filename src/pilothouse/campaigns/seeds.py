"""Which seed a run of a campaign over seeds has: fresh for each purpose, shared between the arms of one look.

Every trial has a block of seeds of its own. The candidate's runs count up from its start, and the baseline's runs
beside them take the same ones, so the arms can be paired. The runs that confirm a promotion, and with which a
calibration begins, are counted apart: no look has seen them.
"""

from __future__ import annotations

from enum import IntEnum

BLOCK = 1000


class Purpose(IntEnum):
    """What a run is for, as the place of its seeds within the trial's block."""

    LOOK = 0
    ARM = 400
    SCREEN = 600


def seed_of(first: int, *, trial: int, purpose: Purpose, index: int) -> int:
    """Return the seed of the run number `index` of a purpose, counted from 0, in a campaign that begins at `first`."""
    assert 0 <= index < BLOCK, f"run {index} of trial {trial} would take another trial's seeds"
    return first + BLOCK * trial + purpose + index
