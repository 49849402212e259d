"""What ends the autopilot or sends it to a person: failures, budgets, stop rules, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.autopilot import Ask, Confirm, JudgeRuns, KeepFloor, Withdraw
from pilothouse.campaigns.autopilot_definition import Stop
from pilothouse.campaigns.record import TrialState
from pilothouse.campaigns.seeds import BLOCK, Purpose
from pilothouse.campaigns.stop_rules import Standing, Stuck, stop_of
from pilothouse.evidence.verdict import Outcome as Answer
from pilothouse.evidence.verdict import verdict_from_json
from pilothouse.fleet.job import JobSpec, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.proposals.promotion import Confirmation
from tests.campaigns.pilot_world import HERE, Metrics, PilotWorld, by_knob, pilot_definition

SINGLE = ("[decision]\n", '[decision]\nmode = "single"\n')
SCREEN = "\n[autopilot.screen]\nmode = 'quick'\n"


def stop_table(words: str) -> str:
    """Return the table of stop rules."""
    return f"\n[autopilot.stop]\n{words}\n"


def failing(lr: float, outcome: Outcome) -> Callable[[JobSpec], Outcome | None]:
    """Return how a run fails: so, if its config has this value."""
    return lambda spec: outcome if spec.config["lr"] == lr else None


@pytest.mark.parametrize("mode", ["stream", "single"])
@pytest.mark.parametrize("seats", [1, 4])
@pytest.mark.parametrize("outcome", [Outcome.NOT_A_NUMBER, Outcome.OUT_OF_MEMORY, Outcome.CRASHED, Outcome.TIMED_OUT])
def test_a_candidate_that_fails_ends_its_trial_at_once_and_is_never_better(
    outcome: Outcome, seats: int, mode: str
) -> None:
    """Its other runs are not waited for, and the next trial supersedes them."""
    changes = [SINGLE] if mode == "single" else []
    world = PilotWorld(
        definition=pilot_definition(*changes),
        measure=by_knob({1.0: 6.0, 2.0: 6.0}),
        fails=failing(1.0, outcome),
        seats=seats,
        trials_max=2,
    )
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    verdict = judged.decided.verdict
    assert judged.decided.failure == outcome.value
    assert (verdict.outcome, judged.decided.promoted) == (Answer.INCONCLUSIVE, False)
    assert outcome.value in verdict.reason
    assert verdict.candidate_runs == 0
    assert math.isnan(verdict.candidate)
    assert verdict.alpha > 0
    assert sum(fact.stage is Stage.FAILED for fact in world.jobs.values()) <= seats
    world.until(Confirm)
    assert world.trials[2].verdict is not None
    assert (world.trials[1].failure, world.trials[2].failure) == (outcome.value, "")


def test_a_single_failed_seed_among_good_ones_is_enough() -> None:
    """A gain on the seeds that survive is no gain."""

    def third_seed(spec: JobSpec) -> Outcome | None:
        return Outcome.NOT_A_NUMBER if spec.config["lr"] == 1.0 and spec.seed % BLOCK == 2 else None

    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), fails=third_seed, trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert not judged.decided.promoted
    assert "1 of 3 candidate runs failed (not_a_number)" in judged.decided.verdict.reason


@pytest.mark.parametrize("mode", ["stream", "single"])
@pytest.mark.parametrize("scale", [1e100, 1e200, 1e308, -1e200])
def test_a_candidate_that_diverged_to_a_finite_number_is_no_better(scale: float, mode: str) -> None:
    """Numbers whose squares overflow decide nothing, and no arithmetic breaks on them."""

    def measure(spec: JobSpec) -> Metrics:
        found = by_knob()(spec)
        return {**found, "loss": found["loss"] * (scale if spec.config["lr"] == 1.0 else 1.0)}

    changes = [SINGLE] if mode == "single" else []
    world = PilotWorld(definition=pilot_definition(*changes), measure=measure, trials_max=1)
    world.end()

    verdict = world.trials[1].verdict
    assert verdict is not None
    assert verdict.outcome is Answer.INCONCLUSIVE
    assert "candidate runs failed" in verdict.reason
    assert repr(verdict_from_json(verdict.as_json())) == repr(verdict)


@pytest.mark.parametrize("arm", ["candidate", "baseline"])
def test_a_guard_that_is_no_number_holds_the_candidate_back(arm: str) -> None:
    """Nothing can be excluded of what cannot be compared."""

    def measure(spec: JobSpec) -> Metrics:
        broken = (spec.config["lr"] == 1.0) == (arm == "candidate")
        return {**by_knob({1.0: 6.0})(spec), **({"speed": 1e300} if broken else {})}

    world = PilotWorld(definition=pilot_definition(), measure=measure, trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.held_back == ("speed",)
    assert not judged.decided.promoted


def test_what_a_cut_trial_left_in_flight_is_no_part_of_later_arms() -> None:
    """Whether its baseline runs had ended by then depends on the moment, and no verdict may."""

    def arm_after(*, finish: bool) -> list[Metrics]:
        world = PilotWorld(definition=pilot_definition(), fails=failing(1.0, Outcome.CRASHED), trials_max=2)
        world.until(JudgeRuns)
        if finish:
            world.work(seats=10)
        judged = world.until(JudgeRuns)
        assert isinstance(judged, JudgeRuns)
        return [run.fact.metrics for run in judged.decided.sides.baseline]

    assert arm_after(finish=True) == arm_after(finish=False)


@pytest.mark.parametrize("outcome", [Outcome.LAUNCH_FAILED, Outcome.DISK_FULL, Outcome.LOST, Outcome.NO_ENGINE])
def test_a_failure_of_the_machine_goes_to_a_person_and_is_tried_again_when_they_start(outcome: Outcome) -> None:
    """It says nothing of the config, so the trial has no verdict; after the mend the same trial goes on."""
    world = PilotWorld(definition=pilot_definition(), fails=failing(1.0, outcome), trials_max=1)

    ended = world.end()

    assert isinstance(ended, Failed)
    assert ended.fact.outcome is outcome
    assert world.trials[1].state is TrialState.RUNNING
    assert isinstance(world.next(), Failed)
    world.fails = lambda _: None
    world.restart()
    assert isinstance(world.next(), Submit)
    assert world.end() == Finished(reason="trial 1 is judged", final=False)
    assert world.trials[1].failure == ""


def test_a_baseline_that_cannot_be_measured_goes_to_a_person() -> None:
    """Fewer than three replicates make no floor; one failure among enough of them is only counted."""

    def fails(count: int) -> Callable[[JobSpec], Outcome | None]:
        return lambda spec: Outcome.CRASHED if spec.seed < Purpose.ARM + count else None

    weak = PilotWorld(definition=pilot_definition(), fails=fails(4))
    good = PilotWorld(definition=pilot_definition(), fails=fails(3), trials_max=1)

    assert isinstance(weak.end(), Failed)
    assert good.end() == Finished(reason="trial 1 is judged", final=False)
    verdict = good.trials[1].verdict
    assert verdict is not None
    assert verdict.baseline_runs < len(good.floors[0].runs) + 10
    assert [bool(run.failure()) for run in good.floors[0].runs] == [True] * 3 + [False] * 3


def test_a_fresh_run_that_fails_rolls_the_promotion_back() -> None:
    """However good the others are."""

    def fresh(spec: JobSpec) -> Outcome | None:
        return Outcome.CRASHED if spec.config["lr"] == 1.0 and spec.seed % BLOCK == Purpose.ARM + 3 else None

    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), fails=fresh, trials_max=1)
    world.end()

    answer = world.trials[1].confirmation
    assert answer is not None
    assert answer.state is Confirmation.ROLLED_BACK
    assert world.config["lr"] == 0.1


def test_a_candidate_that_fails_in_the_screen_ends_there_and_costs_no_error_rate() -> None:
    """The failure is on the trial, so the rule that counts failures sees it."""
    world = PilotWorld(
        definition=pilot_definition(extra=SCREEN), fails=failing(1.0, Outcome.OUT_OF_MEMORY), trials_max=1
    )
    world.end()

    verdict = world.trials[1].verdict
    assert verdict is not None
    assert (world.trials[1].failure, verdict.alpha) == ("out_of_memory", 0.0)
    assert "screened out in mode quick: its runs failed" in verdict.reason
    assert all(spec.config.get("steps") == 10 for spec in world.specs(trial=1))


@pytest.mark.parametrize("survivors", [0, 1])
def test_a_screen_without_a_baseline_turns_nobody_away(survivors: int) -> None:
    """Where the unchanged config fails in the cheaper mode, that mode can tell nothing."""

    def fails(spec: JobSpec) -> Outcome | None:
        cheap = spec.config.get("steps") == 10 and spec.config["lr"] == 0.1
        return Outcome.CRASHED if cheap and spec.seed % BLOCK >= Purpose.SCREEN + survivors else None

    one = SCREEN + "runs = 1\n"
    world = PilotWorld(definition=pilot_definition(extra=one), measure=by_knob({1.0: 6.0}), fails=fails, trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.promoted


# --- budgets


BUDGET = "\n[budget]\nhours = 1.0\n"


def begin_states() -> dict[str, Callable[[PilotWorld], object]]:
    """Return how to come to each state in which something would begin."""
    return {
        "calibration": lambda _: None,
        "ask": lambda world: world.until(KeepFloor),
        "admit": lambda world: world.until(Ask),
        "look": lambda world: world.until(Admit),
        "confirmation": lambda world: world.until(JudgeRuns),
    }


@pytest.mark.parametrize("state", sorted(begin_states()))
def test_nothing_begins_when_the_budget_is_used_up(state: str) -> None:
    """The campaign is done, and with a larger budget the next start goes on at the same place."""
    world = PilotWorld(definition=pilot_definition(extra=BUDGET), measure=by_knob({1.0: 6.0}), trials_max=1)
    begin_states()[state](world)
    free = world.next()
    world.spent_hours = 1.0

    ended = world.next()

    assert isinstance(free, Submit | Ask | Admit)
    assert ended == Finished(reason="budget.hours is used up: 1.000 of 1", final=True)
    world.spent_hours = 0.5
    assert world.next() == free


@pytest.mark.parametrize("begun", ["calibration", "look", "confirmation"])
def test_what_still_waits_when_the_budget_is_used_up_never_begins(begun: str) -> None:
    """What runs may end; the rest is taken back, so the ceiling is overstepped by what ran and no more."""
    world = PilotWorld(definition=pilot_definition(extra=BUDGET), measure=by_knob({1.0: 6.0}), trials_max=1)
    begin_states()[begun](world)
    world.until(Await)
    world.run_first()
    running = [key for key, fact in world.jobs.items() if fact.stage is Stage.BUILDING]
    waiting = [key for key, fact in world.jobs.items() if fact.stage is Stage.QUEUED]
    done = len(world.ran)
    world.spent_hours = 1.0

    assert running
    assert waiting
    assert isinstance(world.turn(), Withdraw)
    assert {world.jobs[key].stage for key in waiting} == {Stage.CANCELLED}
    assert isinstance(world.turn(), Await)
    assert world.next() == Finished(reason="budget.hours is used up: 1.000 of 1", final=True)
    assert len(world.ran) == done + len(running)
    world.spent_hours = 0.5
    assert world.end() == Finished(reason="trial 1 is judged", final=False)


def test_what_is_paid_for_is_still_judged_when_the_budget_is_used_up() -> None:
    """A verdict, a floor and a confirmation cost nothing."""
    world = PilotWorld(definition=pilot_definition(extra=BUDGET), measure=by_knob({1.0: 6.0}), trials_max=1)
    for kind in (KeepFloor, JudgeRuns, Confirm):
        while not isinstance(world.next(), kind):
            world.turn()
        world.spent_hours = 2.0
        assert isinstance(world.turn(), kind)
        world.spent_hours = 0.0


# --- stop rules


def test_it_ends_after_so_many_proposals_and_the_campaign_is_done() -> None:
    """Refused ones are none."""
    world = PilotWorld(definition=pilot_definition(extra=stop_table("proposals = 2")))
    world.until(Ask)
    world.proposals.clear()
    world.refuse(1)

    assert world.end() == Finished(reason="all 2 proposals are judged", final=True)
    assert sorted(world.trials) == [0, 1, 2]


def test_it_ends_when_proposals_in_a_row_improved_nothing() -> None:
    """A kept promotion begins the row anew; one that was rolled back does not."""
    stop = stop_table("without_improvement = 3")
    world = PilotWorld(definition=pilot_definition(extra=stop), measure=by_knob({3.0: 6.0}))

    assert world.end() == Finished(reason="3 proposals in a row improved nothing", final=True)
    assert sorted(world.trials) == [0, 1, 2, 3, 4, 5, 6]


def test_it_ends_some_time_after_its_opening() -> None:
    """The trial that is open then is judged first."""
    world = PilotWorld(definition=pilot_definition(extra=stop_table('after = "1h"')))
    world.until(Admit)
    world.now = world.now.replace(hour=2)

    ended = world.end()

    assert isinstance(ended, Finished)
    assert ended.final
    assert "its limit is 3600 s" in ended.reason
    assert world.trials[1].verdict is not None


@pytest.mark.parametrize("state", ["waiting", *sorted(begin_states())])
def test_a_stop_file_ends_the_loop_as_soon_as_it_is_there(state: str) -> None:
    """In every state that would begin something or wait; without it the next start goes on."""
    world = PilotWorld(
        definition=pilot_definition(extra=stop_table('file = "STOP"')), measure=by_knob({1.0: 6.0}), trials_max=1
    )
    if state == "waiting":
        world.until(Await)
    else:
        begin_states()[state](world)
    world.stop_asked = True

    assert world.next() == Finished(reason="the stop file STOP is there", final=False)
    world.stop_asked = False
    assert world.end() == Finished(reason="trial 1 is judged", final=False)


def test_failures_in_a_row_go_to_a_person_with_their_classes() -> None:
    """A proposal that only is no better ends the row."""

    def fails(spec: JobSpec) -> Outcome | None:
        classes = {1.0: Outcome.CRASHED, 3.0: Outcome.OUT_OF_MEMORY, 4.0: Outcome.NOT_A_NUMBER}
        return classes.get(float(str(spec.config["lr"])))

    world = PilotWorld(definition=pilot_definition(extra=stop_table("failures = 2")), fails=fails)

    ended = world.end()

    assert isinstance(ended, Stuck)
    assert ended.reason == "2 proposals in a row failed (not_a_number, out_of_memory)"
    assert "failures" in ended.mend
    assert sorted(world.trials) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("open_trial", [False, True])
def test_refusals_in_a_row_go_to_a_person_and_count_from_the_start_by_one(open_trial: bool) -> None:
    """Also where an admitted trial lost its approval and no new proposal for it passes."""
    world = PilotWorld(definition=pilot_definition(extra=stop_table("refusals = 3")), trials_max=1)
    world.until(Admit if open_trial else KeepFloor)
    for _ in range(3):
        assert not isinstance(world.next(), Stuck)
        world.refuse(1)

    ended = world.end()

    assert isinstance(ended, Stuck)
    assert ended.reason == "3 proposals in a row were refused before any run"
    world.restart()
    assert world.next() == Ask(number=1)


def test_a_start_that_judges_nothing_leaves_an_open_trial_alone() -> None:
    """`campaign calibrate` measures the baseline, and begins no run of a trial."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), trials_max=1)
    world.until(Admit)
    world.trials_max = 0

    assert world.next() == Finished(reason="the baseline is calibrated", final=False)
    world.conditions = replace(HERE, code="decaf")
    assert isinstance(world.until(KeepFloor, JudgeRuns), KeepFloor)
    assert world.next() == Finished(reason="the baseline is calibrated", final=False)
    world.conditions = HERE
    world.calibrated, world.trials_max = HERE, 1
    world.until(JudgeRuns)
    world.trials_max = 0
    assert world.next() == Finished(reason="the baseline is calibrated", final=False)


def test_no_rule_ends_what_has_none() -> None:
    """An endless campaign without rules goes on after any number of trials that brought nothing."""
    world = PilotWorld(definition=pilot_definition(), trials_max=1)
    world.end()
    trials = [replace(world.trials[1], number=number) for number in range(500)]
    standing = Standing(trials=trials, trials_max=None, refusals=9, elapsed=1e9)

    assert stop_of(Stop(), standing) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [('mode = "single"', 'mode = "stream"'), ("promised = 0.1", "promised = 0.001")],
)
def test_a_promise_that_was_spent_before_the_file_changed_goes_to_a_person(before: str, after: str) -> None:
    """What trials were judged at counts, whatever the file says now; nothing is judged at a level of nothing."""
    world = PilotWorld(definition=pilot_definition(("[decision]\n", f"[decision]\n{before}\n")), trials_max=4)
    assert world.end() == Finished(reason="trial 4 is judged", final=False)
    world.definition = pilot_definition(("[decision]\n", f"[decision]\n{after}\n"))
    world.trials_max = 9

    ended = world.end()

    assert isinstance(ended, Stuck)
    assert ended.reason.startswith("the error rate is spent")
