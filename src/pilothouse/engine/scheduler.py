"""The engine's one thread of thought: it applies batches of commands and keeps what scheduling needs in memory.

    batch ──► pick from the board, note what ended ──► BEGIN  assign, ship, acts …  COMMIT ──► settle ──► answers
                                                            │
                                                            └─ failed: all is read anew from the database

Nothing here waits, starts a thread or is locked: whoever drives it (a thread, or a simulation under its own clock)
calls one method at a time. The database is the truth; a scheduler that is thrown away is rebuilt from it by `load`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, nullcontext
from datetime import datetime, timedelta

from pilothouse.engine.beats import answer_beat
from pilothouse.engine.commands import Act, Asked, Claim, Complete, Heartbeat, Look
from pilothouse.engine.funds import Funds
from pilothouse.engine.memory import LEASE_SECONDS, Memory
from pilothouse.engine.roster import OFTEN_US, Roster
from pilothouse.engine.turn import Turn, not_leading
from pilothouse.errors import LeaseLost, PilothouseError, StorageFailed
from pilothouse.fleet.board import Board
from pilothouse.fleet.claim import DEPENDED_ON, NEEDS_MORE, Ending, Ready
from pilothouse.fleet.factory import open_session
from pilothouse.fleet.job import Outcome, Report
from pilothouse.fleet.place import HeldJob, Place, microseconds
from pilothouse.fleet.settings import FleetSettings
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, JobNumber
from pilothouse.operations.claim import Handover, assign, hand_over
from pilothouse.operations.complete import complete
from pilothouse.operations.rescue import rescue_session
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Store, Transaction

_NEEDS_RULES = DEPENDED_ON | NEEDS_MORE
_DEFAULTS = FleetSettings()
# A member of an enumeration is looked up by way of its class each time, which a batch does hundreds of times.
_SUCCEEDED, _ASSIGNED, _BUILDING = Outcome.SUCCEEDED, Stage.ASSIGNED, Stage.BUILDING

_log = logging.getLogger(__name__)


class Scheduler(Memory):
    """Applies batches to a store. Only one may work on a database at a time."""

    def __init__(self, store: Store, clock: Clock, *, lease_seconds: float = LEASE_SECONDS) -> None:
        super().__init__(store, clock, lease_seconds=lease_seconds)
        self._parked: dict[int, Claim] = {}
        self._rebuild = False

    # --- a batch

    def run(self, batch: Sequence[Asked]) -> Sequence[Asked]:
        """Apply the commands in their order, in one transaction, and return those that have their answers.

        A claim that finds nothing and may still wait is parked, and tried again by `retry` when there is news.
        """
        try:
            if self._rebuild:
                self._load_anew()
            if self._refunded:
                self._read_funds()
            self._run(batch)
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to the askers
            for command in batch:
                # What a command found inside a transaction that was undone is no answer either.
                command.refuse(error if len(batch) == 1 else _together(error))
            return batch
        return [command for command in batch if not self._parks(command)]

    def _run(self, batch: Sequence[Asked]) -> None:
        now = self._clock.now()
        self.keep_time(now)
        stack = ExitStack()
        turn = Turn(self._store, stack, now=now, now_us=microseconds(now))
        self._told = False
        try:
            with stack:
                for command in batch:
                    self._execute(command, turn, alone=len(batch) == 1)
                self._fly(turn)
                self._flush(turn)
                self._know_shapes(turn)
        except Exception as error:
            # The board was told ahead of a commit that did not come. The database knows better: it is read again.
            self._rebuild = turn.ahead or self._told or isinstance(error, StorageFailed)
            raise
        try:
            self._settle(turn)
        except Exception as error:  # noqa: BLE001  whatever it is, the commit stands, and so do its answers
            _log.warning("memory is read anew: %s", error, extra={"action": "settle_failed"})
            self._rebuild = True

    def _load_anew(self) -> None:
        self.board = Board()
        self.roster = Roster(self.board, lease_seconds=self.roster.lease_seconds, breakers=self.roster.breakers)
        self.funds = Funds()
        self._ids = {}
        self.load()
        self._rebuild = False
        self._news = True

    def _execute(self, command: Asked, turn: Turn, *, alone: bool) -> None:
        match command:
            case Claim():
                self._try_claim(command, turn, alone=alone)
            case Complete():
                self._complete(command, turn)
            case Heartbeat():
                self._beat(command, turn, alone=alone)
            case Act():
                self._flush(turn)
                self._guard(command, turn, lambda: command.perform(turn.tx), alone=alone)
                self._remark(turn)
            case Look():
                self._guard(command, turn, lambda: command.perform(self), alone=False)
            case _:
                command.refuse(TypeError(f"no such command: {command!r}"))

    def _guard(self, command: Asked, turn: Turn, act: Callable[[], None], *, alone: bool) -> None:
        """Do something whose error undoes and reaches only this command; a failing database is everybody's."""
        try:
            if alone or isinstance(command, Look):
                act()
            else:
                with turn.tx.savepoint():
                    act()
        except StorageFailed:
            raise
        except Exception as error:
            if alone:
                raise
            command.refuse(error)

    def _beat(self, command: Heartbeat, turn: Turn, *, alone: bool) -> None:
        self._flush(turn)
        try:
            # A boot that speaks for the first time stays open, whatever becomes of what it says.
            place = self.place(command.factory, command.boot, turn)
        except StorageFailed:
            raise
        except PilothouseError as error:
            command.refuse(error)
        else:
            self._guard(command, turn, lambda: command.answer(answer_beat(self, command, place, turn)), alone=alone)

    # --- claims

    def _try_claim(self, command: Claim, turn: Turn, *, alone: bool) -> None:
        """Claim without a savepoint: what a claim writes at once, the opening of its session, has one of its own."""
        try:
            self._claim(command, turn)
        except StorageFailed:
            raise
        except Exception as error:
            if alone:
                raise
            command.refuse(error)

    def _claim(self, command: Claim, turn: Turn) -> None:
        """Pick jobs for a factory; they are stored with those of the whole batch."""
        place = self.roster.find(command.factory, command.boot) or self.place(command.factory, command.boot, turn)
        now_us = turn.now_us
        if not 0 <= now_us - place.heard_us < OFTEN_US:
            place.heard_us = now_us
            self.roster.heard(place.session, now=turn.now)
        for job, epoch in command.held:
            known = self.held(job)
            if known is not None and (known.epoch, known.session) == (epoch, place.session):
                known.heard_us = now_us
        place.pools = command.pools
        seats, jobs = command.seats, command.jobs
        if place.held:
            again = self._hand_again(place, command, turn)
            seats, jobs = seats - sum(job.shape.seats for job in again), jobs - len(again)
        weights = self.settings_of(place.product).weigh(command.weights) if command.weights else None
        funds = self.funds.why if self.funds.counts else None
        while jobs > 0:
            picked = self.board.pick(
                place.session, seats=seats, now_us=now_us, pools=command.pools, funds=funds, weights=weights
            )
            if picked is None:
                break
            self._pick(command, picked, place, turn)
            seats, jobs = seats - picked.shape.seats, jobs - 1

    def _pick(self, command: Claim, picked: HeldJob, place: Place, turn: Turn) -> None:
        turn.picks.append((command, picked))
        turn.stored.append(picked)
        if self.roster.breakers:
            self.roster.assigned(place, picked.shape.engine, picked.number, now=turn.now)
        if self.funds.counts:
            line = self.funds.reserve(picked.number, epoch=picked.epoch, shape=picked.shape, place=place, now=turn.now)
            if line is not None:
                turn.reservations.append(line)

    def _hand_again(self, place: Place, command: Claim, turn: Turn) -> list[HeldJob]:
        """Hand over what was assigned to the boot and never reached it, since the answer was lost or had to wait."""
        told = set(command.held)
        found = []
        for job in place.held.values():
            if job.building or job.id is None or (job.id, job.epoch) in told:
                continue
            if not job.waits_for:
                found.append(job)
        # What another claim of this batch was given is on its way.
        given = {job.number for job in turn.stored} if found else ()
        again = [job for job in found if job.number not in given]
        if again:
            self._flush(turn)
            handed = turn.tx.jobs.handed([job.number for job in again])
            command.handed.extend(hand_over(turn, job.number, job.epoch, handed) for job in again)
        return again

    def place(self, name: FactoryName, boot: BootId, turn: Turn) -> Place:
        """Return the place of a boot, opened with its first word; an older boot of the same factory is over."""
        place = self.roster.find(name, boot)
        if place is not None:
            return place
        factory = self.roster.known(name)
        expires = turn.now + timedelta(seconds=self.roster.lease_seconds)
        earlier = self.roster.others(name, boot)
        if earlier:
            self._flush(turn)
        with turn.tx.savepoint():
            # A boot that is over is refused here, before it could end the one that came after it.
            number = turn.tx.factories.open_session(factory.product, name, boot, now=turn.now, expires=expires)
            for older in earlier:
                why = f"the factory has booted anew as {boot}"
                rescue_session(turn.tx, older, why=why, now=turn.now, held=self.board.held_by(older))
        for older in earlier:
            self.roster.close(older)
        session = open_session(number, factory=name, boot=boot, now=turn.now, stale_seconds=self.roster.lease_seconds)
        place = self.roster.admit(session)
        turn.new_places.append(place)
        return place

    def expect(
        self,
        job: Ready,
        place: Place,
        handover: Handover,
        *,
        victims: Sequence[JobNumber],
        by: datetime,
        now: datetime,
        tx: Transaction,
    ) -> None:
        """Note on the board that a job was assigned to the seats of others, which are to stop for it."""
        self._told = True
        shape = self.board.shapes[job.shape]
        held = HeldJob(
            number=job.number,
            epoch=handover.epoch,
            shape=shape,
            shape_number=job.shape,
            priority=job.priority,
            created_us=job.created_us,
            claimed_us=microseconds(now),
            marks=job.marks,
            preemptions=job.preemptions,
            session=place.session,
            id=handover.job,
            waits_for=tuple(victims),
        )
        self.board.hold(held)
        self._ids[handover.job] = held
        for victim in victims:
            self.board.ask_to_stop(victim, by_us=microseconds(by), stops_for=job.number)
        line = self.funds.reserve(job.number, epoch=handover.epoch, shape=shape, place=place, now=now)
        if line is not None:
            tx.budgets.reserve_many([line])
        self.counters["preempted"] += len(victims)

    # --- ends of attempts

    def _complete(self, command: Complete, turn: Turn) -> None:
        """Take in the ends of attempts: a plain success goes with the batch, any other by the rules, one at a time."""
        factory = command.factory
        for position, (job, epoch, report) in enumerate(command.ended):
            held = self._ids.get(job)
            if (
                held is not None
                and held.epoch == epoch
                and report.outcome is _SUCCEEDED
                and report.damaged is None
                and not held.marks & _NEEDS_RULES
                and held.number not in turn.ending
                and not (self.funds.counts and self.funds.is_reserved(held.number, epoch))
                and (factory is None or factory == self._factory_of(held))
            ):
                turn.ending.add(held.number)
                stage = _BUILDING if held.building else _ASSIGNED
                turn.endings.append((command, position, Ending(held.number, epoch, stage, report)))
            else:
                self._flush(turn)
                command.refusals[position] = self._end(job, epoch, report, turn, factory=factory)

    def _end(
        self, job: JobId, epoch: Epoch, report: Report, turn: Turn, *, factory: FactoryName | None
    ) -> Exception | None:
        try:
            with turn.tx.savepoint():
                complete(turn.tx, job, epoch=epoch, report=report, now=turn.now, factory=factory)
        except StorageFailed:
            raise
        except Exception as error:  # noqa: BLE001  it is handed to the one whose report it was
            return error
        held = self.held(job)
        if held is not None and held.epoch == epoch and held.number not in turn.ending:
            # The board hears of it with the commit; a report that comes twice in a batch says nothing new.
            turn.ending.add(held.number)
            self._vote(held, report.outcome, now=turn.now)
        self._remark(turn)
        return None

    # --- storing

    def _flush(self, turn: Turn) -> None:
        """Store what was collected, so that what follows in the batch sees it."""
        if turn.picks:
            self._store_picks(turn)
        if turn.endings:
            self._store_endings(turn)

    def _fly(self, turn: Turn) -> None:
        """Store a batch of mere claims and plain successes in one go; any other is left as it is.

        What turns out not to be where the board has it, and what needs to be read, has a transaction of its own then.
        """
        if turn.begun or turn.reservations or not (turn.picks or turn.endings):
            return
        endings = [ending for _, _, ending in turn.endings]
        if any(ending.report.artifacts for ending in endings):
            return
        try:
            moved = self._store.send(turn.grants, endings, now=turn.now).land()
        except LeaseLost as error:
            raise not_leading(error) from error
        except StorageFailed:
            raise
        except PilothouseError:
            # One of them cannot be stored, so none was; they are stored again in a way that finds out which.
            return
        picks, turn.picks = turn.picks, []
        missed = [job.number for _, job in picks if job.number not in moved.handed]
        handovers = [
            hand_over(turn, job.number, job.epoch, moved.handed) for _, job in picks if job.number in moved.handed
        ]
        self._take_picks(picks, handovers, missed, turn)
        ended, turn.endings = turn.endings, []
        self._take_endings(ended, {each.number for each in endings} - set(moved.shipped), turn)

    def _store_picks(self, turn: Turn) -> None:
        grants = turn.grants
        picks, turn.picks = turn.picks, []
        handovers, missed = assign(turn.tx, grants, now=turn.now)
        self._take_picks(picks, handovers, missed, turn)

    def _take_picks(
        self,
        picks: Sequence[tuple[Claim, HeldJob]],
        handovers: Sequence[Handover],
        missed: Sequence[JobNumber],
        turn: Turn,
    ) -> None:
        if missed:
            self._mend(missed, turn)
        gone = set(missed)
        lines = [line for line in turn.reservations if line.job not in gone]
        for line in turn.reservations:
            if line.job in gone:
                self.funds.release(line)
        turn.reservations = []
        if lines:
            turn.tx.budgets.reserve_many(lines)
        asked = [pick for pick in picks if pick[1].number not in gone] if gone else picks
        for (command, held), handover in zip(asked, handovers, strict=True):
            command.handed.append(handover)
            held.id = handover.job
            self._ids[handover.job] = held

    def _store_endings(self, turn: Turn) -> None:
        endings, turn.endings = turn.endings, []
        self._take_endings(endings, self._ship([ending for _, _, ending in endings], turn), turn)

    def _take_endings(
        self, endings: Sequence[tuple[Complete, int, Ending]], missed: Collection[JobNumber], turn: Turn
    ) -> None:
        for command, position, ending in endings:
            if ending.number not in missed:
                turn.shipped.append(ending)
                continue
            job, epoch, report = command.ended[position]
            command.refusals[position] = self._end(job, epoch, report, turn, factory=command.factory)

    def _ship(self, endings: Sequence[Ending], turn: Turn) -> Collection[JobNumber]:
        """Return those that were not shipped: all of them if one report cannot be stored, so that it fails alone."""
        # What cannot be stored is found before anything is, but for artifacts, which follow.
        follows = any(ending.report.artifacts for ending in endings)
        try:
            with turn.tx.savepoint() if follows else nullcontext():
                return set(turn.tx.jobs.ship(endings, now=turn.now))
        except StorageFailed:
            raise
        except Exception:  # noqa: BLE001  it comes again, to the one whose report it was
            return {ending.number for ending in endings}

    def _mend(self, numbers: Iterable[JobNumber], turn: Turn) -> None:
        """Take jobs as the database has them, after it has shown that the board was wrong about them."""
        for number in numbers:
            self._gone(number)
            self.board.forget(number)
            job = turn.tx.jobs.by_number(number)
            if job is not None:
                self._note(job)

    def _remark(self, turn: Turn) -> None:
        """Let held jobs know at once that others wait for them now: their end needs the rules."""
        for job in turn.touched:
            held = self.board.held.get(job.number)
            if held is not None and held.epoch == job.epoch and held.marks != job.marks:
                held.marks |= job.marks
                self._told = True

    def _know_shapes(self, turn: Turn) -> None:
        """Read the shapes of new jobs while the transaction is open."""
        unknown = {job.shape for job in turn.touched} - self.board.shapes.keys()
        if unknown:
            self.board.shapes.update(turn.tx.jobs.shapes(unknown))

    def _parks(self, command: Asked) -> bool:
        """Whether a command goes on waiting; otherwise its answer is kept."""
        match command:
            case Claim():
                if command.refused:
                    return False
                if not command.handed and self._clock.monotonic() < command.deadline:
                    self._parked[id(command)] = command
                    return True
                command.answer(command.handed)
            case Complete():
                command.answer(command.refusals)
            case _:
                pass
        return False

    # --- what waits

    def retry(self) -> Sequence[Claim]:
        """Return the parked claims that should be tried again: all of them if there is news, else those out of time."""
        if not self._parked:
            return ()
        now = self._clock.monotonic()
        # What was assigned to a session and waited for its victims is no longer on the board, but may be due now.
        if self._news and (len(self.board) or self._owed):
            due = list(self._parked.values())
        else:
            due = [claim for claim in self._parked.values() if claim.deadline <= now]
        self._news = self._owed = False
        for claim in due:
            del self._parked[id(claim)]
        return due

    @property
    def due_at(self) -> float | None:
        """The monotonic time at which the first parked claim is out of time."""
        return min((claim.deadline for claim in self._parked.values()), default=None)

    def release_parked(self) -> Sequence[Claim]:
        """Return every parked claim, answered with nothing: the engine is closing."""
        parked, self._parked = list(self._parked.values()), {}
        for claim in parked:
            claim.answer([])
        return parked


def _together(error: Exception) -> Exception:
    """Return an error of its own for each asker of a batch that failed as a whole."""
    if isinstance(error, StorageFailed):
        alone: Exception = StorageFailed(error.message, fix=error.fix)
    else:
        alone = StorageFailed(f"the batch could not be committed: {error!r}", fix="nothing was kept; try again")
    alone.__cause__ = error
    return alone
