"""What must be true after every step, whatever has gone wrong.

    one live epoch per job      an epoch is handed to one boot only, and only words of the live epoch are taken in
    epochs only grow            between any two looks, and by every claim
    terminal is terminal        a job that has ended keeps its stage and its epoch
    no lost job                 what was told to be stored is there
    parents after children      what waits is claimed only once everything that it needs has come far enough
    budgets                     reserved and spent stay below the ceiling plus one attempt
    capacity                    no factory is given more than it has

When the faults are over, every job must come to an end, and the recorded history must pass `fleet.history.check`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pilothouse.canonical import Json
from pilothouse.fleet.budget import Unit, millionths
from pilothouse.fleet.graph import met
from pilothouse.fleet.history import Claimed, Completed, Submitted, Told, check
from pilothouse.fleet.job import Attempt, EdgeKind, Job, Outcome, Report
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, JobNumber, ProductId
from pilothouse.operations.budgets import standings
from pilothouse.operations.claim import Handover
from pilothouse.ports.store import Transaction
from pilothouse.testing.fleet_facts import history_of, jobs_of

Attempted = tuple[JobId, Epoch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that must never be, and the event that showed it."""

    seed: int
    event: int
    what: str
    detail: str
    job: JobId | None = None

    def as_json(self) -> dict[str, Json]:
        """Return the violation as JSON values."""
        return {"seed": self.seed, "event": self.event, "what": self.what, "job": self.job, "detail": self.detail}


@dataclass(slots=True)
class Watch:
    """Everything that the outside has seen of one run, and the violations found so far."""

    seed: int
    products: tuple[ProductId, ...]
    event: int = 0
    found: list[Violation] = field(default_factory=list)
    needs: dict[JobId, list[tuple[JobId, EdgeKind]]] = field(default_factory=dict)
    costs: dict[ProductId, float] = field(default_factory=dict)
    ceilings: dict[ProductId, float] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    jobs: dict[JobId, Job] = field(default_factory=dict)
    _moves: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)
    _names: dict[int, JobId] = field(default_factory=dict)
    _met: set[tuple[JobId, EdgeKind]] = field(default_factory=set)
    _handed: dict[Attempted, tuple[FactoryName, BootId]] = field(default_factory=dict)
    _taken: set[Attempted] = field(default_factory=set)

    def complain(self, what: str, detail: str, *, job: JobId | None = None) -> None:
        """Keep a violation."""
        self.found.append(Violation(seed=self.seed, event=self.event, what=what, detail=detail, job=job))

    # --- what the server said

    def submitted(self, job: Job) -> None:
        """Note that a job was told to be stored."""
        self.told.append(Submitted(job=job.id))

    def handed(self, handover: Handover, *, factory: FactoryName, boot: BootId) -> None:
        """Note that an attempt was given to a boot; the same one may be given to the same boot again."""
        attempt = (handover.job, handover.epoch)
        before = self._handed.setdefault(attempt, (factory, boot))
        self.told.append(Claimed(job=handover.job, epoch=handover.epoch, factory=factory))
        if before != (factory, boot):
            detail = f"epoch {handover.epoch} was given to {before[1]} and to {boot}"
            self.complain("one live epoch per job", detail, job=handover.job)
        latest = max((epoch for job, epoch in self._handed if job == handover.job), default=handover.epoch)
        if handover.epoch < latest:
            detail = f"epoch {handover.epoch} was given to {boot} after epoch {latest}"
            self.complain("epochs only grow", detail, job=handover.job)

    def started(self, job: Job, epoch: Epoch) -> None:
        """Note that a start of an epoch was taken in, and the job as it left it."""
        if job.epoch != epoch or job.stage not in LEASED:
            detail = f"a start of epoch {epoch} was taken in, and the job is {job.stage.value} at epoch {job.epoch}"
            self.complain("one live epoch per job", detail, job=job.id)

    def completed(self, job: JobId, epoch: Epoch, report: Report, *, stored: Attempt | None) -> None:
        """Note that a report was taken in, and the attempt as it is stored; the same report may be taken in again."""
        self._taken.add((job, epoch))
        if report.outcome is Outcome.SUCCEEDED:
            self.told.append(Completed(job=job, epoch=epoch, accepted=True))
        if stored is None or stored.outcome is not report.outcome:
            kept = "nothing" if stored is None or stored.outcome is None else stored.outcome.value
            detail = f"{report.outcome.value} was taken in for epoch {epoch}, and {kept} is kept of it"
            self.complain("one live epoch per job", detail, job=job)

    # --- what the store holds

    def look(self, tx: Transaction, *, moves: Mapping[int, tuple[int, int, int]], now: datetime) -> None:
        """Compare the store with what it was at the last look; `moves` tell which jobs have to be read again."""
        for number in self._moves.keys() - moves.keys():
            self.complain("no lost job", "it was there, and is gone", job=self._names[number])
        changed = [tx.jobs.by_number(JobNumber(each)) for each, move in moves.items() if self._moves.get(each) != move]
        self._moves = moves
        jobs = [job for job in changed if job is not None]
        self._met.update((job.id, kind) for job in jobs for kind in EdgeKind if met(kind, job.stage))
        for job in jobs:
            before = self.jobs.get(job.id)
            if before is not None:
                self._compare(before, job)
            self.jobs[job.id] = job
            self._names[job.number] = job.id
        self._look_at_budgets(tx, now=now)
        self._look_at_capacity(tx)

    def _compare(self, before: Job, job: Job) -> None:
        moved = f"{before.stage.value} at epoch {before.epoch}, then {job.stage.value} at epoch {job.epoch}"
        if job.epoch < before.epoch:
            self.complain("epochs only grow", moved, job=job.id)
        if before.stage in ENDS:
            self.complain("terminal is terminal", moved, job=job.id)
        if job.stage is Stage.ASSIGNED and before.stage is not Stage.ASSIGNED and job.epoch <= before.epoch:
            self.complain("epochs only grow", f"claimed without a new epoch: {moved}", job=job.id)
        if job.stage in LEASED and before.stage not in LEASED:
            for need, kind in self.needs.get(job.id, ()):
                if (need, kind) not in self._met:
                    self.complain("parents after children", f"claimed before {need} was {kind.value}", job=job.id)

    def _look_at_budgets(self, tx: Transaction, *, now: datetime) -> None:
        for product, ceiling in self.ceilings.items():
            for standing in standings(tx, product, now=now):
                used = standing.balance.reserved.of(Unit.USD) + standing.balance.spent.of(Unit.USD)
                most = millionths(ceiling + self.costs.get(product, 0.0))
                if used > most:
                    self.complain("budgets", f"{product} has {used / 1e6:g} USD reserved and spent of {most / 1e6:g}")

    def _look_at_capacity(self, tx: Transaction) -> None:
        factories = {factory.name: factory for factory in tx.factories.listed(None)}
        seats: dict[tuple[FactoryName, BootId], int] = {}
        for job in tx.jobs.leased():
            if job.factory is None or job.boot is None:
                self.complain("one live epoch per job", "it is held by nobody", job=job.id)
            elif job.stop_at is None:
                place = (job.factory, job.boot)
                seats[place] = seats.get(place, 0) + job.seats
        for (name, boot), taken in seats.items():
            if taken > factories[name].seats:
                self.complain("capacity", f"{boot} was given {taken} seats and has {factories[name].seats}")

    def counts(self) -> dict[str, int]:
        """Return how much was seen, which tells a quiet run from a busy one."""
        ends = [job for job in self.jobs.values() if job.stage in ENDS]
        return {
            "attempts": len(self._handed),
            "reports_taken": len(self._taken),
            "preemptions": sum(job.preemptions for job in self.jobs.values()),
            "losses": sum(job.losses for job in self.jobs.values()),
            "shipped": sum(job.stage is Stage.SHIPPED for job in ends),
            "ended": len(ends),
        }

    # --- when it is over

    def end(self, tx: Transaction) -> None:
        """Check that everything has ended, and the whole recorded history."""
        jobs = [job for product in self.products for job in jobs_of(tx, product)]
        for job in jobs:
            if job.stage not in ENDS:
                detail = (
                    f"it is {job.stage.value} at epoch {job.epoch} and waits for {job.waiting}, long after all faults"
                )
                self.complain("every runnable job runs", detail, job=job.id)
        for wrong in check(history_of(tx, jobs), told=self.told, over=False):
            self.complain(f"history: {wrong.violation.value}", f"{wrong.operation}", job=wrong.job)
