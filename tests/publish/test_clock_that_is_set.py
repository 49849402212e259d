"""A wall clock that is set, forward or back, lets nobody write faster and holds nobody up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from tests.publish.conftest import Desk

from pilothouse.engine.postman import Postman
from pilothouse.logbook.letter import GITHUB, Posted
from pilothouse.logbook.pace import Limit, Pace
from pilothouse.ports.channel import Delivered, Gate, Later, Outcome
from pilothouse.ports.clock import Clock
from pilothouse.ports.outbox import Hold
from pilothouse.testing.outbox_conformance import make_issue

PACE = Pace(limits=(Limit(writes=8, seconds=60), Limit(writes=50, seconds=3600)), apart_seconds=1.0)
JUMPS = [timedelta(days=40), timedelta(minutes=10), timedelta(minutes=-10), timedelta(days=-40)]


@dataclass
class Far:
    """A far side that notes by the clock that never goes back when it was written to; the next `answers` come first."""

    clock: Clock
    answers: list[Outcome] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The forge's."""
        return GITHUB

    @property
    def pace(self) -> Pace:
        """One like GitHub's, a tenth as much."""
        return PACE

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Take the letter."""
        del about
        gate.pass_one()
        self.arrived.append(self.clock.monotonic())
        gate.passed()
        return self.answers.pop(0) if self.answers else Delivered(remote=posted.letter.key)

    def close(self) -> None:
        """Nothing is held open."""

    def breaches(self) -> list[tuple[int, float]]:
        """Return how many writes too many came within how many seconds."""
        return [
            (most + 1, last - first)
            for most, seconds in ((8, 60.0), (50, 3600.0), (1, 1.0))
            for first, last in zip(self.arrived, self.arrived[most:], strict=False)
            if last - first < seconds - 1e-6
        ]


def post(desk: Desk, number: int, *, begin: int = 0) -> None:
    """Post so many letters."""
    desk.post(*(make_issue(f"run-{index}/issue") for index in range(begin, begin + number)))


def opened(desk: Desk, far: Far) -> Postman:
    """Return a postman as a process has one that has just begun."""
    postman = Postman(desk.books, far, wait=desk.books.wait)
    postman.open()
    return postman


def deliver(desk: Desk, postman: Postman, *, seconds: float = 20_000) -> None:
    """Deliver until nothing waits, for so long at most."""
    clock = desk.books.clock
    ends = clock.monotonic() + seconds
    while desk.waiting(GITHUB) and clock.monotonic() < ends:
        desk.books.wait(postman.turn())


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("restarts", [False, True])
def test_the_limits_hold_over_a_clock_that_is_set_meanwhile(desk: Desk, jump: timedelta, *, restarts: bool) -> None:
    """Neither the minute nor the hour is written full twice, not even by a process that begins after it."""
    clock = desk.books.clock
    far = Far(clock)
    postman = opened(desk, far)
    post(desk, 48)
    deliver(desk, postman)
    clock.set_wall(clock.now() + jump)
    post(desk, 1, begin=48)
    deliver(desk, postman)
    post(desk, 12, begin=49)
    before = clock.monotonic()

    deliver(desk, opened(desk, far) if restarts else postman)

    assert len(far.arrived) == 61
    assert far.breaches() == []
    assert clock.monotonic() - before < 3700


@pytest.mark.parametrize("jump", JUMPS)
def test_the_limits_hold_over_a_clock_that_is_set_while_nobody_looks(desk: Desk, jump: timedelta) -> None:
    """What a new process finds on record counts as if it had just been written; nothing waits for longer than that."""
    clock = desk.books.clock
    far = Far(clock)
    post(desk, 50)
    deliver(desk, opened(desk, far))
    clock.set_wall(clock.now() + jump)
    post(desk, 5, begin=50)
    before = clock.monotonic()

    deliver(desk, opened(desk, far))

    assert len(far.arrived) == 55
    assert far.breaches() == []
    assert clock.monotonic() - before < 3700


@pytest.mark.parametrize("jump", JUMPS)
def test_a_hold_lasts_as_long_as_the_far_side_said(desk: Desk, jump: timedelta) -> None:
    """Ten minutes are ten minutes, whatever the clock on the wall says."""
    clock = desk.books.clock
    far = Far(clock, answers=[Later(seconds=600, why="limit")])
    postman = opened(desk, far)
    post(desk, 2)
    postman.turn()
    clock.set_wall(clock.now() + jump)

    deliver(desk, postman)

    assert 600 <= far.arrived[1] - far.arrived[0] < 605


@pytest.mark.parametrize("jump", JUMPS)
def test_a_letter_is_put_off_for_as_long_as_was_said(desk: Desk, jump: timedelta) -> None:
    """And a letter that was posted just before a clock was set back is due at once."""
    clock = desk.books.clock
    far = Far(clock, answers=[Later(seconds=300, why="ill", alone=True)])
    postman = opened(desk, far)
    post(desk, 1)
    postman.turn()
    post(desk, 1, begin=1)
    clock.set_wall(clock.now() + jump)

    deliver(desk, postman)

    assert [round(at - far.arrived[0]) for at in far.arrived] == [0, 1, 300]


def test_a_letter_of_a_time_to_come_is_due_for_a_new_process(desk: Desk) -> None:
    """It was posted before the clock was set back, by however little."""
    clock = desk.books.clock
    post(desk, 1)
    clock.set_wall(clock.now() - timedelta(minutes=30))
    far = Far(clock)

    deliver(desk, opened(desk, far), seconds=30)

    assert len(far.arrived) == 1


@pytest.mark.parametrize("back", [timedelta(minutes=40), timedelta(hours=10), timedelta(days=40)])
def test_a_hold_of_a_time_to_come_holds_no_new_process_up(desk: Desk, back: timedelta) -> None:
    """It was told by a clock that was set back since; the far side says it again where it still holds."""
    clock = desk.books.clock
    far = Far(clock, answers=[Later(seconds=600, why="limit")])
    post(desk, 2)
    opened(desk, far).turn()
    clock.set_wall(clock.now() - back)

    deliver(desk, opened(desk, far), seconds=900)

    assert len(far.arrived) == 3


def test_a_closed_channel_stays_closed_over_a_clock_that_is_set(desk: Desk) -> None:
    """Until somebody sets it anew."""
    clock = desk.books.clock
    far = Far(clock)
    postman = opened(desk, far)
    with desk.books.store.write() as tx:
        tx.outbox.put_hold(Hold(channel=GITHUB, until=clock.now(), why="gone", closed=True))
    post(desk, 1)
    clock.set_wall(clock.now() + timedelta(days=1))

    deliver(desk, postman, seconds=100)

    assert far.arrived == []
