"""Advance one campaign: read the facts, decide, act, and wait for the fleet in between.

Every act is one transaction that is harmless to repeat, so the loop may be killed between any two statements. What all
kinds of loop do alike stands here; each kind decides for itself and adds its own acts.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeAlias, TypeVar

from pilothouse.campaigns.action import Admit, Await, Failed, Finished, Submit
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import RUN_KINDS, Campaign
from pilothouse.campaigns.steps import Step, StepFact
from pilothouse.canonical import Json
from pilothouse.engine.engine import Engine
from pilothouse.engine.loop_events import LoopEvent, StepDone, StepSeen
from pilothouse.errors import IterationFailed, NotApproved, PilothouseError, StorageFailed
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import JobId, mint
from pilothouse.monitoring.response import advice
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.campaign_facts import Session
from pilothouse.operations.halt_campaign import Trouble, fail_campaign, finish_campaign
from pilothouse.operations.submit_step import submit_step
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.clock import Clock
from pilothouse.ports.store import Transaction

WAIT_SECONDS = 0.25
"""How often progress is looked at while a job runs; a change of stage wakes the loop at once."""

D = TypeVar("D", bound=Definition)
A = TypeVar("A")


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
class CampaignLoop(ABC, Generic[D, A]):
    """One start of a campaign's loop. `run` returns when nothing is left to do, or when it is told to stop."""

    parts: LoopParts
    definition: D
    campaign: Campaign
    session: Session
    overrides: dict[str, Json]
    _told: set[JobId] = field(default_factory=set)

    @abstractmethod
    def decide(self) -> A:
        """Return what to do next, from one consistent snapshot."""

    @abstractmethod
    def act(self, action: A, seen: int) -> Finished | None:
        """Do it, and return the ending when it was the last; `seen` counts the engine's changes when it was decided."""

    def run(self, stop: threading.Event) -> Ending:
        """Advance until finished or stopped; what stops it is recorded on the campaign and then raised.

        Only a missing approval is no failure: the campaign stays ready, and its open proposal says what it waits for.
        """
        try:
            while not stop.is_set():
                seen = self.parts.engine.changes
                ending = self.act(self.decide(), seen)
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
            self.apply(lambda tx, now: fail_campaign(tx, self.campaign, trouble, now=now))

    def share(self, action: Submit | Await | Admit | Failed | Finished, seen: int) -> Finished | None:
        """Do what every kind of loop does alike."""
        match action:
            case Submit():
                self._submit(action)
            case Await():
                self._look(action)
                self.parts.engine.wait_change(seen, timeout_seconds=WAIT_SECONDS)
            case Admit():
                self._admit(action)
            case Failed():
                raise _failure(action)
            case Finished():
                return self._finish(action)
        return None

    def mint(self, kind: str) -> str:
        """Return a new id."""
        return mint(kind, now=self.parts.clock.now(), entropy=self.parts.clock.entropy())

    def apply(self, act: Callable[[Transaction, datetime], None]) -> None:
        """Run one act as one transaction of the writer, at the time it is asked for."""
        now = self.parts.clock.now()
        self.parts.engine.apply(lambda tx: act(tx, now))

    def stored(self, tx: Transaction) -> Campaign:
        """Return the campaign as it stands."""
        stored = tx.campaigns.get(self.campaign.product, self.campaign.name)
        assert stored is not None, f"campaign {self.campaign.name} was opened before its loop began"
        return stored

    def tell_done(self, steps: tuple[tuple[Step, StepFact], ...]) -> None:
        """Tell the presenter which steps have shipped, each once."""
        with self.parts.engine.read() as tx:
            jobs = [(tx.jobs.by_id(fact.job), step.spec, fact.seconds) for step, fact in steps]
        for job, spec, seconds in jobs:
            if job is not None and job.stage is Stage.SHIPPED and job.id not in self._told:
                self._told.add(job.id)
                self.parts.tell(StepDone(job=job, spec=spec, seconds=seconds))

    def _submit(self, action: Submit) -> None:
        # A run is one job, so the two share their id, which is also the name of the folder it writes to.
        kind = self.campaign.name if action.step.spec.kind in RUN_KINDS else "job"
        job = JobId(self.mint(kind))
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

    def _admit(self, action: Admit) -> None:
        commit = self.parts.code_commit()

        def act(tx: Transaction, now: datetime) -> None:
            admit_proposal(
                tx,
                action.proposal,
                definition=self.definition,
                campaign=self.stored(tx),
                code_commit=commit,
                now=now,
            )

        self.apply(act)

    def _finish(self, action: Finished) -> Finished:
        if action.final:
            self.apply(lambda tx, _: finish_campaign(tx, self.campaign, reason=action.reason))
        return action


def _failure(action: Failed) -> IterationFailed:
    """Say which step ended how, and what a person can do."""
    fact, spec = action.fact, action.step.spec
    ended = fact.outcome.value if fact.outcome is not None else fact.stage.value
    return IterationFailed(
        f"trial {spec.trial}, step {spec.kind} ({fact.job}) ended {ended}: {fact.detail or 'no detail'}",
        fix=f"{advice(fact.outcome or Outcome.CANCELLED)}; see `pilothouse job logs {fact.job}`, then run again",
    )
