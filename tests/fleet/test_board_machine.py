"""The board under drawn histories: whatever happens, its counts hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.fleet.board_world import DEMO, HERE, NOW, OTHER, SECOND, SMALL, THERE, board_of, open_place

from pilothouse.fleet.claim import Ready
from pilothouse.fleet.job import Cost, Priority, Shape
from pilothouse.fleet.place import EVERY_PRODUCT, HeldJob, Place
from pilothouse.fleet.score import FactoryFacts, JobFacts, Weights, score
from pilothouse.ids import Epoch, JobNumber, ProductId, SessionNumber, ShapeNumber

SHAPES = (
    SMALL,
    replace(SMALL, seats=2, gpus=1),
    replace(SMALL, seats=3, lock="one"),
    replace(SMALL, product=OTHER, timeout_seconds=30.0),
    replace(SMALL, engine="codex", lock="one"),
    # What no place can tell apart shares a lane, whatever its lock and its times.
    replace(SMALL, lock="one"),
    replace(SMALL, lock="two", timeout_seconds=45.0),
    replace(SMALL, timeout_seconds=3600.0),
    replace(SMALL, lock="two", min_running_seconds=9.0),
    replace(SMALL, product=OTHER, lock="one"),
    replace(SMALL, cost=Cost(tokens=5.0)),
    replace(SMALL, cost=Cost(usd=5.0)),
)


JOBS = st.builds(
    Ready,
    number=st.integers(1, 30).map(JobNumber),
    shape=st.integers(1, len(SHAPES)).map(ShapeNumber),
    priority=st.integers(0, 3),
    created_us=st.integers(NOW - 280 * SECOND, NOW),
    epoch=st.just(Epoch(0)),
    marks=st.integers(0, 3),
)


def _lock(job: Ready) -> tuple[ProductId, str] | None:
    """Return the lock that a job needs."""
    shape = SHAPES[job.shape - 1]
    return (shape.product, shape.lock) if shape.lock else None


def _before(job: HeldJob) -> Ready:
    """Return a job as it was before it was taken."""
    epoch = Epoch(job.epoch - 1)
    return Ready(job.number, job.shape_number, job.priority, job.created_us, epoch, job.marks, job.preemptions)


class BoardMachine(RuleBasedStateMachine):
    """Any history of a board beside a list of what waits and what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.board = board_of(*SHAPES)
        self.now = NOW
        self.waiting: dict[JobNumber, Ready] = {}
        self.held: dict[JobNumber, tuple[Ready, SessionNumber]] = {}
        self.pairs: dict[JobNumber, JobNumber] = {}
        self.known: dict[JobNumber, Ready] = {}

    @initialize(jobs=st.lists(JOBS, unique_by=lambda job: job.number, max_size=8))
    def start(self, jobs: list[Ready]) -> None:
        """Begin with a scan."""
        self.waiting = {job.number: job for job in jobs}
        self.known = dict(self.waiting)
        self.board.load(jobs)
        self._open(HERE)
        self._open(THERE)

    def _open(self, session: SessionNumber) -> None:
        place = open_place(
            self.board, session, seats=2 + 2 * session, gpus=1, product=DEMO if session == HERE else EVERY_PRODUCT
        )
        place.engines = frozenset({"codex"})

    @rule(job=JOBS)
    def add(self, job: Ready) -> None:
        """Let a job wait, again or under other marks."""
        if job.number not in self.held:
            # The shape and the times of a job never change, marks are only added, and one that was gone comes back
            # under a later epoch.
            before = self.known.get(job.number, job)
            gone = job.number in self.known and job.number not in self.waiting
            self._add(before._replace(marks=before.marks | job.marks, epoch=Epoch(before.epoch + gone)))

    def _add(self, job: Ready) -> None:
        self.known[job.number] = self.waiting[job.number] = job
        self.board.add(job)

    @rule(
        data=st.data(),
        session=st.sampled_from((HERE, THERE)),
        seats=st.integers(0, 6),
        broke=st.just(()) | st.lists(st.sampled_from(SHAPES), max_size=4).map(tuple),
    )
    def pick(self, data: st.DataObject, session: SessionNumber, seats: int, broke: tuple[Shape, ...]) -> None:
        """Compare what is given with the best of all, and keep it or give it back."""
        place = self.board.places.get(session)
        if place is None:
            return
        free, gpus, best = min(seats, place.seats_free), place.gpus_free, self._best(place, seats, broke)
        kept = place.reserved_for
        funds = (lambda shape, _: "exhausted" if shape in broke else None) if broke else None
        picked = self.board.pick(session, seats=seats, now_us=self.now, funds=funds)
        kept = kept if kept is not None else place.reserved_for
        if picked is None:
            assert best is None or kept is not None
            return
        job = self.waiting.pop(picked.number)
        assert picked is self.board.held[job.number]
        assert (picked.shape, picked.claimed_us, picked.session) == (SHAPES[job.shape - 1], self.now, session)
        assert _before(picked) == job
        assert SHAPES[job.shape - 1].seats <= free
        assert SHAPES[job.shape - 1].gpus <= gpus
        if kept is None:
            assert best is not None
            assert self._rank(job, place) == pytest.approx(self._rank(best, place))
        if data.draw(st.booleans()):
            self.held[job.number] = (job, session)
        else:
            self.board.release(job.number)
            self.board.add(job)
            self.waiting[job.number] = job

    def _best(self, place: Place, seats: int, broke: Sequence[Shape]) -> Ready | None:
        """Return the best of all that may start, found by looking at all."""
        able = [
            job
            for job in self.waiting.values()
            if self._may_start(job, place, seats) and SHAPES[job.shape - 1] not in broke
        ]
        return min(able, key=lambda job: (-self._rank(job, place), job.priority, job.created_us), default=None)

    def _may_start(self, job: Ready, place: Place, seats: int) -> bool:
        shape = SHAPES[job.shape - 1]
        locked = {_lock(held) for held, _ in self.held.values()} - {None}
        return (
            place.open
            and place.product in {EVERY_PRODUCT, shape.product}
            and _lock(job) not in locked
            and shape.seats <= min(seats, place.seats_free)
            and shape.gpus <= place.gpus_free
        )

    def _rank(self, job: Ready, place: Place) -> float:
        shape = SHAPES[job.shape - 1]
        facts = JobFacts(priority=tuple(Priority)[job.priority], age_seconds=(self.now - job.created_us) / SECOND)
        familiar = shape.product in place.familiar
        return score(facts, FactoryFacts(load=place.load, familiar=familiar), self.board.weights(shape.product)).total

    @precondition(lambda self: self.held)
    @rule(data=st.data(), again=st.booleans())
    def release(self, data: st.DataObject, again: bool) -> None:
        """Let a job end, for good or not."""
        number = data.draw(st.sampled_from(sorted(self.held)))
        job, _ = self.held.pop(number)
        self.board.release(number)
        self.pairs.pop(number, None)
        if again:
            self._add(job._replace(epoch=Epoch(job.epoch + 2)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """Let a job wait no more."""
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[number]
        self.board.forget(number)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), session=st.sampled_from((HERE, THERE)))
    def preempt(self, data: st.DataObject, session: SessionNumber) -> None:
        """Let jobs of a place stop for one that waits, if that makes room for it."""
        place = self.board.places.get(session)
        job = self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))]
        shape = SHAPES[job.shape - 1]
        if place is None or shape.lock or not self._could_ever(job, place):
            return
        victims = [each for each in place.held.values() if each.stop_us is None]
        seats = place.seats_free + sum(each.shape.seats for each in victims)
        gpus = place.gpus_free + sum(each.shape.gpus for each in victims)
        if not victims or seats < shape.seats or gpus < shape.gpus:
            return
        del self.waiting[job.number]
        self.held[job.number] = (job, session)
        self.board.hold(
            HeldJob(
                number=job.number,
                epoch=Epoch(job.epoch + 1),
                shape=shape,
                shape_number=job.shape,
                priority=job.priority,
                created_us=job.created_us,
                claimed_us=self.now,
                marks=job.marks,
                session=session,
                waits_for=tuple(each.number for each in victims),
            )
        )
        for each in victims:
            self.pairs[each.number] = job.number
            self.board.ask_to_stop(each.number, by_us=self.now, stops_for=job.number)

    def _could_ever(self, job: Ready, place: Place) -> bool:
        return self.board.suits(place, job.shape) is not None and place.open

    @rule(session=st.sampled_from((HERE, THERE)), reopened=st.booleans())
    def toggle(self, session: SessionNumber, reopened: bool) -> None:
        """Drain a place, or close it: what it holds is then taken back."""
        place = self.board.places.get(session)
        if place is not None and not reopened:
            place.open = not place.open
        elif place is not None:
            for job in self.board.close_place(session):
                self.board.release(job.number)
                del self.held[job.number]
                self.pairs.pop(job.number, None)
            self._open(session)

    @rule(weights=st.builds(Weights, age=st.sampled_from((0.0, 1.0, 5.0)), load=st.sampled_from((0.0, 4.0))))
    def weigh(self, weights: Weights) -> None:
        """Change what counts."""
        self.board.set_weights(DEMO, weights)

    @rule(seconds=st.sampled_from((1, 20)))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now += seconds * SECOND

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        """Every waiting job waits once, as it is known."""
        assert len(self.board) == len(self.waiting)
        heads = [job for number in range(1, len(SHAPES) + 1) for job in self.board.heads(ShapeNumber(number), 10**6)]
        assert {job.number: job for job in heads} == self.waiting
        assert len(heads) == len(self.waiting)
        assert self.board.held.keys() == self.held.keys()

    @invariant()
    def no_place_is_overfull(self) -> None:
        """Count what is held: all of it fits."""
        for place in self.board.places.values():
            assert place.seats_taken == sum(job.shape.seats for job in place.held.values())
            assert place.gpus_taken == sum(job.shape.gpus for job in place.held.values())
            assert place.stopping == sum(job.stops_for is not None for job in place.held.values())
            # What runs is what is held, without those whose victims have not made room yet.
            running = [job for job in place.held.values() if not job.waits_for]
            assert sum(job.shape.seats for job in running) <= place.seats
            assert sum(job.shape.gpus for job in running) <= place.gpus
            assert 0.0 <= place.load <= 1.0

    @invariant()
    def a_lock_has_one_holder(self) -> None:
        """Over all places."""
        locks = [(job.shape.product, job.shape.lock) for job in self.board.held.values() if job.shape.lock]
        assert len(locks) == len(set(locks))

    @invariant()
    def nobody_waits_for_a_job_that_has_stopped(self) -> None:
        """And whoever waits is the one that room is made for."""
        waited = {victim: job.number for job in self.board.held.values() for victim in job.waits_for}
        assert waited.keys() <= self.board.held.keys()
        assert all(self.pairs.get(victim) == number for victim, number in waited.items())


TestBoardMachine = BoardMachine.TestCase
TestBoardMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=(HealthCheck.too_slow,),  # a loaded machine is no finding
)
