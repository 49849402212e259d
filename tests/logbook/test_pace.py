"""No window of any limit ever holds more writes than it may."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pilothouse.logbook.pace import GITHUB_PACE, SLACK_SECONDS, Limit, Pace, earliest, taken_over
from pilothouse.testing.clock import BEGIN


def test_the_first_write_is_free() -> None:
    """Nothing is known that it could come too close to."""
    assert earliest(GITHUB_PACE, [], ended=None, now=7.0) == 7.0


def test_writes_are_apart_from_the_end_of_the_last_one() -> None:
    """A request that took long does not let the next one follow at once."""
    assert earliest(GITHUB_PACE, [0.0], ended=20.0, now=20.0) == 21.0


def test_what_is_on_record_counts_as_just_written() -> None:
    """How long nobody has written is not known, how long one write came after another is."""
    recorded = [BEGIN + timedelta(seconds=each) for each in (30, 0, 10)]

    assert taken_over(recorded, now=5.0) == [-25.0, -15.0, 5.0]
    assert taken_over([], now=5.0) == []


@given(
    pauses=st.lists(st.floats(min_value=0, max_value=40), min_size=1, max_size=120),
    late=st.lists(st.floats(min_value=0, max_value=SLACK_SECONDS), min_size=120, max_size=120),
)
def test_no_stretch_of_time_sees_more_writes_than_its_limit(pauses: list[float], late: list[float]) -> None:
    """Even as the far side sees them, each as late as it likes."""
    pace = Pace(limits=(Limit(writes=5, seconds=60), Limit(writes=12, seconds=600)), apart_seconds=1)
    begun: list[float] = []
    ended: float | None = None
    arrived: list[float] = []
    now = 0.0
    for pause, delay in zip(pauses, late, strict=False):
        now = earliest(pace, begun, ended=ended, now=now + pause)
        begun.append(now)
        now += delay
        arrived.append(now)
        ended = now

    for limit in pace.limits:
        for index in range(len(arrived) - limit.writes):
            assert arrived[index + limit.writes] - arrived[index] >= limit.seconds
    assert all(b - a >= 1 - 1e-9 for a, b in pairwise(arrived))
