"""The flywheel's next action follows from the facts alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.flywheel import GoldenDrift, Judge, Propose, next_action
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.proposals.proposal import State
from tests.campaigns.world import World, little_definition

ITERATIONS = "\niterations = {}\n"


def finished_world(iterations: int, promotes: frozenset[int] = frozenset()) -> World:
    """Return a world whose campaign has run to its end; the named trials improve."""
    definition = little_definition().model_copy(
        update={"flywheel": little_definition().flywheel.model_copy(update={"iterations": iterations})}
    )
    world = World(definition=definition, promotes=lambda number: number in promotes)
    world.until(Finished)
    return world


@given(iterations=st.integers(1, 6), promotes=st.frozensets(st.integers(1, 6)))
def test_every_step_is_submitted_once_and_every_trial_judged_once(iterations: int, promotes: frozenset[int]) -> None:
    """A campaign without trouble does nothing twice, whatever improves."""
    world = finished_world(iterations, promotes)

    assert len(world.submitted) == len(set(world.submitted))
    assert sorted(world.trials) == list(range(iterations + 1))
    assert len(world.keys("generate")) == len(world.keys("train")) == len(world.keys("evaluate")) == iterations


@given(iterations=st.integers(2, 6), promotes=st.frozensets(st.integers(1, 6)))
def test_training_starts_from_the_best_checkpoint_and_not_the_last(iterations: int, promotes: frozenset[int]) -> None:
    """A trial that did not improve is nobody's parent."""
    world = finished_world(iterations, promotes)
    checkpoints = {promotion.trial: promotion.checkpoint for promotion in world.promotions}

    for number, key in enumerate(world.keys("train"), start=1):
        best = max(trial for trial in checkpoints if trial < number)
        given_checkpoint = world.steps[key].spec.inputs.get("checkpoint", ())
        assert given_checkpoint == (() if checkpoints[best] is None else (checkpoints[best],))


def test_training_data_grows_by_one_chunk_and_never_holds_golden_seeds() -> None:
    """Iteration n trains on n chunks, and the golden seeds 30 to 39 are stepped over."""
    world = finished_world(4)
    seeds = [world.steps[key].spec.config["seeds"] for key in world.keys("generate")]
    trained = [len(world.steps[key].spec.inputs["tokens"]) for key in world.keys("train")]

    assert seeds == ["0:10", "10:20", "20:30", "40:50"]
    assert trained == [1, 2, 3, 4]


def test_the_same_facts_give_the_same_action() -> None:
    """A loop that starts anew takes the same next step: nothing is remembered outside the facts."""
    world = World(definition=little_definition(), trials_max=2)
    for _ in range(40):
        assert world.next() == world.next()
        world.turn()


def test_a_start_is_limited_to_its_iterations() -> None:
    """`--once` judges one iteration and leaves the campaign ready for more."""
    world = World(definition=little_definition(), trials_max=1)

    ending = world.until(Finished)

    assert ending == Finished(reason="iteration 1 is judged", final=False)
    world.trials_max = 2
    assert isinstance(world.next(), Propose)


def test_a_used_up_budget_ends_the_campaign_between_iterations() -> None:
    """The hours of every attempt count, and the budget that is used up is named."""
    world = World(definition=little_definition("\n[budget]\nhours = 2.0\n"), trials_max=1)
    world.until(Finished)
    world.trials_max = None

    ending = next_action(world.definition, world.facts(spent_hours=2.5))

    assert isinstance(ending, Finished)
    assert ending.final
    assert "budget.hours" in ending.reason


def test_a_damaged_output_is_made_again_by_its_own_step_only() -> None:
    """The iteration goes on after one more job, of the step whose folder was damaged."""
    world = World(definition=little_definition(), trials_max=2)
    world.until(Finished)
    world.trials_max = 3
    damaged = world.keys("tokenise")[0]
    world.damage(damaged)
    before = len(world.submitted)

    world.until(Finished)

    assert world.submitted[before:].count(damaged) == 1
    assert world.jobs[damaged].generation == 1
    assert [world.submitted.count(key) for key in set(world.submitted)].count(2) == 1


def test_a_damaged_best_checkpoint_is_trained_again() -> None:
    """The promotion keeps its meaning: the same step makes the same checkpoint."""
    world = World(definition=little_definition(), trials_max=1)
    world.until(Finished)
    best = world.keys("train")[0]
    world.damage(best)
    world.trials_max = 2

    world.until(Finished)

    assert world.submitted.count(best) == 2
    assert world.promotions[-1].trial == 2


def test_damaged_scores_of_the_best_are_made_again() -> None:
    """The rival's scores are needed for the verdict, so they are evaluated again."""
    world = World(definition=little_definition(), trials_max=1)
    world.until(Finished)
    scored = world.keys("evaluate")[0]
    world.damage(scored)
    world.trials_max = 2

    world.until(Finished)

    assert world.submitted.count(scored) == 2


def test_an_input_damaged_under_a_job_repairs_the_input_first() -> None:
    """A job that met a damaged input failed through no fault of its own; it runs again after the repair."""
    world = World(definition=little_definition(), trials_max=1)
    while not (isinstance(action := world.turn(), Submit) and action.step.spec.kind == "train"):
        pass
    tokens = world.keys("tokenise")[0]
    world.damage(tokens)
    world.fail(action.step, Outcome.INPUT_DAMAGED)

    world.until(Finished)

    assert world.submitted.count(tokens) == 2
    assert world.submitted.count(action.step.key) == 2


def test_a_failed_step_stops_the_loop_until_a_person_starts_it_again() -> None:
    """A crash is not tried again by the loop itself; the next start does it, once."""
    world = World(definition=little_definition(), trials_max=1)
    while not (isinstance(action := world.turn(), Submit) and action.step.spec.kind == "train"):
        pass
    world.fail(action.step, Outcome.CRASHED)

    assert isinstance(world.turn(), Failed)
    assert isinstance(world.turn(), Failed)

    world.since = world.now + timedelta(seconds=1)
    again = world.turn()
    assert isinstance(again, Submit)
    assert (again.step.key, again.generation) == (action.step.key, 1)
    world.until(Finished)


def test_a_step_whose_inputs_stay_damaged_goes_to_a_person() -> None:
    """Repairing has an end."""
    world = World(definition=little_definition(), trials_max=1)
    action = world.turn()
    while not isinstance(action, Failed | Finished):
        if isinstance(action, Submit) and action.step.spec.kind == "train":
            world.fail(action.step, Outcome.INPUT_DAMAGED)
        action = world.turn()

    assert isinstance(action, Failed)
    assert len(world.keys("train")) == 6


def test_a_golden_set_with_other_content_is_refused() -> None:
    """What was locked is what is compared with."""
    world = World(definition=little_definition(), trials_max=1)
    world.until(Finished)
    changed = little_definition().golden["wide"].model_copy(update={"seeds": "31:41"})
    world.definition = world.definition.model_copy(update={"golden": {"wide": changed}})
    world.trials_max = 2

    drift = world.until(GoldenDrift)

    assert isinstance(drift, GoldenDrift)
    assert drift.expected == world.golden["wide"].digest != drift.found


def test_a_pinned_golden_set_must_come_out_as_pinned() -> None:
    """The owner's digest counts before the first look."""
    pinned = little_definition().golden["wide"].model_copy(update={"digest": "sha256-of-something-else"})
    world = World(definition=little_definition().model_copy(update={"golden": {"wide": pinned}}))

    drift = world.until(GoldenDrift)

    assert isinstance(drift, GoldenDrift)
    assert world.golden == {}


@pytest.mark.parametrize("kind", ["golden-generate", "golden-tokenise"])
def test_a_golden_set_with_damaged_files_waits_for_a_person(kind: str) -> None:
    """It is refused until somebody asks to restore it, and then it must come out the same."""
    world = World(definition=little_definition(), trials_max=1)
    world.until(Finished)
    world.damage(world.keys(kind)[0])
    world.trials_max = 2

    assert isinstance(world.turn(), GoldenDrift)

    world.restore_golden = True
    world.until(Judge)
    assert world.submitted.count(world.keys(kind)[0]) == 2


def test_an_awaited_step_is_left_alone() -> None:
    """While the fleet has the job there is nothing to do but wait."""
    world = World(definition=little_definition())
    world.turn()

    assert isinstance(world.next(), Await)


def test_a_rejected_proposal_sends_an_open_trial_back_to_the_gate() -> None:
    """The approval was for other values, so the trial is proposed anew under its number and trains on the new ones."""
    world = World(definition=little_definition(), trials_max=1)
    while not (isinstance(action := world.turn(), Submit) and action.step.spec.kind == "train"):
        pass
    trainer = world.definition.trainer.model_copy(update={"config": {"width": 8}})
    world.definition = world.definition.model_copy(update={"trainer": trainer})
    world.proposals[1] = replace(world.proposals[1], state=State.REJECTED)

    assert isinstance(world.turn(), Propose)
    assert isinstance(world.turn(), Admit)
    world.until(Finished)

    assert [world.steps[key].spec.config for key in world.keys("train")] == [{}, {"width": 8}]
    assert len(world.keys("generate")) == 1


def test_another_evaluation_scores_the_rival_anew() -> None:
    """Both sides of a comparison are scored by the same program, whatever scored the best when it was new."""
    world = World(definition=little_definition(), trials_max=1)
    world.until(Finished)
    evaluate = world.definition.flywheel.evaluate.model_copy(update={"command": ("python", "kinder.py")})
    flywheel = world.definition.flywheel.model_copy(update={"evaluate": evaluate})
    world.definition = world.definition.model_copy(update={"flywheel": flywheel})
    world.trials_max = 2

    judged = world.until(Judge)

    assert isinstance(judged, Judge)
    scored = [world.steps[key].spec.command for key in world.keys("evaluate")]
    assert scored == [("python", "evaluate.py"), ("python", "kinder.py"), ("python", "kinder.py")]
    assert judged.baseline == world.jobs[world.keys("evaluate")[-1]].artifacts["samples"].digest


def test_another_deciding_golden_set_scores_the_rival_on_it_too() -> None:
    """A new set under a new name is no dead end: the best checkpoint is scored on it before the verdict."""
    world = World(definition=little_definition(), trials_max=1)
    world.until(Finished)
    text = '\n[golden.other]\nseeds = "70:75"\n'
    added = little_definition(text)
    world.definition = added.model_copy(update={"flywheel": added.flywheel.model_copy(update={"golden": "other"})})
    world.trials_max = 2

    judged = world.until(Judge)

    assert isinstance(judged, Judge)
    made = {
        fact.artifacts["samples"].digest: world.steps[key].spec.inputs["golden"]
        for key, fact in world.jobs.items()
        if "samples" in fact.artifacts
    }
    assert judged.baseline is not None
    assert made[judged.baseline] == made[judged.samples]


def test_a_used_up_budget_lets_no_further_job_begin() -> None:
    """The overshoot is one attempt, not one iteration."""
    world = World(definition=little_definition("\n[budget]\nhours = 2.0\n"), trials_max=1)
    while not (isinstance(action := world.turn(), Await) and action.step.spec.kind == "generate"):
        pass

    ending = next_action(world.definition, world.facts(spent_hours=2.0))

    assert isinstance(ending, Finished)
    assert "budget.hours" in ending.reason


def test_a_superseded_step_is_submitted_again_when_it_is_wanted_again() -> None:
    """A cancelled job is no failure and no result."""
    world = World(definition=little_definition(), trials_max=1)
    while not (isinstance(action := world.turn(), Submit) and action.step.spec.kind == "train"):
        pass
    world.jobs[action.step.key] = replace(world.jobs[action.step.key], stage=Stage.CANCELLED)

    world.until(Finished)

    assert world.submitted.count(action.step.key) == 2


def test_every_golden_set_is_scored_and_only_one_decides() -> None:
    """The other sets are made, locked and scored for the report, the untrained model included."""
    text = '\n[golden.test]\nseeds = "50:55"\n'
    world = World(definition=little_definition(text), trials_max=1)

    judged = world.until(Judge)
    world.until(Finished)

    assert isinstance(judged, Judge)
    assert world.golden.keys() == {"wide", "test"}
    assert len(world.keys("evaluate")) == len(world.keys("evaluate-test")) == 1
    assert len(world.keys("baseline-evaluate-test")) == 1
    deciding = world.jobs[world.keys("baseline-evaluate")[0]].artifacts["samples"].digest
    assert judged.samples == deciding
