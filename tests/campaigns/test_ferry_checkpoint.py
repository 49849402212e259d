"""A ferry whose last checkpoint is elsewhere: held back and told, or afresh where the file allows it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pilothouse.campaigns.ferry import JudgeFerry, Rest
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.errors import BadCampaignFile
from pilothouse.fleet.job import FreshStart, Outcome
from pilothouse.fleet.stages import Stage
from tests.campaigns.ferry_world import DAILY, TEXT, World, definition_of

WHERE = "factory far-1 saved it in runs/daily-125m-1/attempt-1"
REFUSES = TEXT + 'fresh_start = "refused"\n'


def held_back(text: str = REFUSES, *, wait: bool = False) -> World:
    """Return a world whose ferry was not started, for its checkpoint is elsewhere."""
    world = World(definition=definition_of(text), wait=wait)
    world.sail()
    world.end(Stage.FAILED, Outcome.CHECKPOINT_MISSING, detail=WHERE)
    return world


def test_the_file_says_what_every_run_of_a_ferry_does() -> None:
    """A fresh start is allowed unless the file refuses it; the step is the same one in any case."""
    allowed, refused = (World(definition=definition_of(text)).sail().step for text in (TEXT, REFUSES))

    assert (allowed.spec.fresh_start, refused.spec.fresh_start) == (FreshStart.ALLOWED, FreshStart.REFUSED)
    assert allowed.key == refused.key
    with pytest.raises(BadCampaignFile, match="fresh_start"):
        definition_of(TEXT + 'fresh_start = "never"\n')


def test_a_ferry_that_is_held_back_waits_for_a_person_who_reads_where() -> None:
    """It is not launched again by itself, however often the loop asks."""
    world = held_back()

    for _ in range(5):
        action = world.act()
        assert isinstance(action, Stuck)
        assert WHERE in action.reason
    assert len(world.launches) == 1


def test_a_loop_that_stays_on_rests_and_tells() -> None:
    """Nothing is closed: what the ferry has done so far can still be gone on from."""
    action = held_back(REFUSES + DAILY, wait=True).next()

    assert isinstance(action, Rest)
    assert action.failed
    assert WHERE in action.why


def test_started_again_by_a_person_it_is_the_same_step_and_spends_no_relaunch() -> None:
    """Held back twice, and two failures of infrastructure after it are still met by a relaunch each."""
    world = World(definition=definition_of(REFUSES))
    steps = []
    for outcome in (Outcome.CHECKPOINT_MISSING, Outcome.CHECKPOINT_MISSING, Outcome.LOST, Outcome.LOST, Outcome.LOST):
        steps.append(world.sail().step)
        world.end(Stage.FAILED, outcome, detail=WHERE)
        world.now += timedelta(hours=1)
        world.since = world.now

    assert isinstance(world.next(), JudgeFerry)
    assert steps == steps[:1] * 5
