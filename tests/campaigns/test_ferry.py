"""The ferry's state machine: due, draft, gate, launch, watch, judge; ticks, failures, patches."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.campaigns.action import Admit, Await, Finished, Submit
from pilothouse.campaigns.ferry import DraftFerry, JudgeFerry, Rest
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.proposals.proposal import Proposal, State
from tests.campaigns.ferry_world import DAILY, START, TEXT, World, definition_of

BUG = "Traceback\n  File \"train.py\", line 3\nNameError: name 'batch' is not defined"
OTHER_BUG = "Traceback\n  File \"train.py\", line 9\nKeyError: 'loss'"
DAY = timedelta(days=1)


def scheduled(**changes: object) -> World:
    """Return a world whose ferry has a schedule, and whose loop stays on."""
    world = World(definition=definition_of(TEXT + DAILY), wait=True)
    for name, value in changes.items():
        setattr(world, name, value)
    return world


def test_a_ferry_goes_from_its_draft_to_its_judgement_in_one_order() -> None:
    """Draft, gate, launch, watch, judge, and then the next one."""
    world = World()

    seen = [type(world.act()) for _ in range(3)]
    assert isinstance(world.next(), Await)
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    judged = world.act()

    assert seen == [DraftFerry, Admit, Submit]
    assert isinstance(judged, JudgeFerry)
    assert judged.failure is None
    assert world.next() == DraftFerry(number=2)
    assert world.launches == [("daily-125m-1", "c0")]


def test_nothing_is_launched_while_nobody_has_said_yes() -> None:
    """However often the loop asks, it comes to the gate."""
    world = World()
    world.act()

    assert all(isinstance(world.act(approve=False), Admit) for _ in range(20))
    assert world.launches == []


def test_code_that_moves_between_the_yes_and_the_launch_is_proposed_anew() -> None:
    """The approval was of other code; the run keeps its name."""
    world = World()
    world.act()
    world.act()
    world.commit = "c1"

    redrafted = world.act()

    assert redrafted == DraftFerry(number=1)
    world.sail()
    assert world.launches == [("daily-125m-1", "c1")]


def test_a_launch_wants_all_that_was_approved_and_not_the_code_alone() -> None:
    """Killed between the yes and the launch, started again with another ceiling in the file: it is proposed anew."""
    world = World()
    world.act()
    world.act()
    world.ceiling = "usd=1000"

    assert world.act() == DraftFerry(number=1)
    assert world.launches == []


@pytest.mark.parametrize("wait", [False, True])
def test_a_folder_that_never_holds_still_is_not_proposed_for_ever(wait: bool) -> None:
    """A log that grows in the repository voids every proposal: after three a person hears of it, or it rests."""
    world = World(wait=wait)
    for turn in range(20):
        world.commit = f"c0+{turn}"
        world.act()

    assert len(world.drafts) == 3
    told = world.next()

    assert isinstance(told, Rest | Stuck)
    assert isinstance(told, Rest) is wait
    assert "ask at once with `pilothouse proposal draft`" in (told.why if isinstance(told, Rest) else told.mend)
    world.now += timedelta(minutes=11)
    assert isinstance(world.next(), DraftFerry)


def test_a_ferry_that_has_sailed_goes_on_whatever_is_committed_meanwhile() -> None:
    """What runs is what was approved."""
    world = World()
    world.sail()
    world.commit = "c1"

    assert isinstance(world.next(), Await)


def test_a_start_with_a_limit_ends_after_so_many_ferries() -> None:
    """`--once` closes one."""
    world = World(trials_max=1)
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()

    assert world.next() == Finished(reason="ferry 1 is closed", final=False)


def test_a_failed_ferry_is_told_as_a_failure_even_where_one_was_asked_for() -> None:
    """`--once` ends in an error, not in a closed ferry."""
    world = World(trials_max=1)
    world.sail()
    world.end(Stage.FAILED, Outcome.OUT_OF_MEMORY)
    world.act()

    assert isinstance(world.next(), Stuck)


def test_a_tick_opens_a_proposal_and_launches_nothing() -> None:
    """Due at 06:00; at the gate it stays."""
    world = scheduled(now=START)

    drafted = world.act()
    world.act(approve=False)

    assert isinstance(drafted, DraftFerry)
    assert drafted.due is not None
    assert drafted.due.tick == START
    assert world.launches == []


def test_between_ticks_a_loop_that_stays_on_rests_until_the_next() -> None:
    """And one that was asked for a single ferry leaves, and says when the next is due."""
    world = scheduled()
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()

    assert world.next() == Rest(until=START + DAY, why="the next ferry is due at 2026-11-23 06:00Z")
    world.wait = False
    assert world.next() == Finished(reason="the next ferry is due at 2026-11-23 06:00Z", final=False)


def test_missed_ticks_make_one_proposal_that_counts_them() -> None:
    """Nine days away: one ferry is proposed, and it says that eight ticks before it passed unheard."""
    world = scheduled()
    world.sail()
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()
    world.now = START + 9 * DAY + timedelta(hours=1)

    drafted = world.act()
    assert isinstance(drafted, DraftFerry)
    assert drafted.due is not None
    assert drafted.due.missed == 8
    world.until(Await)
    world.end(Stage.SHIPPED, Outcome.SUCCEEDED)
    world.act()

    assert isinstance(world.next(), Rest)


def test_a_tick_while_a_ferry_sails_opens_no_second_one() -> None:
    """One at a time; the tick is answered afterwards, once."""
    world = scheduled()
    world.sail()
    world.now = START + DAY

    assert isinstance(world.next(), Await)
    assert len(world.drafts) == 1


def test_what_a_person_rejects_is_not_proposed_again_before_the_next_tick() -> None:
    """A no is an answer to the tick."""
    world = scheduled()
    world.act()
    world.proposals[-1] = _rejected(world)

    assert isinstance(world.next(), Rest)
    world.now = START + DAY
    assert isinstance(world.next(), DraftFerry)


def test_infrastructure_is_launched_again_at_once_so_often_as_is_allowed() -> None:
    """Two relaunches by default, each under its own job of the same step; then a person."""
    world = World()
    for generation in range(3):
        awaited = world.sail()
        assert awaited.fact.generation == generation
        world.end(Stage.FAILED, Outcome.LAUNCH_FAILED)

    judged = world.act()

    assert isinstance(judged, JudgeFerry)
    assert judged.why == "infrastructure failed 3 times, 2 relaunches are allowed"
    assert [job for job, _ in world.launches] == ["daily-125m-1", "daily-125m-1-r2", "daily-125m-1-r3"]
    assert isinstance(world.next(), Stuck)


def test_a_small_bug_waits_for_its_patch_and_is_proposed_again_with_it() -> None:
    """Without a patch a person is asked; with one the relaunch goes through the gate, as the same step."""
    world = World()
    key = world.sail().step.key
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)

    assert isinstance(world.next(), Stuck)
    world.commit = "c1"
    drafted = world.act()
    assert isinstance(drafted, DraftFerry)
    assert "NameError" in drafted.patch
    again = world.sail()

    assert again.step.key == key
    assert again.fact.generation == 1
    assert world.launches == [("daily-125m-1", "c0"), ("daily-125m-1-r2", "c1")]


def test_a_patch_that_moves_again_before_its_launch_is_proposed_anew() -> None:
    """What was approved is not what would run."""
    world = World()
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)
    world.commit = "c1"
    world.act()
    world.act()
    world.commit = "c2"

    world.sail()

    assert world.launches[-1] == ("daily-125m-1-r2", "c2")
    assert "NameError" in world.drafts[-1].patch


def test_the_same_failure_after_one_fix_goes_to_a_person() -> None:
    """Patched once, failed alike: the ferry is closed as failed."""
    world = World()
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)
    world.commit = "c1"
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)
    world.commit = "c2"

    judged = world.act()

    assert isinstance(judged, JudgeFerry)
    assert judged.why.startswith("the same failure after one fix")


def test_a_second_other_bug_is_beyond_the_allowance() -> None:
    """One small bug a ferry may be patched, by default."""
    world = World()
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)
    world.commit = "c1"
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=OTHER_BUG)

    assert isinstance(world.act(), JudgeFerry)


def test_after_a_failed_ferry_a_new_start_goes_on_with_the_next() -> None:
    """This start ends with a word to a person; the next one drafts ferry 2."""
    world = World()
    world.sail()
    world.end(Stage.FAILED, Outcome.OUT_OF_MEMORY)
    world.act()
    assert isinstance(world.next(), Stuck)

    world.since = world.now + timedelta(minutes=5)

    assert world.next() == DraftFerry(number=2)


def test_a_failed_ferry_does_not_end_a_loop_that_stays_on_for_its_schedule() -> None:
    """The day after is proposed as well; a loop that was asked for one ferry ends with the failure."""
    world = scheduled()
    world.sail()
    world.end(Stage.FAILED, Outcome.OUT_OF_MEMORY)
    world.act()

    assert world.next() == Rest(until=START + DAY, why="the next ferry is due at 2026-11-23 06:00Z")
    world.now = START + DAY
    drafted = world.next()
    assert isinstance(drafted, DraftFerry)
    assert drafted.number == 2
    world.wait = False
    assert isinstance(world.next(), Stuck)


def test_a_relaunch_that_a_person_rejects_closes_the_ferry() -> None:
    """It is not proposed for ever."""
    world = World()
    world.sail()
    world.end(Stage.FAILED, Outcome.CRASHED, evidence=BUG)
    world.commit = "c1"
    world.act()
    world.proposals[-1] = _rejected(world)

    judged = world.act()

    assert isinstance(judged, JudgeFerry)
    assert "refused" in judged.why


def _rejected(world: World) -> Proposal:
    return replace(world.proposals[-1], state=State.REJECTED, refusal="rejected by ada: not today")
