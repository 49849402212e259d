"""Whatever happens to a ferry, in whatever order: the gate holds, launches are bounded, and every ferry ends."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.campaigns.action import Admit, Await, Submit
from pilothouse.campaigns.ferry import DraftFerry, JudgeFerry
from pilothouse.campaigns.record import TrialState
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.proposals.proposal import State
from tests.campaigns.ferry_world import DAILY, TEXT, World, definition_of

BUGS = ("NameError: name 'a' is not defined", "KeyError: 'b'", "")
EVENTS = st.one_of(
    st.tuples(st.just("act"), st.booleans()),
    st.tuples(st.just("commit"), st.integers(0, 3)),
    st.tuples(st.just("hours"), st.one_of(st.integers(1, 60), st.sampled_from([-1, -30, 24 * 7]))),
    st.tuples(st.just("start"), st.just(0)),
    st.tuples(st.just("end"), st.sampled_from([*Outcome])),
    st.tuples(st.just("bug"), st.integers(0, len(BUGS) - 1)),
)


def end(world: World, outcome: Outcome, evidence: str = "") -> None:
    """End the job that is awaited, if one is."""
    if not isinstance(world.next(), Await):
        return
    if outcome is Outcome.SUCCEEDED:
        world.end(Stage.SHIPPED, outcome)
    elif outcome is Outcome.CANCELLED:
        world.end(Stage.CANCELLED, outcome)
    else:
        world.end(Stage.FAILED, outcome, evidence=evidence)


def happen(world: World, event: tuple[str, object]) -> None:
    """Let one thing happen, and look at what the planner does about it."""
    kind, value = event
    match kind:
        case "act":
            action = world.next()
            if isinstance(action, Submit):
                check_launch(world, action)
            world.act(approve=bool(value))
        case "commit":
            world.commit = f"c{value}"
        case "hours":
            world.now += timedelta(hours=int(str(value)))
        case "start":
            world.since = world.now
        case "end":
            assert isinstance(value, Outcome)
            end(world, value)
        case _:
            end(world, Outcome.CRASHED, evidence=BUGS[int(str(value))])


def check_launch(world: World, action: Submit) -> None:
    """Hold a launch to its admitted proposal of this code, and to the end of the launch before."""
    number = action.step.spec.trial
    newest = [each for each in world.proposals if each.number == number][-1]
    assert newest.state is State.ADMITTED
    assert newest.subject.code_commit == world.commit
    jobs = world.jobs.get(action.step.key, [])
    assert action.generation == len(jobs)
    assert all(job.stage in ENDS and job.stage is not Stage.SHIPPED for job in jobs)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.lists(EVENTS, max_size=60))
def test_whatever_happens_the_gate_holds_and_launches_are_bounded(
    scheduled: bool, events: list[tuple[str, object]]
) -> None:
    """One ferry at a time; no launch without its yes; never more launches than the allowances."""
    world = World(definition=definition_of(TEXT + DAILY if scheduled else TEXT), wait=scheduled)
    for event in events:
        happen(world, event)

        running = [trial for trial in world.trials.values() if trial.state is TrialState.RUNNING]
        allowed = world.definition.ferry.allowances
        assert len(running) <= 1
        assert sum(each.state is State.OPEN for each in world.proposals) <= 1
        assert all(len(jobs) <= 1 + allowed.infrastructure + allowed.small_bug for jobs in world.jobs.values())
        assert len({job for job, _ in world.launches}) == len(world.launches)
        assert len({ferry.run for ferry in world.ferries.values()}) == len(world.ferries)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=30))
def test_from_wherever_it_is_a_ferry_comes_to_its_end(events: list[tuple[str, object]]) -> None:
    """With a yes, a patch where one is asked for, and a fleet that goes on working, the open ferry is judged."""
    world = World()
    for event in events:
        happen(world, event)

    for turn in range(60):
        action = world.next()
        if not isinstance(action, Admit | DraftFerry | Submit):
            world.commit, world.since = f"patch{turn}", world.now
        end(world, Outcome.SUCCEEDED)
        if isinstance(world.act(), JudgeFerry):
            return
        world.now += timedelta(minutes=1)

    raise AssertionError(f"no end: {world.next()}")
