"""When a ferry is due: time zones, the clocks' changes, ticks that nobody heard."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from pilothouse.campaigns.ferry_letters import seal_of
from pilothouse.campaigns.ferry_record import Ferry, numbered, run_name
from pilothouse.campaigns.ferry_schedule import MISSED_MAX, Due, Schedule
from pilothouse.errors import BadValue
from pilothouse.ids import CampaignName, ProductId, RunId

BERLIN = Schedule.read("30 2 * * *", zone="Europe/Berlin")


def utc(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    """Return an instant of 2026."""
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_a_time_that_the_clocks_skip_comes_right_after_the_gap() -> None:
    """02:30 is no time on 29 March in Berlin: the ferry is due at 03:00 there, once."""
    ticks = BERLIN.upcoming(utc(3, 28, 12), count=2)

    assert ticks == (utc(3, 29, 1), utc(3, 30, 0, 30))


def test_a_time_that_the_clocks_show_twice_comes_once() -> None:
    """02:30 comes twice on 25 October in Berlin: the ferry is due the first time."""
    ticks = BERLIN.upcoming(utc(10, 24, 12), count=2)

    assert ticks == (utc(10, 25, 0, 30), utc(10, 26, 1, 30))


def test_a_change_of_the_clocks_makes_no_second_proposal() -> None:
    """Counted as due, the same day has one tick."""
    assert BERLIN.due(since=utc(10, 24, 12), now=utc(10, 25, 12)) == Due(tick=utc(10, 25, 0, 30), missed=0)
    assert BERLIN.due(since=utc(10, 25, 0, 30), now=utc(10, 25, 12)) is None


def test_however_many_ticks_passed_the_newest_is_due_and_the_others_are_counted() -> None:
    """A tick counts from its very instant."""
    daily = Schedule.read("0 6 * * *", zone="UTC")

    assert daily.due(since=utc(11, 1, 6), now=utc(11, 2, 5, 59)) is None
    assert daily.due(since=utc(11, 1, 6), now=utc(11, 2, 6)) == Due(tick=utc(11, 2, 6), missed=0)
    assert daily.due(since=utc(11, 1, 6), now=utc(11, 9, 7)) == Due(tick=utc(11, 9, 6), missed=7)


def test_years_of_absence_are_counted_to_a_bound_and_answered_by_the_newest_tick() -> None:
    """A tick each minute for a year is not walked through."""
    minutely = Schedule.read("* * * * *", zone="UTC")

    due = minutely.due(since=utc(1, 1, 0), now=utc(1, 1, 0) + timedelta(days=365))

    assert due == Due(tick=utc(1, 1, 0) + timedelta(days=365), missed=MISSED_MAX)


def test_the_day_of_a_run_is_that_of_the_schedule_s_own_zone() -> None:
    """Half past midnight in Berlin is still the day before in UTC."""
    assert BERLIN.day(utc(11, 21, 23, 30)) == date(2026, 11, 22)


@pytest.mark.parametrize(
    ("cron", "zone", "said"),
    [
        ("61 * * * *", "UTC", "Bad minute"),
        ("* * * *", "UTC", "4 fields"),
        ("* * * * * *", "UTC", "6 fields"),
        ("0 6 31 2,4 *", "UTC", "Bad day-of-month"),
        ("0 6 * * *", "Mars/Olympus", "no time zone"),
        ("0 6 * * *", "/etc/passwd", "no time zone"),
        ("0 6 * * *", "", "no time zone"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_mend(cron: str, zone: str, said: str) -> None:
    """The message names the value."""
    with pytest.raises(BadValue, match=said):
        Schedule.read(cron, zone=zone)


@pytest.mark.parametrize("number", [1, 2, 13])
def test_a_seal_carries_the_day_of_its_run_and_not_that_of_another_zone_or_draft(number: int) -> None:
    """06:00 in Tokyo is the evening before in UTC, and a proposal may be drafted anew on a later day."""
    table = Schedule.read("0 6 * * *", zone="Asia/Tokyo")
    tick = table.upcoming(utc(11, 21, 12), count=1)[0]
    ferry = Ferry(
        product=ProductId("default"),
        campaign=CampaignName("daily"),
        number=1,
        run=RunId(numbered(run_name(campaign="daily", size="125m", day=table.day(tick)), number)),
        tick=tick,
        drafted_at=tick,
        considered={},
    )

    assert seal_of(ferry, form="daily", commit="c" * 40) == f"ferry/daily/20261122/{ferry.run}"
    assert ferry.run.startswith("daily-125m-2026-11-22")
