"""What a factory offers, whether it is alive, whether it may claim, and which of its engines are to be trusted.

    first beat ──► Session(boot) ──► beat, beat, … ──► drained, or closed by a new boot
                       │
                       └─ past its expiry and unheard in `SWEEPS_MISSED_MAX` sweeps ──► stale: its jobs are rescued

A session is one boot of a factory and the lease of all that the boot holds. Its expiry alone gives nothing up: a sweep
counts only if the factory could have been heard in the time before it, so an engine that has slept accuses nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from pilothouse.fleet.job import Outcome
from pilothouse.fleet.preemption import Room
from pilothouse.ids import BootId, FactoryName, JobNumber, ProductId, SessionNumber

STALE_SECONDS = 90.0
"""How long a session outlives its last beat."""

SWEEPS_MISSED_MAX = 2
"""Sweeps in a row that must have heard nothing. One after a pause may come before the beats that the pause delayed."""

STALL_SWEEPS = 3
"""A gap of more than so many sweeps is the engine's own silence: it heard nobody, so nobody missed anything."""


class FactoryState(StrEnum):
    """Whether a factory may take work: a draining one ends what it holds, a revoked one may not even speak."""

    ACTIVE = "active"
    DRAINING = "draining"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory:
    """A machine that has enrolled. `capabilities` are texts in the grammar of `fleet.capability`.

    `usd_per_hour` is the price of one seat; None is unknown, which is never zero.
    """

    product: ProductId
    name: FactoryName
    capabilities: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    seats: int = 1
    gpus: int = 0
    usd_per_hour: float | None = None
    state: FactoryState = FactoryState.ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One boot of a factory, heard last at `beat_at` and good until `expires_at`."""

    number: SessionNumber
    factory: FactoryName
    boot: BootId
    opened_at: datetime
    beat_at: datetime
    expires_at: datetime
    beats_missed: int = 0


def open_session(
    number: SessionNumber, *, factory: FactoryName, boot: BootId, now: datetime, stale_seconds: float = STALE_SECONDS
) -> Session:
    """Return the session of a boot that speaks for the first time."""
    return Session(
        number=number,
        factory=factory,
        boot=boot,
        opened_at=now,
        beat_at=now,
        expires_at=now + timedelta(seconds=stale_seconds),
    )


def beat(session: Session, *, now: datetime, stale_seconds: float = STALE_SECONDS) -> Session:
    """Return the session after a sign of life, one that comes after the expiry included."""
    assert stale_seconds > 0, f"a session lasts longer than nothing, got {stale_seconds}"
    return replace(session, beat_at=now, expires_at=now + timedelta(seconds=stale_seconds), beats_missed=0)


def stale(session: Session, *, now: datetime) -> bool:
    """Whether the jobs of the session may be rescued: both the clock and the missed sweeps say that it is gone."""
    return now >= session.expires_at and session.beats_missed >= SWEEPS_MISSED_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found: the sessions that changed, those of them that are stale, and when it counts as done."""

    changed: tuple[Session, ...]
    stale: tuple[Session, ...]
    at: datetime


def sweep(sessions: Iterable[Session], *, now: datetime, before: datetime | None, every_seconds: float) -> Swept:
    """Count against every session that it was not heard since the sweep before.

    `every_seconds` is at least the time between two beats. A sweep that comes sooner counts nothing and is not done.
    The first one, and one after a stall or a jump of the clock, forgets what was counted and begins anew.
    """
    assert every_seconds > 0, f"sweeps are some time apart, got {every_seconds}"
    gap = None if before is None else (now - before).total_seconds()
    if before is None or gap is None or not 0 <= gap <= STALL_SWEEPS * every_seconds:
        anew = ((session, _anew(session, now=now)) for session in sessions)
        return Swept(changed=tuple(after for session, after in anew if after != session), stale=(), at=now)
    if gap < every_seconds:
        return Swept(changed=(), stale=(), at=before)
    missed = [
        replace(session, beats_missed=session.beats_missed + 1) for session in sessions if session.beat_at <= before
    ]
    return Swept(changed=tuple(missed), stale=tuple(session for session in missed if stale(session, now=now)), at=now)


def _anew(session: Session, *, now: datetime) -> Session:
    """Return the session with nothing counted against it; one heard in what is now the future was heard just now."""
    ahead = max(timedelta(0), session.beat_at - now)
    return replace(session, beat_at=session.beat_at - ahead, expires_at=session.expires_at - ahead, beats_missed=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The seats of one job on a factory; a victim that is stopping names the job that it makes room for."""

    job: JobNumber
    seats: int
    gpus: int
    stops_for: JobNumber | None = None


def room(factory: Factory, holds: Collection[Hold]) -> Room:
    """Return what is free on a factory.

    A victim and the job that waits for its seats hold them together: while it stops they are its own, afterwards the
    other's, and in between nobody else's.
    """
    seats = free(factory.seats, [(hold.job, hold.seats, hold.stops_for) for hold in holds])
    gpus = free(factory.gpus, [(hold.job, hold.gpus, hold.stops_for) for hold in holds])
    return Room(factory=factory.name, seats=seats, gpus=gpus)


def free(total: int, holds: Collection[tuple[JobNumber, int, JobNumber | None]]) -> int:
    """Return how many of `total` nobody holds or waits for; `holds` are the job, its count and whom it stops for."""
    stopping: dict[JobNumber, int] = {}
    staying: dict[JobNumber, int] = {}
    for job, count, stops_for in holds:
        if stops_for is None:
            staying[job] = staying.get(job, 0) + count
        else:
            stopping[stops_for] = stopping.get(stops_for, 0) + count
    held = sum(max(staying.get(job, 0), stopping.get(job, 0)) for job in staying.keys() | stopping.keys())
    return max(0, total - held)


class Circuit(StrEnum):
    """Whether an engine of a factory gets jobs: all, none, or one at a time as a probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


FAILURES_MAX = 3
"""Failures in a row, of different jobs, that open the circuit; a job that always fails says nothing of its factory."""

OPEN_SECONDS = 300.0
OPEN_SECONDS_MAX = 3600.0
HEALTH_WEIGHT = 0.2
"""How much the last attempt counts in the health, so that ten attempts forget nine tenths of what was before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What the last attempts say of one engine on one factory.

        closed ── failures of FAILURES_MAX jobs in a row ──► open ── after its time ──► half open
          ▲                                                   ▲                            │
          └────────────────────── success ────────────────────┼── failure, twice as long ──┘

    `failed` are the jobs of the present row of failures; `probe` is the job that tries it out.
    """

    circuit: Circuit = Circuit.CLOSED
    failed: tuple[JobNumber, ...] = ()
    opened_at: datetime | None = None
    open_seconds: float = OPEN_SECONDS
    probe: JobNumber | None = None
    average: float = 1.0


class Vote(StrEnum):
    """What the end of an attempt says of the factory and engine that ran it."""

    GOOD = "good"
    BAD = "bad"
    NONE = "none"


def vote(outcome: Outcome) -> Vote:
    """Return what an outcome says of where it ran; what the job or a person did to itself says nothing."""
    match outcome:
        case Outcome.SUCCEEDED:
            return Vote.GOOD
        case (
            Outcome.LAUNCH_FAILED
            | Outcome.NO_ENGINE
            | Outcome.DISK_FULL
            | Outcome.INPUT_DAMAGED
            | Outcome.CRASHED
            | Outcome.SILENT
            | Outcome.LOST
        ):
            return Vote.BAD
        case (
            Outcome.OUT_OF_MEMORY
            | Outcome.NOT_A_NUMBER
            | Outcome.TIMED_OUT
            | Outcome.SUMMARY_MISSING
            | Outcome.PROMISE_BROKEN
            | Outcome.RESUMED_TOO_EARLY
            | Outcome.VERIFY_FAILED
            | Outcome.CAPABILITY_MISMATCH
            | Outcome.PREEMPTED
            | Outcome.CANCELLED
            | Outcome.CHECKPOINT_MISSING
            | Outcome.CODE_CHANGED
        ):
            return Vote.NONE
        case _:
            assert_never(outcome)


def admits(breaker: Breaker, *, now: datetime) -> bool:
    """Whether the engine may be given a job now."""
    circuit = _due(breaker, now=now).circuit
    return circuit is Circuit.CLOSED or (circuit is Circuit.HALF_OPEN and breaker.probe is None)


def health(breaker: Breaker, *, now: datetime) -> float:
    """Return how far the engine is to be trusted, from 0, which gets nothing, to 1."""
    circuit = _due(breaker, now=now).circuit
    match circuit:
        case Circuit.CLOSED:
            return breaker.average
        case Circuit.HALF_OPEN:
            return breaker.average / 2
        case Circuit.OPEN:
            return 0.0
        case _:
            assert_never(circuit)


def begin(breaker: Breaker, job: JobNumber, *, now: datetime) -> Breaker:
    """Return the breaker after an admitted job was assigned; in a half-open circuit it becomes the probe."""
    assert admits(breaker, now=now), f"the circuit admits nothing: {breaker}"
    breaker = _due(breaker, now=now)
    return breaker if breaker.circuit is Circuit.CLOSED else replace(breaker, probe=job)


def end(breaker: Breaker, job: JobNumber, *, outcome: Outcome, now: datetime) -> Breaker:
    """Return the breaker after an attempt has ended.

    Attempts that began before the circuit opened change only the average: the probe alone decides whether it closes.
    """
    said = vote(outcome)
    if said is Vote.NONE:
        return replace(breaker, probe=None) if breaker.probe == job else breaker
    good = said is Vote.GOOD
    average = (1 - HEALTH_WEIGHT) * breaker.average + HEALTH_WEIGHT * good
    breaker = replace(breaker, average=min(1.0, max(0.0, average)))
    if breaker.circuit is Circuit.CLOSED:
        failed = () if good else (*(other for other in breaker.failed if other != job), job)
        breaker = replace(breaker, failed=failed)
        return _open(breaker, now=now, seconds=OPEN_SECONDS) if len(failed) >= FAILURES_MAX else breaker
    if breaker.probe != job:
        return breaker
    if good:
        return Breaker(average=breaker.average)
    return _open(breaker, now=now, seconds=min(2 * breaker.open_seconds, OPEN_SECONDS_MAX))


def _open(breaker: Breaker, *, now: datetime, seconds: float) -> Breaker:
    return replace(breaker, circuit=Circuit.OPEN, opened_at=now, open_seconds=seconds, probe=None)


def _due(breaker: Breaker, *, now: datetime) -> Breaker:
    """Return the breaker as it stands now: an open one whose time is over is half open."""
    if breaker.circuit is not Circuit.OPEN or breaker.opened_at is None:
        return breaker
    over = now >= breaker.opened_at + timedelta(seconds=breaker.open_seconds)
    return replace(breaker, circuit=Circuit.HALF_OPEN) if over else breaker
