"""What a lease allows, and what a lost one does.

    claim ──► Lease(epoch) ──► renewed, renewed, … ──► completed
                   │
                   └─ past its expiry and silent for `BEATS_MISSED_MAX` sweeps ──► rescue: epoch + 1
                                                                                    │
              the old holder's next word carries the old epoch ──► Fenced ◄─────────┘

The epoch alone fences. Expiry permits a rescue and performs none: a holder that comes back before the rescue keeps its
attempt.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pilothouse.ids import Epoch, JobId

BEATS_MISSED_MAX = 2
"""Sweeps in a row that must hear nothing. A machine that slept past the expiry gets this many sweeps to speak up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A factory's hold on one attempt, good until `expires_at`."""

    job: JobId
    epoch: Epoch
    expires_at: datetime
    beats_missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The lease goes on."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Fenced:
    """The attempt belongs to a later epoch; its old holder must stop."""

    held: Epoch
    current: Epoch


def renew(lease: Lease, *, current: Epoch, now: datetime, lease_seconds: float) -> Renewed | Fenced:
    """Extend a lease from `now`, unless a later epoch has replaced it.

    One that has expired and that nobody has taken is still renewable.
    """
    assert lease_seconds > 0, f"a lease lasts longer than nothing, got {lease_seconds}"
    if lease.epoch != current:
        return Fenced(held=lease.epoch, current=current)
    return Renewed(lease=replace(lease, expires_at=now + timedelta(seconds=lease_seconds), beats_missed=0))


def miss_beat(lease: Lease) -> Lease:
    """Return the lease after a sweep that found it unrenewed since the sweep before."""
    return replace(lease, beats_missed=lease.beats_missed + 1)


def expired(lease: Lease, *, now: datetime) -> bool:
    """Whether the job may be rescued: both the wall clock and the missed beats say that the holder is gone."""
    return now >= lease.expires_at and lease.beats_missed >= BEATS_MISSED_MAX
