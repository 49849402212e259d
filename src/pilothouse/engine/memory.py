"""What the engine keeps in memory, and how it follows what is stored: read at a start, noted after every commit."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import assert_never

from pilothouse.engine.funds import Funds
from pilothouse.engine.rooms import restore_rooms
from pilothouse.engine.roster import Roster
from pilothouse.engine.slips import Slips
from pilothouse.engine.turn import Turn
from pilothouse.fleet.board import Board
from pilothouse.fleet.changed import BudgetPut, Changed, FactoryGone, SessionClosed, SettingsPut
from pilothouse.fleet.claim import Ready
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.place import HeldJob, microseconds
from pilothouse.fleet.settings import FleetSettings
from pilothouse.fleet.stages import LEASED, Stage
from pilothouse.ids import FactoryName, JobId, JobNumber, ProductId
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Store

LEASE_SECONDS = 90.0
FROZEN_MIN = 100_000
"""From so many waiting jobs on, what a start has read is kept from the collector: to look at a million of them takes it
a tenth of a second each time, in which nobody is answered, and none of them is ever garbage."""
_DEFAULTS = FleetSettings()

_log = logging.getLogger(__name__)


class Memory:
    """Board, roster and budgets, and the rules by which they follow the store."""

    def __init__(self, store: Store, clock: Clock, *, lease_seconds: float = LEASE_SECONDS) -> None:
        assert lease_seconds > 0, f"a lease lasts longer than nothing, got {lease_seconds}"
        self.board = Board()
        self.roster = Roster(self.board, lease_seconds=lease_seconds)
        self.funds = Funds()
        self.settings: dict[ProductId, FleetSettings] = {}
        self.counters: dict[str, int] = dict.fromkeys(("claimed", "completed", "rescued", "preempted"), 0)
        self._store = store
        self._clock = clock
        self._slips = Slips(clock)
        self._ids: dict[JobId, HeldJob] = {}
        self._news = False
        self._owed = False
        self._told = False
        self._refunded = False
        self.urgent = False

    def load(self) -> None:
        """Rebuild what is kept in memory from the database."""
        with _uncollected(), self._store.read() as tx:
            now = self._clock.now()
            self.keep_time(now)
            self.board.shapes.update(tx.jobs.shapes())
            self.roster.load(tx)
            for product, settings in tx.fleet_settings.listed().items():
                self._take_settings(product, settings)
            self.board.load(tx.jobs.ready())
            for job in tx.jobs.leased():
                self._hold(job)
            for held in self.board.held.values():
                # Who was heard before this start is not known. Nobody is accused of a silence that was the engine's.
                held.heard_us = microseconds(now)
            restore_rooms(self.board, tx)
            self.funds.load(tx, now=now)
        if len(self.board) >= FROZEN_MIN:
            gc.freeze()
        self.urgent = True

    def keep_time(self, now: datetime) -> None:
        """Move the times of what is held along with a wall clock that was moved."""
        moved_us = self._slips.since(microseconds(now))
        if moved_us:
            _log.warning("the clock was moved by %.0f s", moved_us / 1e6, extra={"action": "clock_moved"})
            self.board.shift(moved_us)

    def settings_of(self, product: ProductId) -> FleetSettings:
        """Return a product's fleet settings."""
        return self.settings.get(product, _DEFAULTS)

    def _take_settings(self, product: ProductId, settings: FleetSettings) -> None:
        self.settings[product] = settings
        self.board.set_weights(product, settings.weigh({}))

    def enrol(self, factory: Factory) -> None:
        """Take in a factory, or what has changed about it, once that is stored."""
        self.roster.enrol(factory)
        self._news = True

    def configure(self, product: ProductId, settings: FleetSettings) -> None:
        """Take in a product's settings, once they are stored."""
        self._take_settings(product, settings)
        self._news = self.urgent = True

    def refund(self) -> None:
        """Have every budget read anew, once a change of them is stored.

        It waits for the end of the batch that asks: what that has reserved and settled is in no table before.
        """
        self._refunded = self._news = True

    def _read_funds(self) -> None:
        with self._store.read() as tx:
            self.funds.load(tx, now=self._clock.now())
        self._refunded = False

    # --- what is held

    def _vote(self, held: HeldJob, outcome: Outcome, *, now: datetime) -> None:
        place = self.board.places.get(held.session)
        if place is not None:
            self.roster.ended(place, held.shape.engine, held.number, outcome=outcome, now=now)

    def held(self, job: JobId) -> HeldJob | None:
        """Return a held job as the board has it."""
        return self._ids.get(job)

    def _factory_of(self, held: HeldJob) -> FactoryName | None:
        place = self.board.places.get(held.session)
        return None if place is None else place.factory

    # --- after the commit

    def _settle(self, turn: Turn) -> None:
        """Take in what the commit has changed; a job may occur more than once, and its last state counts."""
        for ending in turn.shipped:
            # A success says nothing of an engine of which nothing else was ever heard.
            if self.roster.breakers and ending.number in self.board.held:
                self._vote(self.board.held[ending.number], Outcome.SUCCEEDED, now=turn.now)
            self._gone(ending.number)
        for job in {job.number: job for job in turn.touched}.values():
            self._note(job)
        for changed in turn.changed:
            self._follow(changed)
        if self._refunded:
            self._read_funds()
        elif self.funds.counts:
            self._renew_funds(turn)
        self.counters["claimed"] += len(turn.stored)
        self.counters["completed"] += len(turn.shipped)

    def _follow(self, changed: Changed) -> None:
        """Let memory follow a commit, in the order of the commits, whatever becomes of whoever asked for it."""
        match changed:
            case Factory():
                self.enrol(changed)
            case FactoryGone():
                self.roster.factories.pop(changed.name, None)
            case SessionClosed():
                self.roster.close(changed.session)
            case SettingsPut():
                self.configure(changed.product, changed.settings)
            case BudgetPut():
                self.refund()
            case _:
                assert_never(changed)

    def _renew_funds(self, turn: Turn) -> None:
        for settlement in turn.settled:
            self.funds.settle(settlement, now=turn.now)
        if self.funds.outdated(turn.now):
            with self._store.read() as tx:
                self.funds.renew(tx, now=turn.now)
            self._news = True

    def _note(self, job: Job) -> None:
        """Let the board see a job as it is now."""
        if job.stage is Stage.QUEUED:
            self._gone(job.number)
            created = microseconds(job.created_at)
            self.board.add(
                Ready(job.number, job.shape, job.priority.rank, created, job.epoch, job.marks, job.preemptions)
            )
            self._news = True
            self.urgent = self.urgent or job.priority.rank == 0
        elif job.stage in LEASED:
            self._hold(job)
        else:
            self._gone(job.number)
            self.board.forget(job.number)

    def _gone(self, number: JobNumber) -> None:
        held = self.board.release(number)
        if held is not None:
            self._news = True
            if held.stops_for is not None:
                self._owe(held)
            if self.roster.breakers:
                self.roster.let_go(held.number, now=self._clock.now())
            if held.id is not None and self._ids.get(held.id) is held:
                del self._ids[held.id]

    def _owe(self, victim: HeldJob) -> None:
        """Note that a job may be handed over now which waited for this one; its factory has not heard of it yet."""
        waiting = None if victim.stops_for is None else self.board.held.get(victim.stops_for)
        if waiting is not None:
            waiting.heard_us = microseconds(self._clock.now())
            self._owed = True

    def _hold(self, job: Job) -> None:
        assert job.session is not None, f"job {job.id} is held by nobody"
        held = self.board.held.get(job.number)
        if held is None or held.epoch != job.epoch:
            changed = microseconds(job.changed_at)
            held = HeldJob(
                number=job.number,
                epoch=job.epoch,
                shape=self.board.shapes[job.shape],
                shape_number=job.shape,
                priority=job.priority.rank,
                created_us=microseconds(job.created_at),
                claimed_us=changed,
                marks=job.marks,
                session=job.session,
                id=job.id,
            )
            self.board.hold(held)
        held.building = job.stage is Stage.BUILDING
        held.marks = job.marks
        held.preemptions = job.preemptions
        if job.stop_at is not None and held.stop_us is None:
            self.board.ask_to_stop(job.number, by_us=microseconds(job.stop_at), stops_for=None)
        self._ids[job.id] = held


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector off a scan that makes millions of things and no garbage."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
