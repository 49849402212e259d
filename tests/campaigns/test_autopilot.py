"""The autopilot's next action follows from the facts alone: calibration, looks, promotion, confirmation, rollback."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilothouse.campaigns.action import Admit, Await, Finished, Submit
from pilothouse.campaigns.arms import ABANDONED, values
from pilothouse.campaigns.autopilot import Ask, Confirm, JudgeRuns, KeepFloor
from pilothouse.campaigns.error_rate import grant_of
from pilothouse.campaigns.record import TrialState
from pilothouse.campaigns.seeds import BLOCK, Purpose, seed_of
from pilothouse.evidence.looks import SINGLE_LOOKS, STREAM_LOOKS
from pilothouse.evidence.stream import ledger
from pilothouse.evidence.verdict import Outcome as Answer
from pilothouse.fleet.job import JobSpec
from pilothouse.fleet.job import Outcome as Failure
from pilothouse.proposals.promotion import Confirmation
from tests.campaigns.pilot_world import HERE, SIGMA, Metrics, PilotWorld, by_knob, chance_of, pilot_definition

CALIBRATION, CONFIRMATION = 6, 4
SINGLE = ("[decision]\n", '[decision]\nmode = "single"\n')


def lucky_looks(spec: JobSpec) -> Metrics:
    """Return a gain of eight sigmas in the seeds that looks see, and a loss in those of a confirmation."""
    of_looks = spec.seed % BLOCK < Purpose.ARM
    gain = 8.0 if spec.config["lr"] == 1.0 and of_looks else 0.0
    return {"loss": 1.0 - SIGMA * gain + SIGMA * chance_of(spec).gauss(0, 1), "speed": 100.0}


def test_a_campaign_begins_with_the_unchanged_config_and_fresh_seeds() -> None:
    """So many runs as the file says, each seed another; they make the floor, trial 0 and the first baseline."""
    world = PilotWorld(definition=pilot_definition(), trials_max=0)

    action = world.until(KeepFloor)

    assert isinstance(action, KeepFloor)
    assert [dict(spec.config) for spec in world.specs()] == [{"lr": 0.1, "wd": 0.5}] * CALIBRATION
    assert [spec.seed for spec in world.specs()] == [Purpose.ARM + index for index in range(CALIBRATION)]
    assert len(action.runs) == CALIBRATION
    assert world.trials[0].verdict is None
    assert [move.trial for move in world.promotions] == [0]
    assert world.end() == Finished(reason="the baseline is calibrated", final=False)


def test_no_two_purposes_share_a_seed() -> None:
    """Whatever the counts that a file may ask for, a seed has one purpose in one trial."""
    most = {Purpose.LOOK: 400, Purpose.ARM: 200, Purpose.SCREEN: 200, Purpose.TWIN: 400}
    seeds = [
        seed_of(5, trial=trial, purpose=purpose, index=index)
        for trial in range(3)
        for purpose, count in most.items()
        for index in range(count)
    ]

    assert len(seeds) == len(set(seeds))
    assert set(most) == set(Purpose)
    for purpose, count in most.items():
        with pytest.raises(AssertionError, match="seeds"):
            seed_of(0, trial=0, purpose=purpose, index=count)


def test_both_arms_start_in_turn_and_in_a_stream_the_baseline_gets_one_run_a_look() -> None:
    """The candidate first, so a machine that slows down slows both; the next seeds only after the look."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 1.5}), trials_max=1)
    world.end()

    arms = [(spec.config["lr"], spec.seed % BLOCK) for spec in world.specs(trial=1)]
    assert arms[:7] == [(1.0, 0), (0.1, 0), (1.0, 1), (0.1, 1), (1.0, 2), (0.1, 2), (1.0, 3)]


def test_in_single_mode_the_arms_are_of_equal_size_and_pair_by_seed() -> None:
    """Each look has as many fresh baseline runs as candidate runs, and the calibration's are left out."""
    world = PilotWorld(definition=pilot_definition(SINGLE), measure=by_knob({1.0: 4.0}), trials_max=1)
    action = world.until(JudgeRuns)

    assert isinstance(action, JudgeRuns)
    sides, verdict = action.decided.sides, action.decided.verdict
    assert [run.step.spec.seed for run in sides.baseline] == [run.step.spec.seed for run in sides.candidate]
    assert len(sides.baseline) in SINGLE_LOOKS
    assert (verdict.outcome, verdict.alpha) == (Answer.IMPROVED, 0.05)
    assert (verdict.alpha_spent, verdict.alpha_left) == (0.05, 0.0)


@pytest.mark.parametrize("mode", ["stream", "single"])
@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0, 2.0, -1.0])
def test_no_run_is_made_that_the_decision_did_not_need(mode: str, gain: float) -> None:
    """Every look but the last decides nothing, and all that was handed over is used."""
    changes = [SINGLE] if mode == "single" else []
    world = PilotWorld(definition=pilot_definition(*changes), measure=by_knob({1.0: gain}), trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    looks = SINGLE_LOOKS if mode == "single" else STREAM_LOOKS
    candidate = judged.decided.sides.candidate
    look = looks.index(len(candidate))
    beside = len(candidate) if mode == "single" else look + 1
    assert len(world.specs(trial=1)) == len(candidate) + beside
    assert f"look {look + 1} of" in judged.decided.verdict.method


def test_an_owners_looks_are_heeded() -> None:
    """The candidate has only those numbers of seeds, and the last look always decides."""
    looks = ("[decision]\n", "[decision]\nlooks = [3, 5]\n")
    counts = set()
    for number in range(8):
        world = PilotWorld(definition=pilot_definition(looks), measure=by_knob({1.0: number - 4.0}), trials_max=1)
        judged = world.until(JudgeRuns)
        assert isinstance(judged, JudgeRuns)
        counts.add(len(judged.decided.sides.candidate))

    assert counts == {3, 5}


def test_a_promotion_is_confirmed_by_seeds_that_no_look_has_seen() -> None:
    """The baseline moves at once; the fresh runs are the first of its new arm; then the next trial starts from it."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0, 2.0: 6.0}), trials_max=2)
    world.until(JudgeRuns)
    assert world.trials[1].state is TrialState.CONFIRMING
    assert world.promotions[-1].trial == 1
    seen = {spec.seed for spec in world.specs()}

    action = world.until(Confirm)

    assert isinstance(action, Confirm)
    assert len(action.fresh) == CONFIRMATION
    assert not seen & {run.step.spec.seed for run in action.fresh}
    assert action.answer.state is Confirmation.CONFIRMED
    assert world.config["lr"] == 1.0
    judged = world.until(JudgeRuns)
    assert isinstance(judged, JudgeRuns)
    arm = [run for run in judged.decided.sides.baseline if run.step.spec.trial == 1]
    assert [run.fact.job for run in arm] == [run.fact.job for run in action.fresh]
    assert {run.step.spec.config["lr"] for run in judged.decided.sides.baseline} == {1.0}


def test_a_promotion_that_fresh_runs_do_not_repeat_is_rolled_back() -> None:
    """Config and baseline move back, and the arm of the baseline before is found again, with all its runs."""
    world = PilotWorld(definition=pilot_definition(), measure=lucky_looks, trials_max=2)
    world.until(JudgeRuns)
    assert world.config["lr"] == 1.0

    action = world.until(Confirm)

    assert isinstance(action, Confirm)
    assert action.answer.state is Confirmation.ROLLED_BACK
    assert (world.config["lr"], [move.trial for move in world.promotions]) == (0.1, [0, 1, 0])
    judged = world.until(JudgeRuns)
    assert isinstance(judged, JudgeRuns)
    of_trial = [run.step.spec.trial for run in judged.decided.sides.baseline]
    beside = sum(spec.config["lr"] == 0.1 for spec in world.specs(trial=1))
    assert of_trial.count(0) == CALIBRATION
    assert of_trial.count(1) == beside > 0
    assert of_trial.count(2) > 0
    assert world.end() == Finished(reason="trial 2 is judged", final=False)
    assert not any(world.submitted.count(step) > 1 for step in world.submitted)


def test_the_ledger_of_the_trials_is_that_of_the_stream() -> None:
    """Every judged trial is charged what it was granted; a confirmed one gives its level back."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({2.0: 6.0}), trials_max=5)
    world.end()
    book = ledger()

    for trial in world.judged_and_open()[1:]:
        grant = grant_of(world.definition.decision, world.judged_and_open(), number=trial.number)
        assert trial.verdict is not None
        assert grant.book == book
        assert trial.verdict.alpha == grant.level == pytest.approx(book.grant(), rel=1e-5)
        book = book.charged(grant.level)
        assert trial.verdict.alpha_left == book.left
        assert trial.verdict.alpha_spent == book.spent - book.regained
        if trial.confirmation is not None:
            assert trial.number == 2
            before, book = book, book.confirmed(trial.verdict.alpha)
            assert book.left > before.left
    assert book.left == pytest.approx(0.1 - 4 * 0.0009, abs=5e-5)


def test_what_could_not_be_promoted_is_charged_nothing() -> None:
    """A trial that was screened out leaves the ledger as it was."""
    screen = "\n[autopilot.screen]\nmode = 'quick'\n"
    world = PilotWorld(definition=pilot_definition(extra=screen), measure=by_knob({1.0: -6.0}), trials_max=2)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.verdict.alpha == judged.decided.verdict.alpha_spent == 0.0
    assert judged.decided.verdict.alpha_left == 0.1
    world.until(Ask)
    grant = grant_of(world.definition.decision, world.judged_and_open(), number=2)
    assert grant.book == ledger()


def test_a_screen_runs_in_its_own_mode_and_its_baseline_is_measured_once() -> None:
    """The cheaper mode's values replace the real ones; what passes is looked at in the real mode."""
    screen = "\n[autopilot.screen]\nmode = 'quick'\nruns = 2\nbaseline = 3\n"
    changes = ('command = ["python", "train.py"]\n', 'command = ["python", "train.py"]\nmode = "full"\n')
    world = PilotWorld(
        definition=pilot_definition(changes, extra=screen),
        measure=by_knob({1.0: 6.0, 2.0: 3.0}),
        trials_max=2,
        suggest=lambda number: {"lr": float(number), "wd": 0.5},
    )
    world.end()

    quick = [spec for spec in world.specs() if spec.config["steps"] == 10]
    assert [(spec.trial, spec.config["lr"]) for spec in quick] == [
        (1, 1.0),
        (0, 0.1),
        (1, 1.0),
        (0, 0.1),
        (0, 0.1),
        # The baseline has moved: its two runs as a candidate count, and one is missing.
        (2, 2.0),
        (2, 2.0),
        (1, 1.0),
    ]
    assert {spec.config["steps"] for spec in world.specs() if spec not in quick} == {1000}
    assert world.trials[1].confirmation is not None
    verdict = world.trials[2].verdict
    assert verdict is not None
    assert (verdict.alpha, verdict.outcome) == (0.0, Answer.INCONCLUSIVE)
    assert "screened out in mode quick" in verdict.reason


def test_a_guard_that_regresses_holds_an_improved_candidate_back() -> None:
    """The verdict says improved and names the guard; the baseline stays."""

    def slower(spec: JobSpec) -> Metrics:
        found = dict(by_knob({1.0: 6.0})(spec))
        return {**found, "speed": found["speed"] - (20.0 if spec.config["lr"] == 1.0 else 0.0)}

    world = PilotWorld(definition=pilot_definition(), measure=slower, trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.verdict.outcome is Answer.IMPROVED
    assert judged.decided.held_back == ("speed",)
    assert "held back by speed" in judged.decided.verdict.reason
    assert not judged.decided.promoted
    assert world.end() == Finished(reason="trial 1 is judged", final=False)
    assert [move.trial for move in world.promotions] == [0]


def test_a_guard_that_never_moves_holds_nothing_back() -> None:
    """A constant metric cannot have regressed."""

    def steady(spec: JobSpec) -> Metrics:
        return {**by_knob({1.0: 6.0})(spec), "speed": 7.0}

    world = PilotWorld(definition=pilot_definition(), measure=steady, trials_max=1)
    world.until(Confirm)

    assert world.config["lr"] == 1.0


def test_a_real_gain_below_the_smallest_of_interest_is_none() -> None:
    """It is inconclusive, and the reason says that the gain is real."""
    small = ("primary = true\n", "primary = true\nsmallest_effect_of_interest = 0.9\n")
    world = PilotWorld(definition=pilot_definition(small), measure=by_knob({1.0: 6.0}), trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.verdict.outcome is Answer.INCONCLUSIVE
    assert "real but below the smallest of interest, 0.9" in judged.decided.verdict.reason
    assert judged.decided.verdict.alpha > 0
    assert not judged.decided.promoted


def test_a_margin_tells_equivalence_apart() -> None:
    """No worse by more than the margin is equivalent; without the margin the same runs are inconclusive."""
    margin = ("primary = true\n", "primary = true\nno_worse_by = 0.5\n")
    outcomes = []
    for changes in ([margin], []):
        world = PilotWorld(definition=pilot_definition(*changes), trials_max=1)
        judged = world.until(JudgeRuns)
        assert isinstance(judged, JudgeRuns)
        outcomes.append(judged.decided.verdict.outcome)
        assert not judged.decided.promoted

    assert outcomes == [Answer.EQUIVALENT, Answer.INCONCLUSIVE]


def test_an_identical_rerun_has_runs_of_its_own_in_both_arms() -> None:
    """The baseline's runs beside it have other seeds, or they would be the candidate's own."""
    world = PilotWorld(definition=pilot_definition(), suggest=lambda _: {}, trials_max=2)
    first = world.until(JudgeRuns)
    second = world.until(JudgeRuns)

    assert isinstance(first, JudgeRuns)
    assert isinstance(second, JudgeRuns)
    sides = first.decided.sides
    assert not {run.step.key for run in sides.baseline} & {run.step.key for run in sides.candidate}
    assert len(sides.baseline) == CALIBRATION + STREAM_LOOKS.index(len(sides.candidate)) + 1
    assert first.decided.verdict.outcome is not Answer.IMPROVED
    arm = {run.step.key for run in second.decided.sides.baseline}
    assert {run.step.key for run in sides.baseline} < arm
    assert not {run.step.key for run in sides.candidate} & arm
    assert len({step.key for step in world.submitted}) == len(world.submitted)


def test_in_single_mode_an_identical_rerun_has_two_equal_arms() -> None:
    """As any other trial; none of its runs stands in both."""
    world = PilotWorld(definition=pilot_definition(SINGLE), suggest=lambda _: {}, trials_max=1)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    baseline, candidate = judged.decided.sides.baseline, judged.decided.sides.candidate
    assert len(baseline) == len(candidate)
    assert not {run.fact.job for run in baseline} & {run.fact.job for run in candidate}


def test_changed_code_makes_a_new_floor_and_new_arms() -> None:
    """No run under the old code counts any more. The open trial ends, and pays for the looks that it has had."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 1.5}), trials_max=2)
    world.until(Ask)
    for _ in range(12):
        world.turn()
    old = {step.key for step in world.submitted}
    world.conditions = replace(HERE, code="decaf")
    world.refuse(1, "drifted")

    closed = world.until(JudgeRuns)
    assert isinstance(closed, JudgeRuns)
    assert (closed.number, closed.decided.promoted, closed.decided.failure) == (1, False, ABANDONED)
    assert closed.decided.verdict.alpha_left == pytest.approx(0.1 - closed.decided.verdict.alpha)
    assert isinstance(world.until(KeepFloor, Ask), KeepFloor)
    assert world.until(Ask) == Ask(number=2)
    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    used = {run.step.key for side in (judged.decided.sides.baseline, judged.decided.sides.candidate) for run in side}
    assert not used & old
    assert len(world.floors) == 2
    assert [move.trial for move in world.promotions] == [0]


def test_code_that_changes_before_a_trial_has_a_run_costs_nothing() -> None:
    """Nothing was seen, so the same trial is proposed anew."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 1.5}), trials_max=1)
    world.until(Ask)
    world.until(Admit)
    world.conditions = replace(HERE, code="decaf")
    world.refuse(1, "drifted")

    assert isinstance(world.until(KeepFloor, JudgeRuns), KeepFloor)
    assert world.until(Ask) == Ask(number=1)


def test_code_that_changes_before_a_confirmation_measures_both_arms_anew() -> None:
    """Fresh runs under new code say nothing beside a baseline under the old one."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), trials_max=1)
    world.until(JudgeRuns)
    old = {step.key for step in world.submitted}
    world.conditions = replace(HERE, code="decaf")

    action = world.until(Confirm)

    assert isinstance(action, Confirm)
    fresh = [spec for spec, step in zip(world.specs(), world.submitted, strict=True) if step.key not in old]
    assert sorted({(spec.config["lr"], spec.trial) for spec in fresh}) == [(0.1, 0), (1.0, 1)]
    assert len(fresh) == 2 * CONFIRMATION
    assert action.answer.state is Confirmation.CONFIRMED
    assert isinstance(world.until(KeepFloor), KeepFloor)
    assert world.floors[-1].config["lr"] == 1.0


def test_a_changed_file_moves_what_the_baseline_is_given_as_well() -> None:
    """Values that are no knobs hold for both arms: a baseline of the old ones would decide about something else."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), trials_max=1)
    world.until(Confirm)
    full = ('command = ["python", "train.py"]\n', 'command = ["python", "train.py"]\nmode = "full"\n')
    world.definition = pilot_definition(full)
    world.conditions, world.trials_max = replace(HERE, data="full"), 2
    before = len(world.submitted)

    world.end()

    assert {spec.config.get("steps") for spec in world.specs()[before:]} == {1000}
    assert {spec.config["lr"] for spec in world.specs(trial=2)} == {1.0, 2.0}


def test_a_changed_file_holds_for_a_confirmation_as_well() -> None:
    """Also of the baseline before, which a rollback would bring back."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), trials_max=1)
    world.until(JudgeRuns)
    full = ('command = ["python", "train.py"]\n', 'command = ["python", "train.py"]\nmode = "full"\n')
    world.definition, world.conditions = pilot_definition(full), replace(HERE, data="full")
    before = len(world.submitted)

    world.until(Confirm)

    assert {spec.config.get("steps") for spec in world.specs()[before:]} == {1000}


def test_the_same_facts_give_the_same_action() -> None:
    """A loop that starts anew takes the same next step: nothing is remembered outside the facts."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: 6.0}), trials_max=2)
    for _ in range(60):
        assert world.next() == world.next()
        world.turn()


def test_all_runs_of_a_look_are_handed_over_before_one_is_awaited() -> None:
    """So that as many seats as there are work at once, and nothing of the look supersedes its neighbours."""
    world = PilotWorld(definition=pilot_definition(), trials_max=1, seats=3)
    kinds = []
    while not isinstance(action := world.turn(), KeepFloor):
        kinds.append(type(action))

    assert kinds == [Submit] * CALIBRATION + [Await] * 2
    assert values(action.runs, "loss") == [by_knob()(spec)["loss"] for spec in world.specs()]
    world.end()
    assert {fact.stage.value for fact in world.jobs.values()} == {"shipped"}


def test_a_candidate_that_diverges_in_the_screen_is_turned_away_with_finite_figures() -> None:
    """A huge number in place of a metric is a failure there as well, and never becomes a p-value of NaN."""
    screen = pilot_definition(extra='\n[autopilot.screen]\nmode = "quick"\n')
    noise = by_knob()
    world = PilotWorld(
        definition=screen,
        measure=lambda spec: {**noise(spec), **({} if spec.config["lr"] == 0.1 else {"loss": 1e90})},
        trials_max=1,
    )

    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.verdict.p == 1.0
    assert judged.decided.failure == "not_a_number"
    assert not judged.decided.promoted


def test_a_guard_that_never_varies_holds_nothing_back_though_a_baseline_run_failed() -> None:
    """The failed run has no value of the guard, which is no variation of it."""
    gain = by_knob({1.0: 9.0})
    world = PilotWorld(
        definition=pilot_definition(),
        measure=lambda spec: {**gain(spec), "speed": 100.0},
        fails=lambda spec: Failure.NOT_A_NUMBER if spec.seed == Purpose.ARM + 2 else None,
        trials_max=1,
    )

    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.promoted
    assert judged.decided.held_back == ()


@pytest.mark.parametrize(("factor", "label"), [(1.0, "exploratory"), (6.0, "replicated")])
def test_only_a_claim_is_called_replicated(factor: float, label: str) -> None:
    """What leaves the question open claims nothing, however many runs it saw."""
    world = PilotWorld(definition=pilot_definition(), measure=by_knob({1.0: factor}), trials_max=1)

    judged = world.until(JudgeRuns)

    assert isinstance(judged, JudgeRuns)
    assert judged.decided.verdict.confidence.value == label
