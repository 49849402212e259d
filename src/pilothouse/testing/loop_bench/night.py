"""One campaign in memory: the autopilot's own decisions over a surface, without jobs, files or a database.

What decides is the product's: `next_action` with its looks, the judge behind them, `draft`, what a proposer is told,
and the proposers. This only plays the store and the fleet: what is handed over has run at the next look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.arms import Ran
from pilothouse.campaigns.autopilot import Ask, AutopilotFacts, Confirm, JudgeRuns, KeepFloor, Withdraw, next_action
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.record import Promotion, Trial, TrialState
from pilothouse.campaigns.source import read_definition
from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.campaigns.stop_rules import Stuck
from pilothouse.campaigns.wanted import applied_config, present_config
from pilothouse.canonical import Json
from pilothouse.evidence.noise_floor import Conditions
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import CampaignName, JobId, ProductId, ProposalId
from pilothouse.operations.autopilot_facts import search_from
from pilothouse.operations.judge_runs import mean_metrics
from pilothouse.ports.proposer import Proposer
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.promotion import Confirmation
from pilothouse.proposals.proposal import Proposal, State, Subject
from pilothouse.proposals.search import Suggestion
from pilothouse.testing.loop_bench.surfaces import HIGH, LOW, Surface

PRODUCT, CAMPAIGN = ProductId("bench"), CampaignName("night")
START = datetime(2026, 1, 1, tzinfo=UTC)
HERE = Conditions(code="bench", hardware="bench", data="bench")
TURNS_MAX = 100_000

FILE = """\
[campaign]
name = "night"
kind = "autopilot"

[trainer]
command = ["none"]

[metrics.height]
direction = "min"
primary = true

[autopilot]
seed = {seed}
"""

KNOB = """
[knobs.x{index}]
type = "float"
default = {default!r}
min = {low!r}
max = {high!r}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a search stands after so many proposals and evaluations: the noiseless height of what it would choose."""

    proposals: int
    evaluations: int
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """How a search went. `kept` counts the moves of what it would choose, `worse` those to a truly higher place."""

    stands: tuple[Stand, ...]
    kept: int
    worse: int
    rolled_back: int = 0

    def after_proposals(self, count: int) -> float:
        """Return the height that was chosen after so many proposals."""
        return [stand.height for stand in self.stands if stand.proposals <= count][-1]

    def after_evaluations(self, count: int) -> float:
        """Return the height that was chosen after so many evaluations."""
        return [stand.height for stand in self.stands if stand.evaluations <= count or stand.proposals == 0][-1]


def definition_of(start: Sequence[float], *, seed: int) -> AutopilotDefinition:
    """Return a campaign that begins at `start`, with every rule at its default."""
    knobs = "".join(
        KNOB.format(index=index, default=value, low=LOW, high=HIGH) for index, value in enumerate(start, start=1)
    )
    text = FILE.format(seed=seed) + knobs
    definition = read_definition(text, name="night.toml")
    assert isinstance(definition, AutopilotDefinition)
    return definition


@dataclass(kw_only=True)
class Night:
    """The stored state of one campaign, and how it came there."""

    definition: AutopilotDefinition
    surface: Surface
    proposer: Proposer
    now: datetime = START
    jobs: dict[str, StepFact] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    trials: dict[int, Trial] = field(default_factory=dict)
    promotions: list[Promotion] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    stands: list[Stand] = field(default_factory=list)
    worse: int = 0
    config: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin at the campaign's defaults."""
        self.config = {name: table.default for name, table in self.definition.knobs.items()}
        self._stand(0)

    def run(self, *, proposals: int, evaluations: int) -> Trace:
        """Return how it went until so many proposals were judged and so many evaluations spent, or nothing was left."""
        for _ in range(TURNS_MAX):
            judged = sum(trial.state is TrialState.JUDGED for trial in self.trials.values()) - 1
            if judged >= proposals and len(self.jobs) >= evaluations:
                break
            if not self.turn():
                break
        confirmed = [trial.confirmation.state for trial in self.trials.values() if trial.confirmation is not None]
        return Trace(
            stands=tuple(self.stands),
            kept=sum(state is Confirmation.CONFIRMED for state in confirmed),
            worse=self.worse,
            rolled_back=sum(state is not Confirmation.CONFIRMED for state in confirmed),
        )

    def turn(self) -> bool:
        """Carry out one action; return whether there was one."""
        self.now += timedelta(seconds=1)
        action = next_action(self.definition, self._facts())
        match action:
            case Submit(beside=beside):
                self._submit(beside)
            case Await():
                self._work()
            case KeepFloor():
                self._keep(action)
            case Ask():
                return self._ask(action.number)
            case Admit():
                self._admit(action.proposal)
            case JudgeRuns():
                self._judge(action)
            case Confirm():
                self._confirm(action)
            case Finished() | Failed() | Stuck() | Withdraw():
                return False
        return True

    def _facts(self) -> AutopilotFacts:
        return AutopilotFacts(
            step=self.jobs.get,
            trials=list(self.trials.values()),
            promotions=self.promotions,
            proposals={proposal.number: proposal for proposal in self.proposals},
            spent_hours=0.0,
            since=START,
            trials_max=None,
            config=present_config(self.definition, self.config),
            conditions=HERE,
            calibrated=HERE if self.trials else None,
        )

    def _submit(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.key not in self.jobs:
                self.steps[step.key] = step
                self.jobs[step.key] = StepFact(job=JobId(step.key), generation=0, stage=Stage.QUEUED)
                self.waiting.append(step.key)

    def _work(self) -> None:
        for key in self.waiting:
            spec = self.steps[key].spec
            self.jobs[key] = replace(
                self.jobs[key],
                stage=Stage.SHIPPED,
                outcome=Outcome.SUCCEEDED,
                metrics={"height": self.surface.measure(place_of(spec.config), spec.seed)},
                ended_at=self.now,
            )
        self.waiting.clear()

    def _keep(self, action: KeepFloor) -> None:
        self.trials[0] = replace(
            self._trial(0, action.config, None), state=TrialState.JUDGED, metrics=mean_metrics(action.runs)
        )
        self._move(0, action.config)

    def _ask(self, number: int) -> bool:
        search = search_from(
            self.definition,
            parent=self.config,
            proposals=self.proposals,
            trials=list(self.trials.values()),
            base=self.promotions[-1].trial,
        )
        suggestion = self.proposer.propose(search)
        if suggestion is None:
            return False
        made = draft(
            Draft(parent=search.parent, overrides=suggestion.overrides, knobs=search.knobs, budget=search.budget)
        )
        self.proposals.append(self._proposal(number, suggestion, made))
        return True

    def _admit(self, proposal: Proposal) -> None:
        self.proposals[self.proposals.index(proposal)] = replace(proposal, state=State.ADMITTED)
        self.trials[proposal.number] = self._trial(
            proposal.number, applied_config(self.definition, proposal), proposal.id
        )

    def _judge(self, action: JudgeRuns) -> None:
        decided = action.decided
        self.trials[action.number] = trial = replace(
            self.trials[action.number],
            state=TrialState.CONFIRMING if decided.promoted else TrialState.JUDGED,
            verdict=decided.verdict,
            failure=decided.failure,
            metrics=_means(decided.sides.candidate),
        )
        if decided.promoted:
            self._move(trial.number, trial.config)
        self._stand(trial.number)

    def _confirm(self, action: Confirm) -> None:
        trial, before = self.trials[action.number], self.promotions[-2]
        self.trials[action.number] = replace(trial, state=TrialState.JUDGED, confirmation=action.answer)
        if action.answer.state is not Confirmation.CONFIRMED:
            self._move(before.trial, before.config)
        elif self._height(trial.config) > self._height(before.config):
            self.worse += 1
        self._stand(trial.number)

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

    def _proposal(self, number: int, suggestion: Suggestion, made: Drafted) -> Proposal:
        return Proposal(
            id=ProposalId(f"proposal-{number}"),
            product=PRODUCT,
            campaign=CAMPAIGN,
            number=number,
            parent_digest="",
            config=made.config,
            changes=made.changes,
            why_not_identical=suggestion.why_not_identical,
            rationale=suggestion.rationale,
            hypothesis=suggestion.hypothesis,
            risk=suggestion.risk,
            rollback=suggestion.rollback,
            source=suggestion.source,
            subject=Subject(config_digest="", code_commit="", evaluation_digest="", cost_ceiling="", pool=""),
            state=State.OPEN,
            created_at=self.now,
            refusal="",
        )

    def _stand(self, proposals: int) -> None:
        self.stands.append(Stand(proposals=proposals, evaluations=len(self.jobs), height=self._height(self.config)))

    def _height(self, config: Mapping[str, Json]) -> float:
        return self.surface.height(place_of(config))

    def _trial(self, number: int, config: Mapping[str, Json], proposal: ProposalId | None) -> Trial:
        return Trial(
            product=PRODUCT,
            campaign=CAMPAIGN,
            number=number,
            proposal=proposal,
            config=config,
            state=TrialState.RUNNING,
            started_at=self.now,
            ended_at=self.now,
            verdict=None,
            metrics={},
            seconds={},
        )


def place_of(config: Mapping[str, Json]) -> list[float]:
    """Return the coordinates that a config stands for."""
    return [float(str(config[f"x{index}"])) for index in range(1, len(config) + 1)]


def _means(runs: Sequence[Ran]) -> dict[str, float]:
    return mean_metrics(runs) if runs else {}
