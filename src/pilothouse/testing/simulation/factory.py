"""A factory as the server sees it: what it holds, what it was told, and what it has not got rid of yet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pilothouse.errors import LeaseLost, PilothouseError
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Cost, Outcome, Progress, Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.claim import Handover
from pilothouse.ports.dispatch import Beat, Held, Word

Holding = tuple[JobId, Epoch]

LEASE_SECONDS = 90.0
"""What a factory that claims before it has beaten takes its lease to be; the same as the core's."""
TASK_SECONDS = 60.0
"""How long an attempt takes on average."""

ENDINGS: Sequence[tuple[float, Outcome]] = (
    (0.80, Outcome.SUCCEEDED),
    (0.10, Outcome.CRASHED),
    (0.03, Outcome.OUT_OF_MEMORY),
    (0.03, Outcome.TIMED_OUT),
    (0.02, Outcome.LAUNCH_FAILED),
    (0.02, Outcome.VERIFY_FAILED),
)


@dataclass(slots=True)
class Task:
    """An attempt that runs on a factory; times are monotonic."""

    seats: int
    ends_at: float
    outcome: Outcome
    usd: float | None
    began: float
    told: bool = False
    step: int = 0
    deaf: bool = False


@dataclass(slots=True)
class SimulatedFactory:
    """A machine that claims, runs, beats and reports, and that can lose its power or its network."""

    offer: Factory
    rng: np.random.Generator
    boots: int = 1
    up: bool = True
    partitioned: bool = False
    running: dict[Holding, Task] = field(default_factory=dict)
    ended: dict[Holding, Report] = field(default_factory=dict)
    lease_until: float = 0.0

    @property
    def name(self) -> FactoryName:
        """Its name."""
        return self.offer.name

    @property
    def boot(self) -> BootId:
        """The present incarnation."""
        return BootId(f"{self.name}-{self.boots}")

    @property
    def reachable(self) -> bool:
        """Whether it can say anything."""
        return self.up and not self.partitioned

    @property
    def free(self) -> int:
        """Seats that nothing runs on."""
        return self.offer.seats - sum(task.seats for task in self.running.values())

    @property
    def holds(self) -> list[Holding]:
        """Every attempt that it knows of, the ended ones that nobody has taken in included."""
        return [*self.running, *self.ended]

    def signs(self) -> list[Held]:
        """Return what a beat says of them."""
        found = []
        for job, epoch in self.holds:
            task = self.running.get((job, epoch))
            progress = (
                None if task is None else Progress(step=task.step, total=None, values={}, checkpoint_step=task.step)
            )
            found.append(Held(job=job, epoch=epoch, progress=progress))
        return found

    def lose_power(self) -> None:
        """Forget everything; it comes back under another boot."""
        self.running, self.ended, self.up = {}, {}, False

    def begin_anew(self) -> None:
        """Boot."""
        self.running, self.ended, self.up = {}, {}, True
        self.boots += 1
        self.lease_until = 0.0

    def pass_time(self, now: float) -> None:
        """End what has come to its end, and everything when the lease could not be renewed in time."""
        if self.running and now >= self.lease_until:
            self.running = {}
        for held, task in list(self.running.items()):
            task.step += 1
            if now >= task.ends_at:
                del self.running[held]
                self.ended[held] = self._report(task, now)

    def _report(self, task: Task, now: float) -> Report:
        done = task.outcome is Outcome.SUCCEEDED
        return Report(
            outcome=task.outcome,
            detail="" if done else "as the seed would have it",
            exit_code=0 if done else 1,
            metrics={"loss": round(task.began, 3)} if done else {},
            artifacts=(),
            seconds=now - task.began,
            cost=Cost(usd=task.usd),
        )

    def take(self, handovers: Sequence[Handover], *, sent_at: float, now: float, calm: bool) -> None:
        """Run what it was handed; the same attempt may be handed over again."""
        self.lease_until = max(self.lease_until, sent_at + LEASE_SECONDS)
        for handover in handovers:
            held = (handover.job, handover.epoch)
            if held in self.running or held in self.ended:
                continue
            for job, epoch in [each for each in self.holds if each[0] == handover.job and each[1] < handover.epoch]:
                self._forget((job, epoch))
            self.running[held] = self._task(json.loads(handover.spec), now=now, calm=calm)

    def _task(self, spec: dict[str, object], *, now: float, calm: bool) -> Task:
        cost = spec["cost"]
        usd = cost.get("usd") if isinstance(cost, dict) else None
        seats = spec["seats"]
        assert isinstance(seats, int)
        return Task(
            seats=seats,
            ends_at=now + float(self.rng.exponential(TASK_SECONDS)),
            outcome=Outcome.SUCCEEDED if calm else self._ending(),
            usd=None if usd is None or self.rng.random() < 0.2 else round(float(usd) * float(self.rng.random()), 6),
            began=now,
            deaf=bool(not calm and self.rng.random() < 0.15),
        )

    def _ending(self) -> Outcome:
        drawn = float(self.rng.random())
        for share, outcome in ENDINGS:
            drawn -= share
            if drawn < 0:
                return outcome
        return Outcome.SUCCEEDED

    def hear(self, beat: Beat, *, sent_at: float, now: float) -> None:
        """Take in the answer to a beat: the lease counts from before it was asked."""
        self.lease_until = max(self.lease_until, sent_at + beat.lease_seconds)
        for command in beat.commands:
            held = (command.job, command.epoch)
            task = self.running.get(held)
            if command.word is Word.LOST:
                self._forget(held)
            elif task is not None and not task.deaf:
                task.ends_at, task.outcome = now + min(command.seconds, 5.0), Outcome.PREEMPTED

    def settle(self, held: Holding) -> None:
        """Forget an ended attempt whose report was answered, whatever the answer."""
        self.ended.pop(held, None)

    def refused(self, error: PilothouseError) -> None:
        """Begin anew when the session is over; whatever else went wrong is tried again."""
        if isinstance(error, LeaseLost):
            self.begin_anew()

    def _forget(self, held: Holding) -> None:
        self.running.pop(held, None)
        self.ended.pop(held, None)
