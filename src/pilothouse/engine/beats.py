"""What a factory's heartbeat renews, and what it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from pilothouse.errors import LeaseLost
from pilothouse.fleet.factory import FactoryState
from pilothouse.ports.dispatch import Beat, Command, Held, Word

if TYPE_CHECKING:
    from pilothouse.engine.commands import Heartbeat
    from pilothouse.engine.scheduler import Scheduler
    from pilothouse.engine.turn import Turn
    from pilothouse.fleet.place import HeldJob, Place


def answer_beat(scheduler: Scheduler, command: Heartbeat, place: Place, turn: Turn) -> Beat:
    """Renew the session, and with it every lease it holds; keep the signs of life; return the orders that are due."""
    lease = scheduler.roster.lease_seconds
    if not turn.tx.factories.beat(place.session, now=turn.now, expires=turn.now + timedelta(seconds=lease)):
        scheduler.roster.close(place.session)
        raise LeaseLost(
            f"the session of boot {command.boot} of factory {command.factory} is over",
            fix="stop what runs under it, and begin anew under another boot",
        )
    scheduler.roster.heard(place.session, now=turn.now)
    orders = [_hear(scheduler, place, told, turn) for told in command.held]
    return Beat(
        lease_seconds=lease,
        commands=tuple(order for order in orders if order is not None),
        draining=scheduler.roster.known(command.factory).state is FactoryState.DRAINING,
    )


def _hear(scheduler: Scheduler, place: Place, told: Held, turn: Turn) -> Command | None:
    """Take in what is said of one attempt, and return what its factory has to do about it."""
    held = scheduler.held(told.job)
    if held is None or held.epoch != told.epoch or held.session != place.session:
        return Command(
            job=told.job, epoch=told.epoch, word=Word.LOST, why="the attempt is over: a later one counts, or none"
        )
    held.heard_us = turn.now_us
    if told.progress is not None:
        _observe(held, told, turn)
    if held.stop_us is None:
        return None
    seconds = max(0.0, (held.stop_us - turn.now_us) / 1e6)
    return Command(
        job=told.job, epoch=told.epoch, word=Word.STOP, seconds=seconds, why="it makes room for a critical job"
    )


def _observe(held: HeldJob, told: Held, turn: Turn) -> None:
    assert told.progress is not None, "there is a sign of life"
    progress, known = told.progress, held.checkpoint_step
    if known is not None and (progress.checkpoint_step is None or progress.checkpoint_step < known):
        # The next attempt is held to the last checkpoint that was told: leaving it unsaid takes nothing back.
        progress = replace(progress, checkpoint_step=known)
    turn.tx.jobs.observe(held.number, epoch=told.epoch, progress=progress, now=turn.now)
    if progress.checkpoint_step != known:
        held.checkpoint_step, held.checkpoint_us = progress.checkpoint_step, turn.now_us
