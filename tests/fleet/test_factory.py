"""Whether a factory is alive, what is free on it, and when an engine is no longer trusted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.fleet.factory import (
    FAILURES_MAX,
    OPEN_SECONDS,
    OPEN_SECONDS_MAX,
    STALE_SECONDS,
    STALL_SWEEPS,
    SWEEPS_MISSED_MAX,
    Breaker,
    Circuit,
    Factory,
    Hold,
    Session,
    Vote,
    admits,
    beat,
    begin,
    end,
    free,
    health,
    open_session,
    room,
    stale,
    sweep,
    vote,
)
from pilothouse.fleet.job import Outcome
from pilothouse.ids import BootId, FactoryName, JobNumber, ProductId, SessionNumber
from pilothouse.testing.clock import BEGIN

FACTORY = Factory(product=ProductId("demo"), name=FactoryName("gpu-1"), seats=4, gpus=2)
EVERY = 20.0
JOBS = [JobNumber(number) for number in range(20)]
BAD = sorted(outcome for outcome in Outcome if vote(outcome) is Vote.BAD)
NEITHER = sorted(outcome for outcome in Outcome if vote(outcome) is Vote.NONE)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def session(number: int = 1) -> Session:
    return open_session(SessionNumber(number), factory=FACTORY.name, boot=BootId(f"boot-{number}"), now=BEGIN)


class Engine:
    """What an engine does with sweeps, as a driver of the pure rule; `rescued` are the numbers found stale."""

    def __init__(self, *sessions: Session) -> None:
        self.sessions = {session.number: session for session in sessions}
        self.before: datetime | None = None
        self.rescued: dict[int, float] = {}

    def sweep(self, seconds: float) -> None:
        """Sweep at so many seconds."""
        swept = sweep(self.sessions.values(), now=at(seconds), before=self.before, every_seconds=EVERY)
        self.before = swept.at
        self.sessions |= {session.number: session for session in swept.changed}
        for session in swept.stale:
            self.rescued.setdefault(session.number, seconds)

    def beat(self, seconds: float, *numbers: int) -> None:
        """Hear these sessions at so many seconds."""
        for number in map(SessionNumber, numbers):
            self.sessions[number] = beat(self.sessions[number], now=at(seconds))


def test_a_silent_factory_is_stale_as_soon_as_both_rules_say_so() -> None:
    """Ninety seconds and two sweeps: the sweep after the ninetieth second finds it."""
    engine = Engine(session(1), session(2))
    for seconds in range(0, 201, 10):
        engine.beat(seconds, 2)
        engine.sweep(seconds)

    assert engine.rescued == {1: 100}
    assert engine.sessions[SessionNumber(2)].beats_missed == 0


def test_sweeps_alone_make_nobody_stale() -> None:
    engine = Engine(session())
    for seconds in range(0, 90, 10):
        engine.sweep(seconds)

    assert engine.sessions[SessionNumber(1)].beats_missed >= SWEEPS_MISSED_MAX
    assert engine.rescued == {}


@pytest.mark.parametrize("stalled_seconds", [61, 600, 86_400])
@pytest.mark.parametrize("quick_sweeps", [1, 50])
def test_an_engine_that_slept_accuses_nobody(stalled_seconds: int, quick_sweeps: int) -> None:
    """Every session is past its expiry when it wakes; those that speak within two sweeps keep what they hold."""
    engine = Engine(*(session(number) for number in range(100)))
    for seconds in range(0, 41, 10):
        engine.sweep(seconds)
    woken = 40 + stalled_seconds
    for extra in range(quick_sweeps):
        engine.sweep(woken + 0.001 * extra)
    engine.sweep(woken + EVERY)
    engine.beat(woken + EVERY + 1, *range(99))
    for sweeps in range(2, 9):
        engine.beat(woken + sweeps * EVERY - 1, *range(99))
        engine.sweep(woken + sweeps * EVERY)

    assert list(engine.rescued) == [99]
    assert engine.rescued[99] > woken + EVERY


def test_an_engine_that_has_just_started_listens_first() -> None:
    """The sessions that it loads may all have expired while nothing ran."""
    engine = Engine(replace(session(), beats_missed=SWEEPS_MISSED_MAX))
    engine.sweep(1000)
    assert engine.rescued == {}
    engine.sweep(1000 + EVERY)
    assert engine.rescued == {}
    engine.sweep(1000 + 2 * EVERY)

    assert engine.rescued == {1: 1000 + 2 * EVERY}


def test_a_clock_that_was_set_back_keeps_nobody_alive() -> None:
    """A session heard in what is now the future still ends."""
    engine = Engine(session())
    engine.beat(100_000, 1)
    for seconds in range(0, 400, 20):
        engine.sweep(seconds)

    assert engine.rescued[1] <= STALE_SECONDS + 2 * EVERY


def test_a_factory_that_speaks_between_expiry_and_rescue_goes_on() -> None:
    late = replace(session(), beats_missed=1)
    assert not stale(late, now=at(STALE_SECONDS + 1))

    renewed = beat(late, now=at(STALE_SECONDS + 1))

    assert (renewed.beats_missed, renewed.expires_at) == (0, at(2 * STALE_SECONDS + 1))


@given(
    gaps=st.lists(st.floats(0.001, 500), max_size=60),
    beats_every=st.floats(1, EVERY),
)
def test_a_factory_that_beats_in_time_is_never_rescued(gaps: list[float], beats_every: float) -> None:
    """However irregular the sweeps are: it is heard whenever the engine listens, in order of time."""
    engine, now, next_beat = Engine(session()), 0.0, 0.0
    for gap in gaps:
        until = now + gap
        listens = gap <= STALL_SWEEPS * EVERY
        while next_beat <= until:
            if listens:
                engine.beat(next_beat, 1)
            next_beat += beats_every
        engine.sweep(until)
        now = until

    assert engine.rescued == {}


def test_a_stopping_job_s_seats_are_nobody_else_s() -> None:
    """Three seats are held by the victim; two go to the job that waits, so the third is the only one free."""
    victim = Hold(job=JobNumber(1), seats=3, gpus=2, stops_for=JobNumber(2))
    waiting = Hold(job=JobNumber(2), seats=2, gpus=2)
    empty_room = room(FACTORY, [])

    assert (empty_room.seats, empty_room.gpus) == (4, 2)
    assert room(FACTORY, [victim, waiting]).seats == 1
    assert room(FACTORY, [victim, waiting]).gpus == 0
    assert room(FACTORY, [waiting]).seats == 2
    assert room(FACTORY, [victim]).seats == 1


def test_a_job_that_waits_for_a_smaller_victim_also_takes_what_was_free() -> None:
    victim = Hold(job=JobNumber(1), seats=1, gpus=0, stops_for=JobNumber(2))

    assert room(FACTORY, [victim, Hold(job=JobNumber(2), seats=3, gpus=0)]).seats == 1


HOLDS = st.lists(
    st.tuples(st.sampled_from(JOBS[:6]), st.integers(0, 5), st.none() | st.sampled_from(JOBS[:6])),
    max_size=8,
)


@given(total=st.integers(0, 12), holds=HOLDS)
def test_free_is_never_negative_and_never_more_than_what_stays_free(
    total: int, holds: list[tuple[JobNumber, int, JobNumber | None]]
) -> None:
    """Neither now, while victims still run, nor after any of them has ended and its successor has started."""
    left = free(total, holds)
    running = sum(count for job, count, stops_for in holds if stops_for is not None)
    staying = sum(count for job, count, stops_for in holds if stops_for is None)
    waiting = {stops_for for job, count, stops_for in holds if stops_for is not None}
    started = sum(count for job, count, stops_for in holds if stops_for is None and job not in waiting)

    assert 0 <= left <= total
    assert left <= max(0, total - staying)
    assert left <= max(0, total - running - started)


@given(total=st.integers(0, 12), holds=HOLDS, one=st.tuples(st.sampled_from(JOBS[:6]), st.integers(0, 5), st.none()))
def test_another_job_never_makes_more_free(
    total: int, holds: list[tuple[JobNumber, int, JobNumber | None]], one: tuple[JobNumber, int, None]
) -> None:
    assert free(total, [*holds, one]) <= free(total, holds)


def failed(breaker: Breaker, *jobs: JobNumber, seconds: float = 0.0) -> Breaker:
    for job in jobs:
        breaker = end(breaker, job, outcome=Outcome.LAUNCH_FAILED, now=at(seconds))
    return breaker


OPENED = failed(Breaker(), *JOBS[:FAILURES_MAX])


def test_failures_of_different_jobs_in_a_row_open_the_circuit() -> None:
    assert failed(Breaker(), *JOBS[: FAILURES_MAX - 1]).circuit is Circuit.CLOSED
    assert OPENED.circuit is Circuit.OPEN
    assert not admits(OPENED, now=at(OPEN_SECONDS - 1))
    assert health(OPENED, now=at(OPEN_SECONDS - 1)) == 0.0


def test_one_job_that_always_fails_opens_nothing() -> None:
    """It is the job's own fault, however often it is restarted."""
    assert failed(Breaker(), *([JOBS[0]] * 50)).circuit is Circuit.CLOSED


def test_a_success_between_them_breaks_the_row() -> None:
    breaker = end(failed(Breaker(), *JOBS[:2]), JOBS[2], outcome=Outcome.SUCCEEDED, now=BEGIN)

    assert failed(breaker, *JOBS[3:5]).circuit is Circuit.CLOSED


@pytest.mark.parametrize("outcome", NEITHER)
def test_what_a_job_did_to_itself_says_nothing_of_the_factory(outcome: Outcome) -> None:
    breaker = failed(Breaker(), *JOBS[:2])

    assert end(breaker, JOBS[3], outcome=outcome, now=BEGIN) == breaker


def test_after_its_time_one_probe_is_let_through() -> None:
    now = at(OPEN_SECONDS)
    assert admits(OPENED, now=now)
    assert 0.0 < health(OPENED, now=now) < 0.5

    probing = begin(OPENED, JOBS[9], now=now)

    assert probing.circuit is Circuit.HALF_OPEN
    assert not admits(probing, now=now + timedelta(days=1))


def test_a_good_probe_closes_the_circuit() -> None:
    probing = begin(OPENED, JOBS[9], now=at(OPEN_SECONDS))

    closed = end(probing, JOBS[9], outcome=Outcome.SUCCEEDED, now=at(OPEN_SECONDS + 1))

    assert (closed.circuit, closed.failed, closed.open_seconds) == (Circuit.CLOSED, (), OPEN_SECONDS)
    assert admits(closed, now=at(OPEN_SECONDS + 1))
    assert failed(closed, *JOBS[: FAILURES_MAX - 1]).circuit is Circuit.CLOSED


def test_a_bad_probe_opens_it_for_twice_as_long_up_to_a_bound() -> None:
    breaker, seconds, waits = OPENED, 0.0, []
    for job in JOBS[5:12]:
        waits.append(breaker.open_seconds)
        seconds += breaker.open_seconds
        assert not admits(breaker, now=at(seconds - 1))
        breaker = failed(begin(breaker, job, now=at(seconds)), job, seconds=seconds)

    assert waits[:4] == [OPEN_SECONDS, 2 * OPEN_SECONDS, 4 * OPEN_SECONDS, 8 * OPEN_SECONDS]
    assert waits[-1] == OPEN_SECONDS_MAX


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.PREEMPTED])
def test_a_probe_that_says_nothing_makes_way_for_the_next(outcome: Outcome) -> None:
    """Otherwise the circuit would stay half open for ever."""
    now = at(OPEN_SECONDS)
    probing = begin(OPENED, JOBS[9], now=now)

    assert admits(end(probing, JOBS[9], outcome=outcome, now=now), now=now)


def test_an_attempt_from_before_does_not_decide_for_the_probe() -> None:
    now = at(OPEN_SECONDS)
    probing = begin(OPENED, JOBS[9], now=now)

    for outcome in (Outcome.SUCCEEDED, Outcome.LAUNCH_FAILED):
        after = end(probing, JOBS[8], outcome=outcome, now=now)
        assert (after.circuit, after.probe) == (Circuit.HALF_OPEN, JOBS[9])


@given(steps=st.lists(st.tuples(st.sampled_from(JOBS[:5]), st.sampled_from(Outcome), st.floats(0, 900)), max_size=60))
def test_health_stays_between_nothing_and_all_and_the_circuit_always_comes_back(
    steps: list[tuple[JobNumber, Outcome, float]],
) -> None:
    """Whatever happens, an hour later a job is let through, and its success closes the circuit."""
    breaker, seconds = Breaker(), 0.0
    for job, outcome, pause in steps:
        seconds += pause
        if admits(breaker, now=at(seconds)):
            breaker = begin(breaker, job, now=at(seconds))
        breaker = end(breaker, job, outcome=outcome, now=at(seconds))
        assert 0.0 <= health(breaker, now=at(seconds)) <= 1.0
        assert (health(breaker, now=at(seconds)) == 0.0) == (breaker.circuit is Circuit.OPEN)
    if breaker.probe is not None:
        breaker = end(breaker, breaker.probe, outcome=Outcome.CANCELLED, now=at(seconds))

    later = at(seconds + OPEN_SECONDS_MAX)
    assert admits(breaker, now=later)
    breaker = end(begin(breaker, JOBS[7], now=later), JOBS[7], outcome=Outcome.SUCCEEDED, now=later)
    assert breaker.circuit is Circuit.CLOSED


@pytest.mark.parametrize("outcome", BAD)
def test_each_bad_outcome_counts(outcome: Outcome) -> None:
    breaker = Breaker()
    for job in JOBS[:FAILURES_MAX]:
        breaker = end(breaker, job, outcome=outcome, now=BEGIN)

    assert breaker.circuit is Circuit.OPEN
