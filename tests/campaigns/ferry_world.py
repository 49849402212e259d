"""A world for the ferry's planner: it plays loop, gate, store and fleet in memory, one act at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from pilothouse.campaigns.action import Admit, Await, Submit
from pilothouse.campaigns.ferry import DRIFT_MINUTES, Action, DraftFerry, FerryFacts, JudgeFerry, Rest, next_action
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_failure import Failure, failure_of
from pilothouse.campaigns.ferry_record import Ferry, job_name
from pilothouse.campaigns.record import Trial, TrialState
from pilothouse.campaigns.source import read_definition
from pilothouse.campaigns.steps import StepFact
from pilothouse.campaigns.wanted import applied_config
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import CampaignName, JobId, ProductId, ProposalId, RunId
from pilothouse.proposals.gate import DRIFTED
from pilothouse.proposals.proposal import Proposal, Risk, State, Subject

START = datetime(2026, 11, 22, 6, tzinfo=UTC)
PRODUCT, CAMPAIGN = ProductId("default"), CampaignName("daily")

TEXT = """\
[campaign]
name = "daily"
kind = "ferry"

[trainer]
command = ["python", "train.py"]

[knobs.lr]
type = "float"
default = 0.1
min = 1e-6
max = 1e6
scale = "log"
max_step = 2.0

[metrics.loss]
direction = "min"
primary = true

[monitor]
restarts = 0

[ferry]
size = "125m"
"""
DAILY = '\n[ferry.schedule]\ncron = "0 6 * * *"\n'


def definition_of(text: str = TEXT) -> FerryDefinition:
    """Return the ferry in the text."""
    found = read_definition(text, name="daily.toml")
    assert isinstance(found, FerryDefinition)
    return found


@dataclass
class World:
    """What is stored, and what the fleet has; `now` and `commit` move when a test moves them."""

    definition: FerryDefinition = field(default_factory=definition_of)
    now: datetime = START
    commit: str = "c0"
    ceiling: str = ""
    since: datetime = START
    wait: bool = False
    approved: bool = False
    trials_max: int | None = None
    trials: dict[int, Trial] = field(default_factory=dict)
    proposals: list[Proposal] = field(default_factory=list)
    ferries: dict[int, Ferry] = field(default_factory=dict)
    jobs: dict[str, list[StepFact]] = field(default_factory=dict)
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    launches: list[tuple[JobId, str]] = field(default_factory=list)
    drafts: list[DraftFerry] = field(default_factory=list)

    def facts(self) -> FerryFacts:
        """Return the snapshot."""
        return FerryFacts(
            step=lambda key: self.jobs.get(key, [None])[-1],
            trials=[self.trials[number] for number in sorted(self.trials)],
            promotions=[],
            proposals={each.number: each for each in self.proposals},
            spent_hours=0.0,
            since=self.since,
            trials_max=self.trials_max,
            drifted=bool(self.trials) and self._subject() != self._newest(max(self.trials)).subject,
            ferries=[self.ferries[number] for number in sorted(self.ferries)],
            failures=self.failures,
            opened_at=START - timedelta(minutes=1),
            now=self.now,
            drifts=sum(
                each.refusal.startswith(DRIFTED) and each.created_at > self.now - timedelta(minutes=DRIFT_MINUTES)
                for each in self.proposals
            ),
            wait=self.wait,
            approved=self.approved,
        )

    def next(self) -> Action:
        """Return what the loop would do."""
        return next_action(self.definition, self.facts())

    def act(self, *, approve: bool = True) -> Action:
        """Do the next thing, as the loop and the store would, and return what it was."""
        action = self.next()
        match action:
            case DraftFerry():
                self._draft(action)
            case Admit() if approve:
                self._admit(action.proposal)
            case Submit():
                self._submit(action)
            case JudgeFerry():
                self._judge(action)
            case _:
                pass
        return action

    def until(self, kind: type | tuple[type, ...], *, turns: int = 50) -> Action:
        """Act until an action of this kind comes up, and return it undone."""
        for _ in range(turns):
            action = self.next()
            if isinstance(action, kind):
                return action
            self.act()
        raise AssertionError(f"{kind} never came up; the last was {self.next()}")

    def sail(self) -> Await:
        """Launch the next ferry and return what it waits for."""
        found = self.until(Await)
        assert isinstance(found, Await)
        return found

    def end(self, stage: Stage, outcome: Outcome, *, detail: str = "", evidence: str = "") -> StepFact:
        """Let the awaited job end so."""
        awaited = self.next()
        assert isinstance(awaited, Await), awaited
        fact = replace(
            awaited.fact,
            stage=stage,
            outcome=outcome,
            detail=detail,
            metrics={"loss": 1.0} if stage is Stage.SHIPPED else {},
            ended_at=self.now,
        )
        self.jobs[awaited.step.key][-1] = fact
        if stage is not Stage.SHIPPED:
            self.failures.setdefault(awaited.step.key, []).append(failure_of(fact, evidence))
        return fact

    def _draft(self, action: DraftFerry) -> None:
        self.drafts.append(action)
        number = action.number
        for place, earlier in enumerate(self.proposals):
            if earlier.number == number and earlier.state is State.OPEN:
                self.proposals[place] = replace(earlier, state=State.REJECTED, refusal="superseded")
        known = self.ferries.get(number)
        run = known.run if known is not None else RunId(f"daily-125m-{number}")
        tick = action.due.tick if action.due is not None else None
        if number not in self.trials:
            self.ferries[number] = Ferry(
                product=PRODUCT,
                campaign=CAMPAIGN,
                number=number,
                run=run,
                tick=tick,
                drafted_at=self.now,
                considered={},
            )
        self.proposals.append(
            Proposal(
                id=ProposalId(f"proposal-{len(self.proposals)}"),
                product=PRODUCT,
                campaign=CAMPAIGN,
                number=number,
                parent_digest="",
                config={"lr": 0.1},
                changes=(),
                why_not_identical=action.patch or "why",
                rationale="",
                hypothesis="",
                risk=Risk.LOW,
                rollback="",
                source="rules",
                subject=self._subject(),
                state=State.OPEN,
                created_at=self.now,
                refusal="",
            )
        )

    def _admit(self, proposal: Proposal) -> None:
        place = self.proposals.index(proposal)
        if proposal.subject != self._subject():
            self.proposals[place] = replace(proposal, state=State.REJECTED, refusal=f"{DRIFTED}: code_commit")
            return
        self.proposals[place] = replace(proposal, state=State.ADMITTED)
        self.trials[proposal.number] = Trial(
            product=PRODUCT,
            campaign=CAMPAIGN,
            number=proposal.number,
            proposal=proposal.id,
            config=applied_config(self.definition, proposal),
            state=TrialState.RUNNING,
            started_at=self.now,
            ended_at=None,
            verdict=None,
            metrics={},
            seconds={},
        )

    def _subject(self) -> Subject:
        """Return what a proposal would be bound to now."""
        return Subject(
            config_digest="c",
            code_commit=self.commit,
            evaluation_digest="e",
            cost_ceiling=self.ceiling,
            pool="local",
        )

    def _newest(self, number: int) -> Proposal:
        return next(each for each in reversed(self.proposals) if each.number == number)

    def _submit(self, action: Submit) -> None:
        jobs = self.jobs.setdefault(action.step.key, [])
        if len(jobs) > action.generation:
            return
        ferry = self.ferries[action.step.spec.trial]
        name = job_name(ferry.run, index=0, generation=action.generation)
        jobs.append(StepFact(job=name, generation=action.generation, stage=Stage.QUEUED))
        self.launches.append((name, self.commit))

    def _judge(self, action: JudgeFerry) -> None:
        trial = self.trials[action.number]
        failure = "" if action.failure is None else action.failure.kind.value
        self.trials[action.number] = replace(trial, state=TrialState.JUDGED, ended_at=self.now, failure=failure)
        self.ferries[action.number] = replace(
            self.ferries[action.number], judged={"failure": failure}, closed_at=self.now
        )


def resting(world: World) -> Rest:
    """Return the rest that the world has come to."""
    found = world.until(Rest)
    assert isinstance(found, Rest)
    return found


Outcomes = Callable[[World], None]
