"""Who makes room for a critical job, and that nobody makes room for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet import preemption
from pilothouse.fleet.job import Priority
from pilothouse.fleet.preemption import (
    PREEMPTIONS_MAX,
    Eviction,
    NoEviction,
    Room,
    Running,
    Spare,
    Wanted,
    Why,
    plan,
    spare_of,
)
from pilothouse.ids import FactoryName, JobNumber

ONE, TWO = FactoryName("one"), FactoryName("two")
WANTED = Wanted(job=JobNumber(99), priority=Priority.CRITICAL, seats=1, gpus=0, factories=(ONE, TWO))
FULL = (Room(factory=ONE, seats=0, gpus=0), Room(factory=TWO, seats=0, gpus=0))


def low(number: int, *, factory: FactoryName = ONE, lost_seconds: float = 10.0, seats: int = 1) -> Running:
    return Running(
        job=JobNumber(number),
        priority=Priority.LOW,
        seats=seats,
        gpus=0,
        factory=factory,
        running_seconds=100.0,
        lost_seconds=lost_seconds,
    )


def victims(outcome: Eviction | NoEviction) -> list[int]:
    assert isinstance(outcome, Eviction), outcome
    return [victim.job for victim in outcome.victims]


# Most jobs may be stopped and rooms are small, so that most draws end in an eviction with victims to choose from.
JOBS = st.builds(
    Running,
    job=st.just(JobNumber(0)),
    priority=st.sampled_from((Priority.LOW, Priority.LOW, Priority.MEDIUM, Priority.HIGH, Priority.CRITICAL)),
    seats=st.integers(0, 4),
    gpus=st.integers(0, 2),
    factory=st.sampled_from((ONE, ONE, ONE, TWO)),
    running_seconds=st.sampled_from((60.0, 60.0, 600.0, 30.0)),
    lost_seconds=st.sampled_from((0.0, 0.5, 30.0, 60.0)),
    min_running_seconds=st.sampled_from((0.0, 0.0, 0.0, 60.0)),
    preemptions=st.sampled_from((0, 0, 0, PREEMPTIONS_MAX - 1, PREEMPTIONS_MAX)),
    stopping=st.sampled_from((False, False, False, True)),
)
RUNNING = st.lists(JOBS, min_size=4, max_size=9).map(
    lambda jobs: [replace(job, job=JobNumber(number)) for number, job in enumerate(jobs)]
)
ROOMS = st.builds(
    lambda one, two: (Room(factory=ONE, seats=one[0], gpus=one[1]), Room(factory=TWO, seats=two[0], gpus=two[1])),
    st.tuples(st.integers(0, 2), st.integers(0, 1)),
    st.tuples(st.integers(0, 2), st.integers(0, 1)),
)
WANTEDS = st.builds(
    Wanted,
    job=st.just(JobNumber(99)),
    priority=st.sampled_from((Priority.CRITICAL, Priority.CRITICAL, Priority.CRITICAL, Priority.HIGH)),
    seats=st.integers(0, 8),
    gpus=st.integers(0, 3),
    factories=st.sampled_from(((ONE, TWO), (ONE, TWO), (ONE, TWO), (ONE,), (TWO,), ())),
)


def covering_sets(wanted: Wanted, running: Sequence[Running], rooms: Sequence[Room]) -> Iterator[tuple[Running, ...]]:
    """Every set of permitted victims on one factory that truly makes room, by trying them all."""
    for room in rooms:
        if room.factory not in wanted.factories:
            continue
        permitted = [
            job
            for job in running
            if job.factory == room.factory
            and job.priority.rank > wanted.priority.rank
            and job.running_seconds >= job.min_running_seconds
            and job.preemptions < PREEMPTIONS_MAX
            and not job.stopping
        ]
        for size in range(len(permitted) + 1):
            for chosen in combinations(permitted, size):
                freed = replace(
                    room,
                    seats=room.seats + sum(job.seats for job in chosen),
                    gpus=room.gpus + sum(job.gpus for job in chosen),
                )
                if freed.fits(wanted):
                    yield chosen


def order(chosen: Sequence[Running]) -> tuple[int, list[int], list[tuple[float, int]]]:
    """Return the stated order of sets: lost work, then the urgency of the worst victims, then their age."""
    return (
        sum(job.lost_seat_milliseconds for job in chosen),
        sorted((-job.priority.rank for job in chosen), reverse=True),
        sorted(((job.running_seconds, -job.job) for job in chosen), reverse=True),
    )


@given(wanted=WANTEDS, running=RUNNING, rooms=ROOMS)
def test_the_plan_is_the_best_of_all_that_are_allowed(
    wanted: Wanted, running: list[Running], rooms: tuple[Room, Room]
) -> None:
    """Found by comparing it with every subset; there is none exactly when no subset helps or none is needed."""
    outcome = plan(wanted, running, rooms)
    needless = any(room.fits(wanted) for room in rooms if room.factory in wanted.factories)
    sets = list(covering_sets(wanted, running, rooms))

    if wanted.priority is not Priority.CRITICAL or needless or not sets:
        assert isinstance(outcome, NoEviction)
    else:
        assert isinstance(outcome, Eviction)
        assert sorted(job.job for job in min(sets, key=order)) == victims(outcome)
        assert {job.factory for job in outcome.victims} == {outcome.factory}


@given(wanted=WANTEDS, running=RUNNING, rooms=ROOMS)
def test_no_victim_is_needless(wanted: Wanted, running: list[Running], rooms: tuple[Room, Room]) -> None:
    """Without any one of them the job would not fit."""
    outcome = plan(wanted, running, rooms)

    if isinstance(outcome, Eviction):
        allowed = {tuple(job.job for job in chosen) for chosen in covering_sets(wanted, running, rooms)}
        chosen = tuple(victims(outcome))
        assert all(tuple(other for other in chosen if other != job) not in allowed for job in chosen)


@given(wanted=WANTEDS, running=RUNNING, rooms=ROOMS, data=st.data())
def test_the_order_in_which_jobs_are_told_changes_nothing(
    wanted: Wanted, running: list[Running], rooms: tuple[Room, Room], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(running))

    assert plan(wanted, shuffled, rooms[::-1]) == plan(wanted, running, rooms)


@given(wanted=WANTEDS, running=RUNNING, rooms=ROOMS)
def test_the_greedy_search_keeps_every_rule_but_the_best_choice(
    wanted: Wanted, running: list[Running], rooms: tuple[Room, Room]
) -> None:
    """It evicts exactly when the exact one does, permitted victims only, none in vain and none needless."""
    exact = plan(wanted, running, rooms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preemption, "EXACT_WORK_MAX", 0)
        greedy = plan(wanted, running, rooms)

    assert type(greedy) is type(exact)
    if isinstance(greedy, Eviction) and isinstance(exact, Eviction):
        allowed = {tuple(job.job for job in chosen) for chosen in covering_sets(wanted, running, rooms)}
        chosen = tuple(victims(greedy))
        assert chosen in allowed
        assert all(tuple(other for other in chosen if other != job) not in allowed for job in chosen)
        assert greedy.lost_seat_seconds >= exact.lost_seat_seconds


@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.MEDIUM, Priority.LOW])
def test_only_a_critical_job_preempts(priority: Priority) -> None:
    outcome = plan(replace(WANTED, priority=priority), [low(1)], FULL)

    assert isinstance(outcome, NoEviction)
    assert outcome.why is Why.NOT_CRITICAL


def test_nobody_is_evicted_while_there_is_room_elsewhere() -> None:
    outcome = plan(WANTED, [low(1)], (FULL[0], Room(factory=TWO, seats=1, gpus=0)))

    assert isinstance(outcome, NoEviction)
    assert outcome.why is Why.ROOM_FREE


def test_a_factory_that_could_not_run_the_job_gives_nothing() -> None:
    """Neither its free seats nor its victims."""
    outcome = plan(replace(WANTED, factories=(TWO,)), [low(1, factory=ONE)], FULL)

    assert isinstance(outcome, NoEviction)
    assert outcome.why is Why.NOT_ENOUGH
    assert isinstance(plan(replace(WANTED, factories=()), [low(1)], FULL), NoEviction)


def test_two_critical_jobs_never_evict_each_other() -> None:
    """Whichever of them runs, the other waits."""
    for running_job, waiting_job in ((1, 2), (2, 1)):
        running = [replace(low(running_job), priority=Priority.CRITICAL)]
        assert isinstance(plan(replace(WANTED, job=JobNumber(waiting_job)), running, FULL), NoEviction)


@pytest.mark.parametrize(
    ("job", "spare"),
    [
        (replace(low(1), priority=Priority.CRITICAL), Spare.NOT_LOWER),
        (replace(low(1), stopping=True), Spare.STOPPING),
        (replace(low(1), min_running_seconds=100.001), Spare.TOO_YOUNG),
        (replace(low(1), min_running_seconds=100.0), None),
        (replace(low(1), preemptions=PREEMPTIONS_MAX), Spare.PREEMPTED_OFTEN),
        (replace(low(1), preemptions=PREEMPTIONS_MAX - 1), None),
    ],
)
def test_who_is_spared_and_why(job: Running, spare: Spare | None) -> None:
    assert spare_of(job, wanted=WANTED) is spare
    outcome = plan(WANTED, [job], FULL)
    if spare is None:
        assert victims(outcome) == [1]
    else:
        assert isinstance(outcome, NoEviction)
        assert outcome.spared == {spare: 1}
        assert "1 " in outcome.detail


def test_the_job_that_has_just_saved_its_work_yields() -> None:
    """Lost work decides before the priority does."""
    saved = replace(low(1, lost_seconds=1.0), priority=Priority.HIGH)

    assert victims(plan(WANTED, [saved, low(2, lost_seconds=2.0)], FULL)) == [1]


def test_lost_work_counts_every_seat() -> None:
    assert victims(plan(WANTED, [low(1, lost_seconds=6.0, seats=2), low(2, lost_seconds=10.0)], FULL)) == [2]


def test_equal_work_goes_by_priority_then_by_age() -> None:
    medium, older, newer = replace(low(1), priority=Priority.MEDIUM), replace(low(2), running_seconds=101.0), low(3)

    assert victims(plan(WANTED, [medium, older], FULL)) == [2]
    assert victims(plan(WANTED, [medium, older, newer], FULL)) == [3]


def test_a_gang_is_made_room_for_on_one_factory_or_nowhere() -> None:
    """Two seats here and two there are not four."""
    wanted = replace(WANTED, seats=4)
    apart = [low(number, factory=factory) for number, factory in enumerate((ONE, ONE, TWO, TWO))]

    assert isinstance(plan(wanted, apart, FULL), NoEviction)
    assert victims(plan(wanted, [*apart, low(7, seats=2)], FULL)) == [0, 1, 7]


def test_free_seats_without_their_gpus_are_no_room() -> None:
    """The victim that brings the GPU is evicted although seats are free."""
    wanted = replace(WANTED, gpus=1)
    rooms = (Room(factory=ONE, seats=4, gpus=0), FULL[1])

    assert victims(plan(wanted, [low(1), replace(low(2), gpus=1)], rooms)) == [2]


def test_two_gpus_need_two_victims_that_have_one_each() -> None:
    wanted = replace(WANTED, gpus=2)
    running = [replace(low(number), gpus=1) for number in (1, 2)]

    assert victims(plan(wanted, running, FULL)) == [1, 2]


def test_the_greedy_search_lets_go_of_whom_a_larger_victim_makes_needless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheap first one frees a seat of the three, and the second frees all."""
    monkeypatch.setattr(preemption, "EXACT_WORK_MAX", 0)
    running = [low(1, lost_seconds=1.0), low(2, seats=3, lost_seconds=10.0)]

    assert victims(plan(replace(WANTED, seats=3), running, FULL)) == [2]


def test_seats_do_not_stand_in_for_gpus() -> None:
    wanted = replace(WANTED, gpus=1)

    assert isinstance(plan(wanted, [low(1, seats=8)], FULL), NoEviction)
    assert victims(plan(wanted, [low(1, seats=8), replace(low(2), gpus=1)], FULL)) == [2]


@dataclass
class Work:
    """A job of the simulated fleet; what it did since its last checkpoint is lost when it stops."""

    number: int
    priority: Priority
    seats: int
    length: int
    done: int = 0
    started: int = -1
    stop_at: int | None = None
    preemptions: int = 0
    stretches: list[int] = field(default_factory=list)


CHECKPOINT_EVERY = 3
MIN_RUNNING = 5
STOPPING = 2


@dataclass
class Fleet:
    """One factory, and an adversary who sends a critical job the moment that a low one may be evicted."""

    seats: int
    low: list[Work]
    critical_seats: list[int]
    preemptions_max: int
    tick: int = 0
    sent: int = 0
    waiting: list[Work] = field(default_factory=list)
    reserved: list[tuple[Work, tuple[int, ...]]] = field(default_factory=list)
    running: list[Work] = field(default_factory=list)

    def run(self, ticks_max: int) -> bool:
        """Whether every low job has ended within so many ticks."""
        self.waiting = list(self.low)
        while self.tick < ticks_max and any(job.done < job.length for job in self.low):
            self._strike()
            self._place()
            self._preempt()
            self._work()
            self.tick += 1
        return all(job.done >= job.length for job in self.low)

    def free(self) -> int:
        """Return the seats that neither a job nor a reservation takes."""
        taken = sum(job.seats for job in self.running)
        for job, stopping in self.reserved:
            taken += max(0, job.seats - sum(other.seats for other in self.running if other.number in stopping))
        assert 0 <= taken <= self.seats, (taken, self.seats)
        return self.seats - taken

    def view(self) -> list[Running]:
        """Return what the rule sees of the running jobs."""
        return [
            Running(
                job=JobNumber(job.number),
                priority=job.priority,
                seats=job.seats,
                gpus=0,
                factory=ONE,
                running_seconds=self.tick - job.started,
                lost_seconds=(self.tick - job.started) % CHECKPOINT_EVERY,
                min_running_seconds=MIN_RUNNING,
                preemptions=job.preemptions,
                stopping=job.stop_at is not None,
            )
            for job in self.running
        ]

    def _strike(self) -> None:
        due = any(job.priority is Priority.LOW and self.tick - job.started >= MIN_RUNNING for job in self.running)
        if due and not self.reserved and all(job.priority is Priority.LOW for job in self.waiting):
            self.sent += 1
            seats = min(self.seats, self.critical_seats[self.sent % len(self.critical_seats)])
            self.waiting.append(Work(number=1000 + self.sent, priority=Priority.CRITICAL, seats=seats, length=4))

    def _place(self) -> None:
        for job, stopping in list(self.reserved):
            if not any(other.number in stopping for other in self.running):
                self.reserved.remove((job, stopping))
                self._start(job)
        for job in sorted(self.waiting, key=lambda job: (job.priority.rank, job.number)):
            if job.seats <= self.free():
                self.waiting.remove(job)
                self._start(job)

    def _start(self, job: Work) -> None:
        job.started = self.tick
        self.running.append(job)

    def _preempt(self) -> None:
        for job in [job for job in self.waiting if job.priority is Priority.CRITICAL]:
            wanted = replace(WANTED, job=JobNumber(job.number), seats=job.seats)
            rooms = [Room(factory=ONE, seats=self.free(), gpus=0)]
            outcome = plan(wanted, self.view(), rooms, preemptions_max=self.preemptions_max)
            if isinstance(outcome, Eviction):
                numbers = tuple(victims(outcome))
                self.waiting.remove(job)
                self.reserved.append((job, numbers))
                for victim in self.running:
                    if victim.number in numbers:
                        assert victim.priority is Priority.LOW
                        victim.stop_at = self.tick + STOPPING

    def _work(self) -> None:
        for job in list(self.running):
            ran = self.tick + 1 - job.started
            if job.stop_at == self.tick + 1:
                job.done += ran - ran % CHECKPOINT_EVERY
                job.preemptions, job.stop_at = job.preemptions + 1, None
                job.stretches.append(ran)
                self.running.remove(job)
                self.waiting.append(job)
            elif job.done + ran >= job.length and job.stop_at is None:
                job.done = job.length
                self.running.remove(job)


FLEETS = st.builds(
    Fleet,
    seats=st.integers(1, 4),
    low=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 60)), min_size=1, max_size=5).map(
        lambda jobs: [
            Work(number=number, priority=Priority.LOW, seats=seats, length=length)
            for number, (seats, length) in enumerate(jobs)
        ]
    ),
    critical_seats=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    preemptions_max=st.just(PREEMPTIONS_MAX),
)


@given(fleet=FLEETS)
def test_every_low_job_ends_under_a_stream_of_critical_jobs_that_never_ends(fleet: Fleet) -> None:
    """None is preempted more often than allowed, and each attempt was given its minimum running time."""
    for job in fleet.low:
        job.seats = min(job.seats, fleet.seats)

    assert fleet.run(ticks_max=3000)
    assert all(job.preemptions <= PREEMPTIONS_MAX for job in fleet.low)
    assert all(stretch >= MIN_RUNNING for job in fleet.low for stretch in job.stretches)


def test_the_adversary_is_one_whom_only_the_bound_defeats() -> None:
    """Three low jobs yield as often as they may; without the bound they yield hundreds of times and take far longer."""

    def fleet(preemptions_max: int) -> Fleet:
        jobs = [Work(number=number, priority=Priority.LOW, seats=1, length=600) for number in range(3)]
        return Fleet(seats=1, low=jobs, critical_seats=[1], preemptions_max=preemptions_max)

    bounded, unbounded = fleet(PREEMPTIONS_MAX), fleet(1_000_000)

    assert bounded.run(ticks_max=2500)
    assert [job.preemptions for job in bounded.low] == [PREEMPTIONS_MAX] * 3
    assert not unbounded.run(ticks_max=2500)
    assert max(job.preemptions for job in unbounded.low) > 50
