"""A world for the flywheel's planner: it carries out actions in memory, as the loop and the fleet would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pilothouse.campaigns.action import Admit, Await, Submit
from pilothouse.campaigns.flywheel import Action, FlywheelFacts, Judge, LockGolden, Propose, next_action
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import GoldenSet, Promotion, Trial, TrialState
from pilothouse.campaigns.source import read_definition
from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.campaigns.wanted import applied_config
from pilothouse.canonical import digest
from pilothouse.fleet.job import Artifact, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, CampaignName, JobId, ProductId, ProposalId
from pilothouse.proposals.proposal import Proposal, Risk, State, Subject

PRODUCT, CAMPAIGN = ProductId("default"), CampaignName("little")
START = datetime(2026, 1, 1, tzinfo=UTC)

TEXT = """\
[campaign]
name = "little"
kind = "flywheel"

[trainer]
command = ["python", "train.py"]

[metrics.gap]
direction = "min"
primary = true
column = "regret"

[golden.wide]
seeds = "30:40"

[flywheel]
first_seed = 0
seeds_per_iteration = 10
golden = "wide"
generate = { command = ["python", "generate.py"] }
tokenise = { command = ["python", "tokenise.py"] }
evaluate = { command = ["python", "evaluate.py"] }
"""


def little_definition(extra: str = "") -> FlywheelDefinition:
    """Return a small definition; `extra` is appended to the file."""
    definition = read_definition(TEXT + extra, name="little.toml")
    assert isinstance(definition, FlywheelDefinition)
    return definition


@dataclass(kw_only=True)
class World:
    """The stored state. `promotes` decides which trials improve."""

    definition: FlywheelDefinition
    promotes: Callable[[int], bool] = lambda _: True
    trials_max: int | None = None
    restore_golden: bool = False
    now: datetime = START
    jobs: dict[str, StepFact] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    submitted: list[str] = field(default_factory=list)
    trials: dict[int, Trial] = field(default_factory=dict)
    promotions: list[Promotion] = field(default_factory=list)
    golden: dict[str, GoldenSet] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)
    damaged: set[ArtifactDigest] = field(default_factory=set)
    since: datetime = START

    def facts(self, *, spent_hours: float = 0.0) -> FlywheelFacts:
        """Return the snapshot that the planner sees."""
        return FlywheelFacts(
            step=self.jobs.get,
            trials=sorted(self.trials.values(), key=lambda trial: trial.number),
            promotions=list(self.promotions),
            golden=dict(self.golden),
            proposals=dict(self.proposals),
            damaged=frozenset(self.damaged),
            spent_hours=spent_hours,
            since=self.since,
            trials_max=self.trials_max,
            restore_golden=self.restore_golden,
        )

    def next(self) -> Action:
        """Return what the planner wants now."""
        return next_action(self.definition, self.facts())

    def turn(self) -> Action:
        """Carry out one action; the fleet finishes a job when it is awaited."""
        self.now += timedelta(seconds=1)
        action = self.next()
        match action:
            case Submit():
                self._submit(action)
            case Await():
                self.ship(action.step)
            case LockGolden():
                self.golden[action.name] = GoldenSet(
                    product=PRODUCT, campaign=CAMPAIGN, name=action.name, digest=action.digest, looks=0
                )
            case Propose():
                self.proposals[action.number] = proposal(action.number)
            case Admit():
                self._admit(action)
            case Judge():
                self._judge(action)
            case _:
                pass
        return action

    def until(self, kind: type[Action]) -> Action:
        """Turn until an action of this kind is carried out."""
        for _ in range(500):
            action = self.turn()
            if isinstance(action, kind):
                return action
        raise AssertionError(f"no {kind} in 500 turns")

    def ship(self, step: Step) -> None:
        """End the step's job with its promised artifacts; the same step always makes the same bytes."""
        made = {name: artifact(step, name) for name in step.spec.artifacts}
        self.damaged -= {each.digest for each in made.values()}
        self.jobs[step.key] = replace(
            self.jobs[step.key], stage=Stage.SHIPPED, outcome=Outcome.SUCCEEDED, artifacts=made, ended_at=self.now
        )

    def fail(self, step: Step, outcome: Outcome) -> None:
        """End the step's job without a result."""
        self.jobs[step.key] = replace(self.jobs[step.key], stage=Stage.FAILED, outcome=outcome, ended_at=self.now)

    def damage(self, key: str) -> None:
        """Mark every output of the step as damaged."""
        fact = self.jobs[key]
        self.damaged |= {each.digest for each in fact.artifacts.values()}
        self.jobs[key] = replace(fact, artifacts={})

    def keys(self, kind: str) -> list[str]:
        """Return the keys submitted for a kind of step, in order, repeats included."""
        return [key for key in self.submitted if f"/{kind}/" in key]

    def _submit(self, action: Submit) -> None:
        key = action.step.key
        self.submitted.append(key)
        self.steps[key] = action.step
        self.jobs[key] = StepFact(
            job=JobId(f"{key}#{action.generation}"), generation=action.generation, stage=Stage.QUEUED
        )

    def _admit(self, action: Admit) -> None:
        number = action.proposal.number
        self.proposals[number] = replace(action.proposal, state=State.ADMITTED)
        self.trials[number] = replace(
            trial(number, TrialState.RUNNING), config=applied_config(self.definition, action.proposal)
        )

    def _judge(self, action: Judge) -> None:
        self.trials[action.number] = trial(action.number, TrialState.JUDGED)
        if action.number == 0 or self.promotes(action.number):
            self.promotions.append(
                Promotion(
                    product=PRODUCT,
                    campaign=CAMPAIGN,
                    trial=action.number,
                    checkpoint=action.checkpoint,
                    samples=action.samples,
                    config={},
                    reason="",
                    at=self.now,
                )
            )


def artifact(step: Step, name: str) -> Artifact:
    """Return what the step makes under a name."""
    content = ArtifactDigest(digest([step.key, name]))
    return Artifact(name=name, digest=content, size_bytes=1, meta={"content": content})


def trial(number: int, state: TrialState) -> Trial:
    """Return a trial without results."""
    return Trial(
        product=PRODUCT,
        campaign=CAMPAIGN,
        number=number,
        proposal=None,
        config={},
        state=state,
        started_at=START,
        ended_at=None,
        verdict=None,
        metrics={},
        seconds={},
    )


def proposal(number: int) -> Proposal:
    """Return an open proposal of a trial."""
    subject = Subject(config_digest="", code_commit="", evaluation_digest="", cost_ceiling="", pool="local")
    texts: Mapping[str, str] = dict.fromkeys(
        ("parent_digest", "why_not_identical", "rationale", "hypothesis", "rollback", "source", "refusal"), ""
    )
    return Proposal(
        id=ProposalId(f"proposal-{number}"),
        product=PRODUCT,
        campaign=CAMPAIGN,
        number=number,
        config={},
        changes=(),
        risk=Risk.LOW,
        subject=subject,
        state=State.OPEN,
        created_at=START,
        **texts,
    )
