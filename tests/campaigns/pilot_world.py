"""A world for the autopilot's planner: it plays the loop, the store and the fleet in memory, with metrics by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TypeAlias

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.autopilot import (
    Action,
    Ask,
    AutopilotFacts,
    Confirm,
    JudgeRuns,
    KeepFloor,
    Withdraw,
    next_action,
)
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.campaigns.source import read_definition
from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.campaigns.wanted import applied_config, present_config
from pilothouse.canonical import Json
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.fleet.job import JobSpec, Outcome
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import CampaignName, JobId, ProductId, ProposalId
from pilothouse.proposals.promotion import Confirmation
from pilothouse.proposals.proposal import Proposal, Risk, State, Subject

PRODUCT, CAMPAIGN = ProductId("default"), CampaignName("pilot")
START = datetime(2026, 1, 1, tzinfo=UTC)
HERE = Conditions(code="c0ffee", hardware="Linux x 2 cores", data="d")
SIGMA = 0.1
TURNS_MAX = 20_000

TEXT = """\
[campaign]
name = "pilot"
kind = "autopilot"

[trainer]
command = ["python", "train.py"]
modes = { quick = { steps = 10 }, full = { steps = 1000 } }

[knobs.lr]
type = "float"
default = 0.1
min = 1e-6
max = 1e6
scale = "log"

[knobs.wd]
type = "float"
default = 0.5
min = 0.0
max = 1.0

[metrics.loss]
direction = "min"
primary = true

[metrics.speed]
direction = "max"
guard = true

[decision]
calibration = 6
confirmation = 4
"""

Metrics: TypeAlias = Mapping[str, float]
Overrides: TypeAlias = Mapping[str, Json]
ENDINGS = (Finished, Failed, Stuck)


def pilot_definition(*changes: tuple[str, str], extra: str = "") -> AutopilotDefinition:
    """Return a small definition with these replacements, each of which must apply, and `extra` at its end."""
    text = TEXT + extra
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    definition = read_definition(text, name="pilot.toml")
    assert isinstance(definition, AutopilotDefinition)
    return definition


def chance_of(spec: JobSpec, *, world: int = 0) -> random.Random:
    """Return the chance of one run: the same config and seed always have the same luck."""
    return random.Random(f"{world} {sorted(spec.config.items())} {spec.seed}")


def by_knob(gains: Mapping[float, float] | None = None, *, world: int = 0) -> Callable[[JobSpec], Metrics]:
    """Return a measurement: noise of one sigma, and for some values of lr a gain in sigmas; speed has noise alone."""
    known = gains or {}

    def measure(spec: JobSpec) -> Metrics:
        luck = chance_of(spec, world=world)
        gain = known.get(float(str(spec.config["lr"])), 0.0)
        return {"loss": 1.0 + SIGMA * (luck.gauss(0, 1) - gain), "speed": 100.0 + luck.gauss(0, 1)}

    return measure


def new_lr(number: int) -> Overrides:
    """Return a value of lr that no other trial has."""
    return {"lr": float(number)}


@dataclass(kw_only=True)
class PilotWorld:
    """The stored state, and what the fleet does with a job.

    `measure` gives the metrics of a run, and `fails` how it fails, if it does. `suggest` is the proposer: its answer
    for a trial is always the same. `seats` jobs run at once, in the order in which they were handed over.
    """

    definition: AutopilotDefinition
    measure: Callable[[JobSpec], Metrics] = field(default_factory=by_knob)
    fails: Callable[[JobSpec], Outcome | None] = lambda _: None
    suggest: Callable[[int], Overrides] = new_lr
    trials_max: int | None = None
    seats: int = 1
    now: datetime = START
    since: datetime = START
    conditions: Conditions = HERE
    calibrated: Conditions | None = None
    spent_hours: float = 0.0
    moved: bool = False
    stop_asked: bool = False
    jobs: dict[str, StepFact] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    submitted: list[Step] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    succeeded: list[str] = field(default_factory=list)
    trials: dict[int, Trial] = field(default_factory=dict)
    promotions: list[Promotion] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    floors: list[KeepFloor] = field(default_factory=list)
    config: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = {name: table.default for name, table in self.definition.knobs.items()}

    def facts(self) -> AutopilotFacts:
        """Return the snapshot that the planner sees."""
        refused = takewhile(lambda each: each.state is State.REJECTED, reversed(self.proposals))
        return AutopilotFacts(
            step=self.jobs.get,
            trials=self.judged_and_open(),
            promotions=list(self.promotions),
            proposals={proposal.number: proposal for proposal in self.proposals},
            spent_hours=self.spent_hours,
            since=self.since,
            trials_max=self.trials_max,
            moved=self.moved,
            config={**self.definition.trainer.fixed_values(), **self.config},
            conditions=self.conditions,
            calibrated=self.calibrated,
            refusals=sum(each.created_at >= self.since for each in refused),
            elapsed=(self.now - START).total_seconds(),
            stop_asked=self.stop_asked,
        )

    def judged_and_open(self) -> list[Trial]:
        """Return the trials by number."""
        return sorted(self.trials.values(), key=lambda trial: trial.number)

    def next(self) -> Action:
        """Return what the planner wants now."""
        return next_action(self.definition, self.facts())

    def turn(self) -> Action:
        """Carry out one action; the fleet ends one job whenever the loop waits."""
        self.now += timedelta(seconds=1)
        action = self.next()
        match action:
            case Submit():
                self._submit(action)
            case Await():
                assert self.jobs[action.step.key] == action.fact
                self.work(seats=self.seats)
            case Withdraw():
                self._withdraw()
            case KeepFloor():
                self._keep(action)
            case Ask():
                self._ask(action.number)
            case Admit():
                self._admit(action.proposal)
            case JudgeRuns():
                self._judge(action)
            case Confirm():
                self._confirm(action)
            case _:
                assert isinstance(action, ENDINGS), action
        return action

    def until(self, *kinds: type[Action]) -> Action:
        """Turn until an action of such a kind is carried out."""
        for _ in range(TURNS_MAX):
            action = self.turn()
            if isinstance(action, kinds):
                return action
            assert not isinstance(action, ENDINGS), action
        raise AssertionError(f"none of {kinds} in {TURNS_MAX} turns")

    def end(self) -> Action:
        """Turn until the loop has ended, and return how."""
        return self.until(*ENDINGS)

    def restart(self) -> None:
        """Kill the loop and its fleet and start it anew: what ran is queued again, and failures may be tried again."""
        self.now += timedelta(seconds=1)
        self.since = self.now
        for key, fact in self.jobs.items():
            if fact.stage is Stage.BUILDING:
                self.jobs[key] = replace(fact, stage=Stage.QUEUED)

    def specs(self, *, trial: int | None = None) -> list[JobSpec]:
        """Return what was handed to the fleet, in order, repeats included; `trial` names whose seeds it has."""
        return [step.spec for step in self.submitted if trial is None or step.spec.trial == trial]

    def refuse(self, number: int, why: str = "out of range") -> None:
        """Store a refused proposal, as a guardrail does."""
        self.proposals.append(replace(self._proposal(number, {}), state=State.REJECTED, refusal=why))

    def _submit(self, action: Submit) -> None:
        key = action.step.key
        for other, fact in self.jobs.items():
            if fact.stage not in ENDS and other not in {step.key for step in action.beside} | {key}:
                self._cancel(other)
        self.submitted.append(action.step)
        self.steps[key] = action.step
        self.jobs[key] = StepFact(
            job=JobId(f"{key}#{action.generation}"), generation=action.generation, stage=Stage.QUEUED
        )

    def work(self, *, seats: int) -> None:
        """End as many jobs as there are seats, first those that run and then the oldest."""
        open_keys = [key for key, fact in self.jobs.items() if fact.stage not in ENDS]
        for key in sorted(open_keys, key=lambda key: self.jobs[key].stage is Stage.QUEUED)[:seats]:
            spec, fact = self.steps[key].spec, self.jobs[key]
            self.ran.append(fact.job)
            failure = self.fails(spec)
            self.succeeded += [key] if failure is None else []
            self.jobs[key] = replace(
                fact,
                stage=Stage.SHIPPED if failure is None else Stage.FAILED,
                outcome=failure or Outcome.SUCCEEDED,
                metrics=self.measure(spec) if failure is None else {},
                seconds=1.0,
                attempts=1,
                ended_at=self.now,
            )

    def run_first(self) -> None:
        """Let as many jobs run as there are seats, the oldest first, without ending one."""
        queued = [key for key, fact in self.jobs.items() if fact.stage is Stage.QUEUED]
        for key in queued[: self.seats]:
            self.jobs[key] = replace(self.jobs[key], stage=Stage.BUILDING)

    def _withdraw(self) -> None:
        for key, fact in self.jobs.items():
            if fact.stage is Stage.QUEUED:
                self._cancel(key)

    def _cancel(self, key: str) -> None:
        self.jobs[key] = replace(self.jobs[key], stage=Stage.CANCELLED, outcome=Outcome.CANCELLED, ended_at=self.now)

    def _keep(self, action: KeepFloor) -> None:
        self.floors.append(action)
        self.calibrated = self.conditions
        if not self.trials:
            self.trials[0] = replace(self._trial(0, action.config), state=TrialState.JUDGED, ended_at=self.now)
            self._move(0, action.config)

    def _ask(self, number: int) -> None:
        self.moved = False
        for place, earlier in enumerate(self.proposals):
            if earlier.number == number and earlier.state is State.OPEN:
                self.proposals[place] = replace(earlier, state=State.REJECTED)
        self.proposals.append(self._proposal(number, {**self.config, **self.suggest(number)}))

    def _admit(self, proposal: Proposal) -> None:
        place = self.proposals.index(proposal)
        self.proposals[place] = replace(proposal, state=State.ADMITTED)
        self.trials[proposal.number] = self._trial(proposal.number, applied_config(self.definition, proposal))

    def _judge(self, action: JudgeRuns) -> None:
        decided = action.decided
        trial = self.trials[action.number]
        assert trial.state is TrialState.RUNNING
        self.trials[action.number] = replace(
            trial,
            state=TrialState.CONFIRMING if decided.promoted else TrialState.JUDGED,
            ended_at=self.now,
            verdict=decided.verdict,
            failure=decided.failure,
        )
        if decided.promoted:
            self._move(action.number, trial.config)

    def _confirm(self, action: Confirm) -> None:
        trial = self.trials[action.number]
        assert trial.state is TrialState.CONFIRMING
        self.trials[action.number] = replace(
            trial, state=TrialState.JUDGED, ended_at=self.now, confirmation=action.answer
        )
        if action.answer.state is Confirmation.ROLLED_BACK:
            before = self.promotions[-2]
            self._move(before.trial, before.config)

    def _move(self, trial: int, config: Mapping[str, Json]) -> None:
        self.promotions.append(
            Promotion(
                product=PRODUCT,
                campaign=CAMPAIGN,
                trial=trial,
                checkpoint=None,
                samples=None,
                config=config,
                reason="",
                at=self.now,
            )
        )
        present = present_config(self.definition, config)
        self.config = {name: present[name] for name in self.definition.knobs}

    def _trial(self, number: int, config: Mapping[str, Json]) -> Trial:
        return Trial(
            product=PRODUCT,
            campaign=CAMPAIGN,
            number=number,
            proposal=None,
            config=config,
            state=TrialState.RUNNING,
            started_at=self.now,
            ended_at=None,
            verdict=None,
            metrics={},
            seconds={},
        )

    def _proposal(self, number: int, config: Mapping[str, Json]) -> Proposal:
        subject = Subject(config_digest="", code_commit="", evaluation_digest="", cost_ceiling="", pool="local")
        texts: Mapping[str, str] = dict.fromkeys(
            ("parent_digest", "why_not_identical", "rationale", "hypothesis", "rollback", "source", "refusal"), ""
        )
        return Proposal(
            id=ProposalId(f"proposal-{len(self.proposals)}"),
            product=PRODUCT,
            campaign=CAMPAIGN,
            number=number,
            config=config,
            changes=(),
            risk=Risk.LOW,
            subject=subject,
            state=State.OPEN,
            created_at=self.now,
            **texts,
        )


def story(world: PilotWorld) -> Sequence[tuple[object, ...]]:
    """Return what must not depend on when a loop was killed: every trial's end, and how the baseline moved."""
    trials = [
        (
            trial.number,
            trial.state,
            dict(trial.config),
            trial.failure,
            None if trial.verdict is None else trial.verdict.as_json(),
            trial.confirmation,
        )
        for trial in world.judged_and_open()
    ]
    moves = [(move.trial, dict(move.config)) for move in world.promotions]
    return [*trials, *moves]
