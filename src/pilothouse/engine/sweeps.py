"""What is looked after from time to time: sessions gone silent, jobs past every limit, victims that do not stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.place import microseconds
from pilothouse.operations.rescue import rescue, rescue_session

if TYPE_CHECKING:
    from pilothouse.engine.scheduler import Scheduler
    from pilothouse.fleet.factory import Session
    from pilothouse.fleet.place import HeldJob
    from pilothouse.ports.store import Transaction

OVERTIME_SECONDS = 900.0
"""How long after its own time limit an attempt may still take to end, verify, seal and report."""
UNHEARD_SECONDS = 120.0
"""How long an attempt may be left out of its factory's beats before it is taken for forgotten."""

_log = logging.getLogger(__name__)


class Sweep:
    """What one look at the memory has found; `carry_out` is the act that mends it."""

    def __init__(self, scheduler: Scheduler, *, now: datetime) -> None:
        self._scheduler = scheduler
        scheduler.keep_time(now)
        scheduler.roster.probe(now=now)
        now_us = microseconds(now)
        self.stale: Sequence[Session] = scheduler.roster.sweep(now=now)
        self.overdue: list[tuple[HeldJob, Outcome, str]] = []
        for held in scheduler.board.held.values():
            found = _overdue(held, now_us=now_us, spoke_us=self._spoke_us(held, now_us=now_us))
            if found is not None:
                self.overdue.append((held, *found))
        self._now = now

    def _spoke_us(self, held: HeldJob, *, now_us: int) -> int:
        """Return when the holder of a job said anything last; one whose session is over says nothing any more."""
        session = self._scheduler.roster.sessions.get(held.session)
        return now_us if session is None else microseconds(session.beat_at)

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.stale or self.overdue)

    def done(self) -> None:
        """Forget the sessions that were given up, once that is stored."""
        for session in self.stale:
            self._scheduler.roster.close(session.number)

    def carry_out(self, tx: Transaction) -> Sequence[Job]:
        """Return the jobs that were taken back."""
        rescued = [
            job
            for session in self.stale
            for job in rescue_session(
                tx,
                session.number,
                why=f"nothing was heard of factory {session.factory}",
                now=self._now,
                held=self._scheduler.board.held_by(session.number),
            )
        ]
        for held, outcome, why in self.overdue:
            assert held.id is not None, f"job {held.number} is held without an id"
            job = rescue(tx, held.id, epoch=held.epoch, why=why, now=self._now, outcome=outcome)
            if job is not None:
                rescued.append(job)
        for job in rescued:
            _log.warning("job %s was taken back, epoch %d", job.id, job.epoch, extra={"action": "job_rescued"})
        return rescued


def _overdue(held: HeldJob, *, now_us: int, spoke_us: int) -> tuple[Outcome, str] | None:
    """Return why a held job is taken back although its factory lives, and as what that counts."""
    if held.id is None:
        return None
    if held.stop_us is not None and now_us >= held.stop_us:
        return Outcome.PREEMPTED, "it did not stop in the time it was given"
    if now_us >= held.deadline_us + OVERTIME_SECONDS * 1e6:
        return Outcome.LOST, "its time limit has long passed, and nobody has told how it ended"
    heard_us = max(held.claimed_us, held.heard_us or 0)
    # Counted up to the factory's last word, and not up to now: its own silence is not that of one attempt.
    if not held.waits_for and spoke_us - heard_us >= UNHEARD_SECONDS * 1e6:
        return Outcome.LOST, "its factory lives and does not know of it"
    return None
