"""Advance one campaign: read the facts, decide, act, and wait for the fleet in between.

Every act is one transaction that is harmless to repeat, so the loop may be killed between any two statements.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, assert_never

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.flywheel import (
    Action,
    Admit,
    Await,
    Failed,
    Finished,
    GoldenDrift,
    Judge,
    LockGolden,
    Propose,
    Submit,
    next_action,
)
from pilothouse.campaigns.record import Campaign, GoldenSet, Trial
from pilothouse.canonical import Json
from pilothouse.engine.engine import Engine
from pilothouse.engine.loop_events import LoopEvent, StepDone, StepSeen, TrialJudged
from pilothouse.errors import (
    ArtifactDamaged,
    GoldenSetChanged,
    IterationFailed,
    NotApproved,
    PilothouseError,
    StorageFailed,
)
from pilothouse.evidence.verdict import Verdict
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ArtifactDigest, JobId, ProposalId, mint
from pilothouse.monitoring.response import advice
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.campaign_facts import Session, campaign_facts
from pilothouse.operations.draft_proposal import draft_proposal
from pilothouse.operations.halt_campaign import Trouble, fail_campaign, finish_campaign
from pilothouse.operations.judge_trial import begin_baseline, compare, judge_trial
from pilothouse.operations.samples import read_samples
from pilothouse.operations.submit_step import RUN_KINDS, submit_step
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Transaction

WAIT_SECONDS = 0.25
"""How often progress is looked at while a job runs; a change of stage wakes the loop at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParts:
    """What the loop works with; `code_commit` reads the commit of the working folder when it is called."""

    engine: Engine
    blobs: Blobs
    clock: Clock
    code_commit: Callable[[], str]
    tell: Callable[[LoopEvent], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The stop was asked for; the next start goes on where this one was."""


Ending: TypeAlias = Finished | Stopped


@dataclass(kw_only=True)
class CampaignLoop:
    """One start of a campaign's loop. `run` returns when nothing is left to do, or when it is told to stop."""

    parts: LoopParts
    definition: Definition
    campaign: Campaign
    session: Session
    overrides: dict[str, Json]
    _told: set[JobId] = field(default_factory=set)

    def run(self, stop: threading.Event) -> Ending:
        """Advance until finished or stopped; what stops it is recorded on the campaign and then raised.

        Only a missing approval is no failure: the campaign stays ready, and its open proposal says what it waits for.
        """
        try:
            while not stop.is_set():
                seen = self.parts.engine.changes
                ending = self._advance(self._decide(), seen)
                if ending is not None:
                    return ending
        except NotApproved:
            raise
        except PilothouseError as error:
            self.fail(error)
            raise
        return Stopped()

    def fail(self, error: PilothouseError) -> None:
        """Record why the campaign cannot go on; on a disk that takes nothing the error itself must do."""
        trouble = Trouble(label=f"stopped: {type(error).__name__}", error=error.message, next_action=error.fix)
        with suppress(StorageFailed):
            self._apply(lambda tx, now: fail_campaign(tx, self.campaign, trouble, now=now))

    def _decide(self) -> Action:
        with self.parts.engine.read() as tx:
            return next_action(
                self.definition, campaign_facts(tx, self.campaign, self.session, moved=bool(self.overrides))
            )

    def _advance(self, action: Action, seen: int) -> Finished | None:
        """Act on one decision; return it when it was the last."""
        match action:
            case Submit():
                self._submit(action)
            case Await():
                self._look(action)
                self.parts.engine.wait_change(seen, timeout_seconds=WAIT_SECONDS)
            case LockGolden():
                self._lock(action)
            case Propose():
                self._propose(action)
            case Admit():
                self._admit(action)
            case Judge():
                self._judge(action)
            case GoldenDrift():
                raise _drift(action)
            case Failed():
                raise _failure(action)
            case Finished():
                return self._finish(action)
            case unknown:
                assert_never(unknown)
        return None

    def _mint(self, kind: str) -> str:
        return mint(kind, now=self.parts.clock.now(), entropy=self.parts.clock.entropy())

    def _apply(self, act: Callable[[Transaction, datetime], None]) -> None:
        """Run one act as one transaction of the writer, at the time it is asked for."""
        now = self.parts.clock.now()
        self.parts.engine.apply(lambda tx: act(tx, now))

    def _submit(self, action: Submit) -> None:
        # A run is one job, so the two share their id, which is also the name of the folder it writes to.
        kind = self.campaign.name if action.step.spec.kind in RUN_KINDS else "job"
        job = JobId(self._mint(kind))
        now = self.parts.clock.now()
        self.parts.engine.apply(lambda tx: submit_step(tx, action, campaign=self.campaign, job=job, now=now))

    def _look(self, action: Await) -> None:
        """Tell the presenter how the awaited job stands."""
        with self.parts.engine.read() as tx:
            job = tx.jobs.by_id(action.fact.job)
            attempts = tx.jobs.attempts(action.fact.job)
        if job is not None:
            progress = attempts[-1].progress if attempts else None
            self.parts.tell(StepSeen(job=job, spec=action.step.spec, progress=progress))

    def _lock(self, action: LockGolden) -> None:
        golden = GoldenSet(
            product=self.campaign.product,
            campaign=self.campaign.name,
            name=action.name,
            digest=action.digest,
            looks=0,
        )
        self._apply(lambda tx, _: tx.campaigns.lock_golden(golden))

    def _propose(self, action: Propose) -> None:
        commit, identity = self.parts.code_commit(), ProposalId(self._mint("proposal"))

        def act(tx: Transaction, now: datetime) -> None:
            draft_proposal(
                tx,
                action,
                definition=self.definition,
                campaign=self._stored(tx),
                overrides=self.overrides,
                code_commit=commit,
                identity=identity,
                now=now,
            )

        self._apply(act)
        self.overrides = {}

    def _admit(self, action: Admit) -> None:
        commit = self.parts.code_commit()

        def act(tx: Transaction, now: datetime) -> None:
            admit_proposal(
                tx,
                action.proposal,
                definition=self.definition,
                campaign=self._stored(tx),
                code_commit=commit,
                now=now,
            )

        self._apply(act)

    def _judge(self, action: Judge) -> None:
        """Compare outside the transaction, since it reads files, and record inside one."""
        try:
            verdict = self._verdict(action)
        except ArtifactDamaged as error:
            broken = ArtifactDigest(error.artifact)
            self._apply(lambda tx, now: _mark_damaged(tx, self.campaign, broken, now=now))
            return
        now = self.parts.clock.now()
        judged = self.parts.engine.apply(
            lambda tx: judge_trial(
                tx,
                action,
                definition=self.definition,
                campaign=self.campaign,
                trial=self._trial(tx, action.number, now),
                verdict=verdict,
                now=now,
            )
        )
        self._tell_done(action)
        self.parts.tell(TrialJudged(trial=judged.trial, promoted=judged.promoted))

    def _verdict(self, action: Judge) -> Verdict | None:
        if action.baseline is None:
            return None
        _, metric = self.definition.primary()
        assert metric.column is not None, "the definition refuses a primary metric without a column"
        baseline, candidate = (
            read_samples(self.parts.blobs.path(digest), column=metric.column, cluster=self.definition.decision.cluster)
            for digest in (action.baseline, action.samples)
        )
        return compare(self.definition, baseline=baseline, candidate=candidate)

    def _tell_done(self, action: Judge) -> None:
        with self.parts.engine.read() as tx:
            jobs = [(tx.jobs.by_id(fact.job), step.spec, fact.seconds) for step, fact in action.steps]
        for job, spec, seconds in jobs:
            if job is not None and job.stage is Stage.SHIPPED and job.id not in self._told:
                self._told.add(job.id)
                self.parts.tell(StepDone(job=job, spec=spec, seconds=seconds))

    def _trial(self, tx: Transaction, number: int, now: datetime) -> Trial:
        stored = {trial.number: trial for trial in tx.campaigns.trials(self.campaign.product, self.campaign.name)}
        return stored[number] if number in stored else begin_baseline(self.definition, self.campaign, now=now)

    def _stored(self, tx: Transaction) -> Campaign:
        stored = tx.campaigns.get(self.campaign.product, self.campaign.name)
        assert stored is not None, f"campaign {self.campaign.name} was opened before its loop began"
        return stored

    def _finish(self, action: Finished) -> Finished:
        if action.final:
            self._apply(lambda tx, _: finish_campaign(tx, self.campaign, reason=action.reason))
        return action


def _mark_damaged(tx: Transaction, campaign: Campaign, digest: ArtifactDigest, *, now: datetime) -> None:
    tx.jobs.mark_damaged(campaign.product, digest, now=now)


def _drift(action: GoldenDrift) -> GoldenSetChanged:
    return GoldenSetChanged(
        f"golden set {action.name!r} was locked at {action.expected[:16]}…, found {action.found[:16]}…"
        if len(action.found) == len(action.expected)
        else f"golden set {action.name!r}, locked at {action.expected[:16]}…, has {action.found}",
        fix="restore it with `pilothouse campaign run FILE --restore-golden` (it must come out the same), "
        "or give the changed set another name",
    )


def _failure(action: Failed) -> IterationFailed:
    """Say which step ended how, and what a person can do."""
    fact, spec = action.fact, action.step.spec
    ended = fact.outcome.value if fact.outcome is not None else fact.stage.value
    return IterationFailed(
        f"trial {spec.trial}, step {spec.kind} ({fact.job}) ended {ended}: {fact.detail or 'no detail'}",
        fix=f"{advice(fact.outcome or Outcome.CANCELLED)}; see `pilothouse job logs {fact.job}`, then run again",
    )
