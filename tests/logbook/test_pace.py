"""No window of any limit ever holds more writes than it may."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.logbook.pace import GITHUB_PACE, SLACK_SECONDS, Limit, Pace, earliest
from pilothouse.testing.clock import BEGIN


def test_the_first_write_is_free() -> None:
    """Nothing is known that it could come too close to."""
    assert earliest(GITHUB_PACE, [], ended=None, now=BEGIN) == BEGIN


def test_writes_are_apart_from_the_end_of_the_last_one() -> None:
    """A request that took long does not let the next one follow at once."""
    ended = BEGIN + timedelta(seconds=20)
    assert earliest(GITHUB_PACE, [BEGIN], ended=ended, now=ended) == ended + timedelta(seconds=1)


@given(
    pauses=st.lists(st.floats(min_value=0, max_value=40), min_size=1, max_size=120),
    late=st.lists(st.floats(min_value=0, max_value=SLACK_SECONDS), min_size=120, max_size=120),
)
def test_no_stretch_of_time_sees_more_writes_than_its_limit(pauses: list[float], late: list[float]) -> None:
    """Even as the far side sees them, each as late as it likes."""
    pace = Pace(limits=(Limit(writes=5, seconds=60), Limit(writes=12, seconds=600)), apart_seconds=1)
    begun: list[datetime] = []
    ended: datetime | None = None
    arrived: list[datetime] = []
    now = BEGIN
    for pause, delay in zip(pauses, late, strict=False):
        now = earliest(pace, begun, ended=ended, now=now + timedelta(seconds=pause))
        begun.append(now)
        now += timedelta(seconds=delay)
        arrived.append(now)
        ended = now

    for limit in pace.limits:
        for index in range(len(arrived) - limit.writes):
            assert arrived[index + limit.writes] - arrived[index] >= timedelta(seconds=limit.seconds)
    assert all(b - a >= timedelta(seconds=1) for a, b in pairwise(arrived))
