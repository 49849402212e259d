"""What people do: submit jobs and families of jobs, cancel, review, ship, take back, and change the budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import numpy as np

from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import PilothouseError
from pilothouse.fleet.budget import Budget, Pause
from pilothouse.fleet.graph import Need, Plan, child_kind, dependency_kind
from pilothouse.fleet.job import ChildrenPolicy, Cost, DepsMode, Job, JobSpec, NewJob, Priority, Ship
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import JobId, ProductId
from pilothouse.operations import operate
from pilothouse.operations.budgets import pause_budget, resume_budget, set_budget
from pilothouse.operations.cancel import cancel
from pilothouse.operations.submit_manifest import store_plan
from pilothouse.ports.store import Transaction
from pilothouse.testing.simulation.server import Server
from pilothouse.testing.simulation.watch import Watch

T = TypeVar("T")

FREE, PAID = ProductId("free"), ProductId("paid")
PRODUCTS = (FREE, PAID)
"""One without a budget, and one with a ceiling that its jobs cross."""
PAID_SHARE = 0.35
CEILING_USD = 20.0
JOB_USD = 4.0
SEATS = 4
WINDOW_SECONDS = 10 * 366 * 86_400
"""So long that no jump of the clock begins another window."""
PRIORITY_SHARES = {Priority.CRITICAL: 0.15, Priority.HIGH: 0.2, Priority.MEDIUM: 0.45, Priority.LOW: 0.2}


class People:
    """They see what the watch saw last, and ask for what may have become impossible since."""

    def __init__(self, server: Server, watch: Watch, rng: np.random.Generator) -> None:
        self.counts: Counter[str] = Counter()
        self._server = server
        self._watch = watch
        self._rng = rng
        self._minted = 0

    def ask(self, act: Callable[[Transaction], T], *, then: Callable[[Scheduler, T], None] | None = None) -> None:
        """Ask for something; a refusal in words is an answer."""
        try:
            self._server.ask(act, then=then)
        except PilothouseError:
            self.counts["refused"] += 1

    def pick_job(self, *stages: Stage) -> Job | None:
        """Return any job, or any in one of these stages."""
        jobs = [job for job in self._watch.jobs.values() if not stages or job.stage in stages]
        return jobs[int(self._rng.integers(len(jobs)))] if jobs else None

    # --- jobs

    def submit(self) -> None:
        """Submit a job, with dependencies now and then."""
        new = self._new()
        count = int(self._rng.choice([0, 0, 0, 1, 2]))
        others = [job for job in (self.pick_job() for _ in range(count)) if job is not None]
        open_ = [job.id for job in others if job.product == new.product and job.stage not in ENDS]
        deps = tuple(dict.fromkeys(open_))
        kind = dependency_kind(new.spec.deps_mode)
        needs = tuple(Need(job=new.id, on=dep, kind=kind) for dep in deps)
        self._store(Plan(jobs=(replace(new, deps=deps),), needs=needs))

    def submit_family(self) -> None:
        """Submit a parent with children, of which one may wait for its sibling."""
        parent = self._new()
        children = [self._new(parent=parent) for _ in range(int(self._rng.integers(1, 4)))]
        kind = child_kind(parent.spec.children_policy)
        needs = [Need(job=parent.id, on=child.id, kind=kind) for child in children]
        if len(children) > 1:
            mode = dependency_kind(children[1].spec.deps_mode)
            needs.append(Need(job=children[1].id, on=children[0].id, kind=mode))
        self._store(Plan(jobs=(parent, *children), needs=tuple(needs)))

    def _store(self, plan: Plan) -> None:
        def store(tx: Transaction) -> list[Job]:
            return list(store_plan(tx, plan, parents={}, now=self._server.clock.now()))

        for need in plan.needs:
            self._watch.needs.setdefault(need.job, []).append((need.on, need.kind))
        try:
            for job in self._server.ask(store) or ():
                self._watch.submitted(job)
        except PilothouseError:
            self.counts["refused"] += 1

    def _new(self, *, parent: NewJob | None = None) -> NewJob:
        self._minted += 1
        product = (PAID if self._rng.random() < PAID_SHARE else FREE) if parent is None else parent.product
        name = f"job-{self._minted}"
        shares = list(PRIORITY_SHARES.values())
        return NewJob(
            id=JobId(name),
            product=product,
            pool="any",
            key=name,
            spec=self._spec(),
            priority=list(PRIORITY_SHARES)[int(self._rng.choice(len(shares), p=shares))],
            parent=None if parent is None else parent.id,
        )

    def _spec(self) -> JobSpec:
        draw, pick = self._rng.random, self._rng.choice
        gpus = int(draw() < 0.1)
        return JobSpec(
            kind="run",
            command=("true",),
            config={},
            seed=0,
            campaign="",
            trial=0,
            seats=int(pick([1, 1, 1, 2, 3, SEATS])),
            gpus=gpus,
            engine="codex" if draw() < 0.2 and not gpus else "",  # no factory has both
            lock="repository" if draw() < 0.1 else "",
            requires=("os:any",) if draw() < 0.1 else (),
            timeout_seconds=float(pick([60.0, 300.0, 1200.0])),
            restarts=int(self._rng.integers(3)),
            deps_mode=DepsMode.SOFT if draw() < 0.3 else DepsMode.HARD,
            children_policy=ChildrenPolicy.TERMINAL if draw() < 0.4 else ChildrenPolicy.SHIPPED,
            approvals=int(draw() < 0.08),
            ship=Ship.MANUAL if draw() < 0.08 else Ship.AUTO,
            cost=Cost(usd=round(float(self._rng.uniform(0.1, JOB_USD)), 3)),
        )

    # --- decisions

    def cancel(self) -> None:
        """Cancel a job."""
        job = self.pick_job()
        if job is not None:
            name = job.id
            self.ask(lambda tx: cancel(tx, name, now=self._server.clock.now()))

    def operate(self) -> None:
        """Decide about a job that has been made, or take one back that runs."""
        job = self.pick_job(Stage.REVIEW, Stage.TESTING, *LEASED)
        if job is None:
            return
        yes = bool(self._rng.random() < 0.8)
        if job.stage in LEASED and not yes:
            self._decide(lambda tx, now: operate.reject(tx, _again(tx, job), by="ada", reason="", now=now))
        elif job.stage is Stage.REVIEW:
            self.review(job, approved=yes)
        elif job.stage is Stage.TESTING and yes:
            self.ship(job)
        else:
            self._decide(lambda tx, now: operate.requeue(tx, _again(tx, job), by="ada", reason="", now=now))

    def review(self, job: Job, *, approved: bool) -> None:
        """Approve what a job has made, or decline it."""

        def decide(tx: Transaction, now: datetime) -> Job:
            return operate.decide(tx, _again(tx, job), reviewer="bo", approved=approved, reason="", now=now)

        self._decide(decide)

    def ship(self, job: Job) -> None:
        """Ship what a job has made."""
        self._decide(lambda tx, now: operate.ship(tx, _again(tx, job), by="ada", now=now))

    def _decide(self, act: Callable[[Transaction, datetime], Job]) -> None:
        self.ask(lambda tx: act(tx, self._server.clock.now()))

    # --- money

    def set_ceiling(self, usd: float, *, enforced: bool = True) -> None:
        """Set the ceiling of the paid product; it is never lowered here, so what was reserved stays below it."""
        budget = Budget(product=PAID, ceiling=Cost(usd=usd), window_seconds=WINDOW_SECONDS, enforced=enforced)
        self._watch.ceilings[PAID] = usd
        self._watch.costs[PAID] = JOB_USD
        self.ask(lambda tx: set_budget(tx, budget, now=self._server.clock.now()), then=_refund)

    def spend(self) -> None:
        """Raise the ceiling, pause the budget, or resume it."""
        drawn = self._rng.random()
        if drawn < 0.4:
            self.set_ceiling(self._watch.ceilings[PAID] + float(self._rng.uniform(2.0, 20.0)))
        elif drawn < 0.6:
            pause = Pause(by="ada", why="to look", at=self._server.clock.now())
            self.ask(lambda tx: pause_budget(tx, PAID, "", pause=pause), then=_refund)
        else:
            self.resume()

    def resume(self) -> None:
        """Resume the budget."""
        self.ask(lambda tx: resume_budget(tx, PAID, "", now=self._server.clock.now()), then=_refund)


def _refund(scheduler: Scheduler, result: object) -> None:
    del result
    scheduler.refund()


def _again(tx: Transaction, job: Job) -> Job:
    """Return the job as this transaction sees it."""
    found = tx.jobs.by_id(job.id)
    assert found is not None, f"job {job.id} was there"
    return found
