"""A ferry that nobody looks after for months: unanswered proposals, bugs that wait for a patch, clocks that jump."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.campaigns.action import Admit, Await
from pilothouse.campaigns.ferry import AHEAD_MAX, DraftFerry, Rest, answered_until
from pilothouse.campaigns.ferry_record import Monitor
from pilothouse.campaigns.ferry_schedule import Due, Schedule
from pilothouse.campaigns.ferry_watch import Seen, is_due, look
from pilothouse.campaigns.record import Trial
from pilothouse.campaigns.status import CampaignState, Snapshot, next_action_of
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import RunId
from pilothouse.proposals.proposal import State
from pilothouse.testing import values
from tests.campaigns.ferry_world import DAILY, PRODUCT, START, TEXT, World, definition_of

BUG = "Traceback\n  File \"train.py\", line 3\nNameError: name 'batch' is not defined"
DAY = timedelta(days=1)


def scheduled() -> World:
    """Return a world whose ferry has a schedule, and whose loop stays on."""
    return World(definition=definition_of(TEXT + DAILY), wait=True)


def broken() -> World:
    """Return one whose ferry waits for its patch."""
    world = scheduled()
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)
    return world


def test_on_a_schedule_a_small_bug_rests_as_a_failure_and_its_patch_is_proposed() -> None:
    """The loop stays on, looks for a commit, and waits at the gate with the relaunch; `--once` leaves."""
    world = broken()

    waiting = world.next()
    assert isinstance(waiting, Rest)
    assert waiting.failed
    assert waiting.why.startswith("ferry 1 waits for a patch: NameError")
    world.wait = False
    assert isinstance(world.next(), Stuck)
    world.wait = True
    world.commit = "c1"
    drafted = world.act()

    assert isinstance(drafted, DraftFerry)
    assert "NameError" in drafted.patch
    assert all(isinstance(world.act(approve=False), Admit) for _ in range(5))
    assert world.sail().fact.generation == 1


def test_ticks_that_come_while_a_bug_waits_are_answered_together_by_the_next_proposal() -> None:
    """Neither lost nor drafted one by one, and none takes the place of a relaunch."""
    world = broken()
    world.now = START + 3 * DAY
    assert isinstance(world.next(), Rest)
    world.commit = "c1"
    world.act()
    world.now = START + 4 * DAY
    assert isinstance(world.act(approve=False), Admit)
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()

    drafted = world.act()

    assert isinstance(drafted, DraftFerry)
    assert drafted.due == Due(tick=START + 4 * DAY, missed=3)
    assert len(world.drafts) == 3


def test_a_proposal_that_nobody_answers_gives_way_at_the_next_tick() -> None:
    """The new one is of the same ferry and answers both; nothing is launched without a yes."""
    world = scheduled()
    world.act()
    first = world.proposals[-1].id
    assert isinstance(world.act(approve=False), Admit)
    world.now = START + DAY

    drafted = world.act(approve=False)

    assert drafted == DraftFerry(number=1, due=Due(tick=START + DAY, missed=0), over=first)
    assert [each.state for each in world.proposals] == [State.REJECTED, State.OPEN]
    assert isinstance(world.next(), Admit)
    world.now = START + 4 * DAY
    again = world.act(approve=False)
    assert isinstance(again, DraftFerry)
    assert again.due == Due(tick=START + 4 * DAY, missed=2)
    assert world.launches == []


def test_a_yes_that_is_there_already_wins_over_the_tick() -> None:
    """Given while nobody ran the loop: what was approved sails, and the tick is answered after it."""
    world = scheduled()
    world.act()
    world.now = START + DAY
    world.approved = True

    assert isinstance(world.next(), Admit)
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()
    following = world.next()
    assert isinstance(following, DraftFerry)
    assert following.number == 2


def test_a_relaunch_that_drifts_or_is_drafted_late_keeps_the_tick_that_has_come() -> None:
    """A proposal that is drafted anew because the code moved answers a tick that has come meanwhile, by its name."""
    world = scheduled()
    world.act()
    world.commit = "c1"
    world.act()
    world.now = START + DAY

    drafted = world.act()

    assert drafted == DraftFerry(number=1, due=Due(tick=START + DAY, missed=0))


def test_what_a_person_drafts_answers_the_ticks_before_it() -> None:
    """Asked for by hand on the third day: it is not taken away a second later for the ticks of the days before."""
    world = scheduled()
    world.act()
    world.now = START + 3 * DAY + timedelta(minutes=1)
    world.ferries[1] = replace(world.ferries[1], drafted_at=world.now)

    assert isinstance(world.next(), Admit)


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(minutes=1), timedelta(hours=23)])
def test_a_clock_that_jumps_back_proposes_nothing_twice(back: timedelta) -> None:
    """The tick was answered before it comes again."""
    world = scheduled()
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()
    for minutes in range(0, int(back.total_seconds()) // 60 + 30, 10):
        world.now = START - back + timedelta(minutes=minutes)
        assert isinstance(world.next(), Rest)

    world.now = START + DAY
    assert isinstance(world.next(), DraftFerry)


def test_a_clock_that_was_a_year_ahead_keeps_no_ferry_in_port() -> None:
    """What was drafted in that year answers no tick of this one, and its drifts are no restless folder."""
    world = scheduled()
    world.now = START + 365 * DAY
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()
    world.now = START + DAY

    drafted = world.next()

    assert isinstance(drafted, DraftFerry)
    assert drafted.due == Due(tick=START + DAY, missed=1)


def test_a_failed_ferry_is_told_as_one_though_the_clock_went_back_while_it_sailed() -> None:
    """`--once` ends in an error, whatever the time of its end says about the time of its start."""
    world = World(trials_max=1)
    world.sail()
    world.now -= timedelta(hours=1)
    world.end(Stage.FAILED, Outcome.OUT_OF_MEMORY)
    world.act()

    assert isinstance(world.next(), Stuck)


def test_a_monitor_looks_at_once_when_its_clock_has_gone_back() -> None:
    """And from there on at its interval, instead of being blind for an hour, or a year."""
    watch = definition_of().ferry.watch
    monitor = Monitor(product=PRODUCT, run=RunId("daily-125m-2026-11-22"), owner="ada", taken_at=START)
    before = START - 365 * DAY
    seen = Seen(stage=Stage.BUILDING, step=7, total=9, submitted_at=START)

    assert is_due(monitor, watch, now=before)
    looked = look(monitor, seen, watch, now=before)
    assert not is_due(looked, watch, now=before + timedelta(seconds=1))
    assert is_due(looked, watch, now=before + timedelta(seconds=watch.then))


CRONS = st.sampled_from(
    ["0 6 * * *", "30 2 * * *", "0 0 * * 1", "15 1 29 2 *", "0 0 31 * *", "59 23 * * *", "30 */5 * * *"]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe"])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
STEPS = st.lists(
    st.one_of(
        st.integers(1, 90).map(lambda minutes: timedelta(minutes=minutes)),
        st.sampled_from([timedelta(hours=7), timedelta(days=7), -timedelta(hours=1), -timedelta(minutes=3)]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=120, deadline=None)
@given(CRONS, ZONES, MOMENTS, STEPS)
def test_whatever_the_clock_does_no_tick_is_answered_twice_and_none_is_lost(
    cron: str, zone: str, begun: datetime, steps: list[timedelta]
) -> None:
    """Clocks that change, a machine asleep for a week, a jump back: each tick that has come belongs to one proposal."""
    schedule, now, answered = Schedule.read(cron, zone=zone), begun, begun
    found: list[Due] = []
    for step in steps:
        now += step
        since = answered_until([], opened_at=answered, now=now)
        due = schedule.due(since=since, now=now)
        if due is not None:
            assert answered < due.tick <= now
            found.append(due)
            answered = max(due.tick, now)

    passed = sum(1 for _ in takewhile(lambda tick: tick <= answered, schedule.ticks(begun)))
    assert sum(1 + due.missed for due in found) == passed
    assert [due.tick for due in found] == sorted({due.tick for due in found})


@settings(max_examples=120, deadline=None)
@given(CRONS, ZONES, MOMENTS)
def test_the_next_tick_is_due_at_its_very_instant_and_not_before(cron: str, zone: str, now: datetime) -> None:
    """What is told as the next tick is what becomes due, on every day of the years, whatever the clocks do."""
    schedule = Schedule.read(cron, zone=zone)
    for tick in schedule.upcoming(now, count=1):
        assert tick > now
        assert schedule.due(since=now, now=tick - timedelta(seconds=1)) is None
        assert schedule.due(since=now, now=tick) == Due(tick=tick, missed=0)
        assert schedule.due(since=tick, now=tick) is None


def test_records_from_a_wrong_clock_are_told_from_an_hour_s_jump() -> None:
    """Within a day ahead they count, beyond it they do not, and something is always answered."""
    assert answered_until([], opened_at=START + AHEAD_MAX, now=START) == START + AHEAD_MAX
    assert answered_until([], opened_at=START + 2 * AHEAD_MAX, now=START) == START - AHEAD_MAX


def test_a_sailing_ferry_whose_clock_jumps_is_neither_lost_nor_launched_twice() -> None:
    """It is awaited, whatever the clock says."""
    world = scheduled()
    world.sail()
    for hours in (-1, 24 * 7, -24 * 7):
        world.now += timedelta(hours=hours)
        assert isinstance(world.next(), Await)
    assert len(world.launches) == 1


def seen(*, awaiting: str | None = None, trials: tuple[Trial, ...] = (), kind: str = "ferry") -> str:
    """Return what the status of a campaign whose loop is alive tells a person to do."""
    campaign = replace(values.make_campaign(), kind=kind)
    snapshot = Snapshot(
        campaign=campaign,
        trials=trials,
        promotions=(),
        golden=(),
        current=None,
        awaiting_approval=awaiting,
        owner_alive=True,
    )
    return next_action_of(snapshot, CampaignState.RUNNING, command="pilothouse")


def test_the_status_of_a_loop_that_waits_says_for_what() -> None:
    """For a yes, for a patch, for its tick; there is nothing to watch."""
    assert seen(awaiting="proposal-1") == "approve it: pilothouse proposal approve proposal-1"
    assert seen(trials=(broken().trials[1],)).startswith("see how it ended: pilothouse run logs latest")
    assert seen().startswith("nothing; the next ferry is proposed at its tick")
    assert seen(kind="flywheel") == "watch it: pilothouse run watch"
