"""The autopilot's acts in a real store: floors, suggestions, verdicts, confirmations, and what the logbook says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import pytest
from tests.campaigns.pilot_world import (
    CAMPAIGN,
    HERE,
    PRODUCT,
    START,
    Metrics,
    PilotWorld,
    by_knob,
    new_lr,
    pilot_definition,
)

from pilothouse.campaigns.autopilot import Ask, AutopilotFacts, Confirm, JudgeRuns, KeepFloor
from pilothouse.campaigns.calibration import Replicated
from pilothouse.campaigns.record import Campaign, Promotion, Trial, TrialState
from pilothouse.campaigns.seeds import BLOCK, Purpose
from pilothouse.canonical import Json
from pilothouse.evidence.power import detectable
from pilothouse.evidence.verdict import Outcome as Answer
from pilothouse.fleet.job import JobSpec, NewJob, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, ProposalId
from pilothouse.logbook.chain import verify
from pilothouse.logbook.entry import Entry
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.autopilot_facts import Moment, autopilot_facts, search_of
from pilothouse.operations.calibrate import conditions_of, floors_of, stored_floors
from pilothouse.operations.campaign_facts import Session
from pilothouse.operations.judge_runs import confirm_trial, judge_runs
from pilothouse.operations.keep_floor import keep_floor
from pilothouse.operations.keep_suggestion import Suggested, keep_suggestion
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.stop_doomed import stop_doomed
from pilothouse.operations.submit import submit
from pilothouse.operations.submit_step import withdraw_waiting
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal, Risk, State
from pilothouse.proposals.search import Suggestion
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values

WAIVED = '\n[gate]\napproval = "waived"\nwaived_by = "ada"\nreason = "a test"\n'


def asked_for(overrides: Mapping[str, Json], *, risk: Risk = Risk.LOW) -> Suggestion:
    """Return a suggestion with every reason."""
    return Suggestion(
        overrides=overrides,
        source="test",
        rationale="because",
        hypothesis="it helps",
        why_not_identical="it differs",
        risk=risk,
        rollback="go back",
    )


@dataclass(kw_only=True)
class Stored(PilotWorld):
    """A world whose every act is done in a real store as well."""

    tx: Transaction

    def __post_init__(self) -> None:
        super().__post_init__()
        open_campaign(self.tx, self.definition, now=START)

    @property
    def campaign(self) -> Campaign:
        """The campaign as it is stored."""
        found = self.tx.campaigns.get(PRODUCT, CAMPAIGN)
        assert found is not None
        return found

    def entries(self) -> list[Entry]:
        """Return the campaign's thread."""
        return list(self.tx.entries.thread(self.campaign.product, self.campaign.name))

    def check_chain(self) -> None:
        """Fail where an entry of the thread does not follow from the one before it."""
        campaign = self.campaign
        assert verify(self.entries(), product=campaign.product, thread=campaign.name) is None

    def trials_stored(self) -> list[Trial]:
        """Return the stored trials."""
        return list(self.tx.campaigns.trials(self.campaign.product, self.campaign.name))

    def moves_stored(self) -> list[Promotion]:
        """Return the stored moves of the baseline."""
        return list(self.tx.campaigns.promotions(self.campaign.product, self.campaign.name))

    def suggested(self, number: int, suggestion: Suggestion) -> Proposal:
        """Keep a suggestion."""
        identity = ProposalId(f"p-{len(self.tx.proposals.listed(self.campaign.product, self.campaign.name))}")
        return keep_suggestion(
            self.tx,
            Suggested(number=number, suggestion=suggestion, code_commit=HERE.code, identity=identity),
            definition=self.definition,
            campaign=self.campaign,
            now=self.now,
        )

    def _keep(self, action: KeepFloor) -> None:
        super()._keep(action)
        keep_floor(
            self.tx,
            action,
            definition=self.definition,
            campaign=self.campaign,
            conditions=self.conditions,
            now=self.now,
        )

    def _ask(self, number: int) -> None:
        super()._ask(number)
        kept = self.suggested(number, asked_for(self.suggest(number)))
        assert kept.state is State.OPEN

    def _admit(self, proposal: Proposal) -> None:
        super()._admit(proposal)
        newest = self.tx.proposals.listed(self.campaign.product, self.campaign.name)[-1]
        admit_proposal(
            self.tx,
            newest,
            definition=self.definition,
            campaign=self.campaign,
            code_commit=HERE.code,
            now=self.now,
        )

    def _judge(self, action: JudgeRuns) -> None:
        super()._judge(action)
        judge_runs(self.tx, action, definition=self.definition, campaign=self.campaign, now=self.now)

    def _confirm(self, action: Confirm) -> None:
        super()._confirm(action)
        confirm_trial(self.tx, action, definition=self.definition, campaign=self.campaign, now=self.now)


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    store = SqliteStore(":memory:")
    with store.write() as tx:
        yield tx
    store.close()


def lucky_looks(spec: JobSpec) -> Metrics:
    """Return a gain that only the seeds of looks have."""
    lucky = spec.config["lr"] == 1.0 and spec.seed % BLOCK < Purpose.ARM
    return {**by_knob({1.0: 8.0 if lucky else 0.0})(spec), "speed": 100.0}


def test_the_first_floor_makes_trial_0_and_the_first_baseline(tx: Transaction) -> None:
    """Floors of every metric stand in the logbook under their conditions; the next floor makes no second trial."""
    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, trials_max=0)
    world.until(KeepFloor)
    (trial,), (move,) = world.trials_stored(), world.moves_stored()

    floors = stored_floors(tx, world.campaign)
    assert [(floor.metric, floor.replicates, floor.failed) for floor in floors] == [("loss", 6, 0), ("speed", 6, 0)]
    assert floors[0].conditions == HERE
    assert trial.metrics["loss"] == pytest.approx(floors[0].mean)
    assert (trial.number, trial.state, trial.verdict, trial.seconds) == (0, TrialState.JUDGED, None, {"baseline": 6.0})
    assert (move.trial, dict(move.config)) == (0, {"lr": 0.1, "wd": 0.5})
    world.conditions = replace(HERE, hardware="another")
    world.until(KeepFloor)
    assert world.trials_stored() == [trial]
    assert world.moves_stored() == [move]
    assert stored_floors(tx, world.campaign)[0].conditions == world.conditions
    assert [entry.body.label for entry in world.entries()] == ["calibration: 6 replicates"] * 2


@pytest.mark.parametrize("measure", [by_knob({1.0: 6.0}), lucky_looks, by_knob()])
def test_what_is_stored_is_what_was_decided(tx: Transaction, measure: Callable[[JobSpec], Metrics]) -> None:
    """Trials, moves of the baseline and its config, from calibration over confirmation or rollback to the end."""
    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, measure=measure, trials_max=2)
    world.end()

    stored = world.trials_stored()
    assert [trial.number for trial in stored] == [0, 1, 2]
    for trial in stored:
        planned = world.trials[trial.number]
        assert (trial.state, trial.failure, dict(trial.config)) == (planned.state, planned.failure, planned.config)
        assert (trial.verdict, trial.confirmation) == (planned.verdict, planned.confirmation)
    assert [(move.trial, move.config) for move in world.moves_stored()] == [
        (move.trial, move.config) for move in world.promotions
    ]
    assert dict(world.campaign.config) == world.config
    world.check_chain()


def test_a_promotion_a_confirmation_and_a_rollback_each_have_their_entry(tx: Transaction) -> None:
    """The label says the outcome, the evidence holds the numbers, and the chain is unbroken."""
    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, measure=lucky_looks, trials_max=1)
    world.until(JudgeRuns)
    assert world.trials_stored()[1].state is TrialState.CONFIRMING
    assert world.campaign.config["lr"] == 1.0
    world.until(Confirm)

    floor, judged, rolled_back = world.entries()
    assert floor.body.label == "calibration: 6 replicates"
    assert judged.body.label == "trial 1: improved"
    assert "the baseline moves to this config" in judged.body.interpretation
    assert "4 fresh runs confirm it" in judged.body.next_action
    assert rolled_back.body.label == "trial 1: rolled back"
    assert "back to trial 0" in rolled_back.body.interpretation
    evidence = cast("Mapping[str, Json]", rolled_back.body.evidence["confirmation"])
    assert evidence["state"] == "rolled back"
    assert len(cast("list[Json]", rolled_back.body.evidence["jobs"])) == 4
    assert world.campaign.config["lr"] == 0.1
    assert world.moves_stored()[-1].reason.startswith("rollback of trial 1: ")
    world.check_chain()


def test_a_failed_candidate_is_stored_with_what_is_no_number(tx: Transaction) -> None:
    """A verdict without runs on one side comes back as it was, and the logbook takes it."""
    world = Stored(
        definition=pilot_definition(("[decision]\n", '[decision]\nmode = "single"\n'), extra=WAIVED),
        tx=tx,
        fails=lambda spec: Outcome.OUT_OF_MEMORY if spec.config["lr"] == 1.0 else None,
        trials_max=1,
    )
    world.end()

    trial = world.trials_stored()[1]
    assert (trial.failure, dict(trial.metrics)) == ("out_of_memory", {})
    assert trial.verdict is not None
    assert math.isnan(trial.verdict.candidate)
    assert math.isnan(trial.verdict.baseline)
    assert math.isnan(trial.verdict.difference)
    assert (trial.verdict.low, trial.verdict.high) == (-math.inf, math.inf)
    entry = world.entries()[-1]
    assert entry.body.label == "trial 1: inconclusive"
    assert entry.body.evidence["failure"] == "out_of_memory"
    world.check_chain()


def test_a_screened_trial_keeps_no_metrics_of_the_cheaper_mode(tx: Transaction) -> None:
    """They would stand beside those of the real one."""
    screen = WAIVED + "\n[autopilot.screen]\nmode = 'quick'\n"
    world = Stored(definition=pilot_definition(extra=screen), tx=tx, measure=by_knob({1.0: -6.0}), trials_max=1)
    world.end()

    trial = world.trials_stored()[1]
    assert trial.verdict is not None
    assert (trial.verdict.alpha, trial.verdict.outcome) == (0.0, Answer.INCONCLUSIVE)
    assert dict(trial.metrics) == {}
    assert trial.seconds == {"train": 2.0, "baseline": 0.0}


@pytest.mark.parametrize("end", ["kept", "rolled back"])
def test_a_knob_that_joins_the_file_while_a_promotion_is_confirmed_takes_its_default(tx: Transaction, end: str) -> None:
    """Neither the config that moves nor the one that comes back has ever heard of it."""
    measure = by_knob({1.0: 6.0}) if end == "kept" else lucky_looks
    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, measure=measure, trials_max=1)
    world.until(JudgeRuns if end == "rolled back" else Ask)
    joined = '\n[knobs.depth]\ntype = "int"\ndefault = 3\nmin = 1\nmax = 9\n'
    world.definition = pilot_definition(extra=WAIVED + joined)
    open_campaign(tx, world.definition, now=world.now)
    world.config = {**world.config, "depth": 3}
    before = conditions_of(tx, pilot_definition(extra=WAIVED), world.campaign, code="c", hardware="h")
    world.conditions = conditions_of(tx, world.definition, world.campaign, code="c", hardware="h")
    assert world.conditions != before
    world.until(Confirm)

    assert dict(world.campaign.config) == {"lr": 1.0 if end == "kept" else 0.1, "wd": 0.5, "depth": 3}


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        ({"lr": 1e9}, "1e9|1000000000"),
        ({"lr": math.nan}, "nan"),
        ({"lr": True}, "True"),
        ({"lr": "fast"}, "fast"),
        ({"momentum": 0.9}, "momentum"),
        ({"lr": 0.2, "wd": 0.4, "depth": 4}, "3|at most"),
        ({"data_seed": 7}, "seed"),
    ],
)
def test_what_a_guardrail_refuses_is_stored_with_the_reason(
    tx: Transaction, overrides: dict[str, Json], why: str
) -> None:
    """No trial begins; the next proposer reads why, and the baseline stays as it was."""
    knobs = "".join(
        f'\n[knobs.{name}]\ntype = "int"\ndefault = 3\nmin = 1\nmax = 9\n' for name in ("depth", "data_seed")
    )
    world = Stored(definition=pilot_definition(extra=WAIVED + knobs), tx=tx, trials_max=1)
    world.until(KeepFloor)
    before = dict(world.campaign.config)

    kept = world.suggested(1, asked_for(overrides))

    assert kept.state is State.REJECTED
    assert any(word in kept.refusal for word in why.split("|")), kept.refusal
    assert f"asked for {overrides!r}" in kept.refusal
    assert tx.proposals.get(world.campaign.product, kept.id) == kept
    assert (dict(kept.config), kept.changes) == (before, ())
    assert len(world.trials_stored()) == 1
    (told,) = search_of(tx, world.definition, world.campaign).history
    assert (told.refusal, told.outcome) == (kept.refusal, None)
    again = world.suggested(1, asked_for(new_lr(1)))
    assert again.state is State.OPEN
    assert facts_of(world).refusals == 0


def test_refusals_are_counted_since_the_start_and_up_to_the_last_that_passed(tx: Transaction) -> None:
    """The count is what a stop rule compares."""
    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, trials_max=1)
    world.until(KeepFloor)
    counts = []
    for overrides in ({"lr": 1e9}, {"lr": 1e9}, {"lr": 0.3}, {"lr": 1e9}):
        world.suggested(1, asked_for(overrides))
        counts.append(facts_of(world).refusals)

    assert counts == [1, 2, 0, 1]
    world.restart()
    assert facts_of(world).refusals == 0


def test_a_proposal_has_at_least_the_risk_of_what_it_moves(tx: Transaction) -> None:
    """A source may fear more, never less."""
    risky = '\n[knobs.depth]\ntype = "int"\ndefault = 3\nmin = 1\nmax = 9\nrisk = "medium"\n'
    world = Stored(definition=pilot_definition(extra=WAIVED + risky), tx=tx, trials_max=1)
    world.until(KeepFloor)

    assert world.suggested(1, asked_for({"depth": 4})).risk is Risk.MEDIUM
    assert world.suggested(1, asked_for({"depth": 5}, risk=Risk.HIGH)).risk is Risk.HIGH


def test_a_rerun_needs_its_reason(tx: Transaction) -> None:
    """Nothing that changes is a proposal only where the source says why the same config should run again."""
    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, trials_max=1)
    world.until(KeepFloor)

    with_reason = world.suggested(1, asked_for({}))
    without = world.suggested(1, replace(asked_for({}), why_not_identical=""))

    assert (with_reason.state, with_reason.changes) == (State.OPEN, ())
    assert without.state is State.REJECTED


def facts_of(world: Stored) -> AutopilotFacts:
    """Return the facts as the loop gathers them."""
    moment = Moment(
        conditions=conditions_of(world.tx, world.definition, world.campaign, code="c", hardware="h"),
        calibrated=None,
        shipped={},
        moved=False,
        stop_asked=False,
        now=world.now,
    )
    session = Session(since=world.since, trials_max=None)
    return autopilot_facts(world.tx, world.definition, world.campaign, session, moment)


@pytest.mark.parametrize(("mode", "level"), [("stream", 0.0009), ("single", 0.05)])
def test_a_floor_tells_what_is_found_at_the_level_that_proposals_are_judged_at(mode: str, level: float) -> None:
    definition = pilot_definition(("[decision]\n", f'[decision]\nmode = "{mode}"\n'))
    runs = [{"loss": 1.0 + 0.1 * place, "speed": 100.0 + place} for place in range(6)]

    floors = floors_of(definition, Replicated(metrics=tuple(runs), failed=0), conditions=HERE)

    assert {floor.alpha for floor in floors} == {level}
    assert floors[0].detectable == pytest.approx(detectable(sigma=floors[0].sigma, seeds=8, power=0.8, alpha=level))


def test_an_effect_far_below_the_noise_ends_no_calibration(tx: Transaction) -> None:
    """The entry says that it needs more seeds than anybody has."""
    tiny = ("primary = true\n", "primary = true\nsmallest_effect_of_interest = 1e-9\n")
    world = Stored(definition=pilot_definition(tiny), tx=tx)

    world.until(KeepFloor)

    assert "more than 10000 seeds per arm find 1e-09" in world.entries()[-1].body.interpretation


def test_only_what_waits_is_withdrawn(tx: Transaction) -> None:
    """Of this campaign, and nothing that runs or has ended."""
    world = Stored(definition=pilot_definition(), tx=tx)
    mine = values.make_spec(campaign="pilot")
    jobs = [
        submit(tx, NewJob(id=JobId(name), product=world.campaign.product, pool="local", key=name, spec=spec), now=START)
        for name, spec in (("a", mine), ("b", mine), ("c", values.make_spec(campaign="other")))
    ]

    withdraw_waiting(tx, campaign=world.campaign, now=START)

    found = {job.id: tx.jobs.by_id(job.id) for job in jobs}
    assert {name: job.stage for name, job in found.items() if job is not None} == {
        "a": Stage.CANCELLED,
        "b": Stage.CANCELLED,
        "c": Stage.QUEUED,
    }


def test_a_doomed_run_is_stopped_once_and_one_that_has_ended_is_left_alone(tx: Transaction) -> None:
    """Its incident makes the loop count it as doomed; nothing is told of a run that was not stopped."""
    world = Stored(definition=pilot_definition(), tx=tx)
    job, mine = JobId("a"), values.make_spec(campaign="pilot")
    submit(tx, NewJob(id=job, product=world.campaign.product, pool="local", key="a", spec=mine), now=START)

    told = [stop_doomed(tx, world.campaign, job, why="far behind", now=START) for _ in range(2)]

    assert told == [True, False]
    assert facts_of(world).doomed == {job}
    (incident,) = tx.campaigns.incidents(PRODUCT, CAMPAIGN)
    assert incident.evidence == "far behind"
    stored = tx.jobs.by_id(job)
    assert stored is not None
    assert stored.stage is Stage.CANCELLED


def test_a_metric_that_nobody_promised_may_be_infinite(tx: Transaction) -> None:
    """It is kept on the trial, and the logbook, which holds finite numbers only, still takes the verdict."""

    def measure(spec: JobSpec) -> Metrics:
        return {**by_knob({1.0: 6.0})(spec), "worst": math.inf}

    world = Stored(definition=pilot_definition(extra=WAIVED), tx=tx, measure=measure, trials_max=1)
    world.end()

    assert world.trials_stored()[1].metrics["worst"] == math.inf
    assert world.trials_stored()[1].confirmation is not None
    world.check_chain()
