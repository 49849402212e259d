"""A factory to test with: an engine that writes down what it is told, and programs given as plain text."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import PilothouseError
from pilothouse.factory.attempt import Surroundings, run_attempt
from pilothouse.factory.loop import Factory
from pilothouse.fleet.job import Job, JobSpec, Priority, Progress, Report
from pilothouse.fleet.stages import Stage
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, ProductId
from pilothouse.launch.local import LocalLauncher
from pilothouse.ports.dispatch import Offer

WAIT_SECONDS = 30.0
SPEC = JobSpec(
    kind="train", command=(), config={"learning_rate": 0.5}, seed=11, campaign="c", trial=2, grace_seconds=10.0
)
"""A spec without a command, for `offer_for` to fill in."""


class RecordingDispatch:
    """Hands out the offers it was given and records what it is told; `fails` may raise in place of an answer.

    `claims`, `starts` and `renewals` hold the arguments in the order of the parameters; `reports` are by job and epoch.
    """

    def __init__(self) -> None:
        self.claims: list[tuple[FactoryName, BootId, Collection[str] | None, int | None]] = []
        self.starts: list[tuple[JobId, Epoch, int, float]] = []
        self.renewals: list[tuple[JobId, Epoch, Progress | None]] = []
        self.reports: dict[tuple[JobId, Epoch], Report] = {}
        self.fails: Callable[[str], PilothouseError | None] = lambda _: None
        self._offers: list[Offer] = []
        self._changed = threading.Condition()

    @property
    def progress(self) -> list[Progress]:
        """Return the signs of life told so far."""
        return [progress for _, _, progress in self.renewals if progress is not None]

    def offer(self, offer: Offer) -> None:
        """Let the next claim have it."""
        with self._changed:
            self._offers.append(offer)
            self._changed.notify_all()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that was told makes the condition true."""
        with self._changed:
            assert self._changed.wait_for(condition, timeout=WAIT_SECONDS), "the factory never told it"

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        pools: Collection[str] | None = None,
        seats: int | None = None,
    ) -> Offer | None:
        """Answer with the next offer, waiting for one."""
        with self._answering("claim"):
            self.claims.append((factory, boot, pools, seats))
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._offers, timeout=wait_seconds)
            return self._offers.pop(0) if self._offers else None

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float) -> None:
        """Record a start."""
        with self._answering("start"):
            self.starts.append((job, epoch, pid, pid_started))

    def renew(self, job: JobId, *, epoch: Epoch, progress: Progress | None) -> None:
        """Record a renewal."""
        with self._answering("renew"):
            self.renewals.append((job, epoch, progress))

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Record a report; the first one of an epoch counts."""
        with self._answering("complete"):
            self.reports.setdefault((job, epoch), report)

    @contextmanager
    def _answering(self, verb: str) -> Iterator[None]:
        error = self.fails(verb)
        if error is not None:
            raise error
        with self._changed:
            yield
            self._changed.notify_all()


class Bench:
    """A factory in this process, on a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dispatch = RecordingDispatch()
        self.blobs = LocalBlobs(home / "blobs")
        self.gone = threading.Event()
        self.stop = threading.Event()

    @property
    def factory(self) -> Factory:
        """Return the factory, not yet running."""
        around = Surroundings(
            dispatch=self.dispatch,
            launcher=LocalLauncher({"PATH": os.defpath}),
            blobs=self.blobs,
            home=self.home,
            work_folder=self.home,
            gone=self.gone,
            monotonic=time.monotonic,
        )
        return Factory(name=FactoryName("bench"), boot=BootId("boot-1"), around=around)

    def offer_for(
        self,
        program: str,
        *,
        epoch: int = 1,
        earlier: Collection[int] = (),
        lease_seconds: float = 30.0,
        spec: JobSpec = SPEC,
    ) -> Offer:
        """Return an offer of job-1 that runs this Python text, with what else the spec says."""
        script = self.home / f"program_{epoch}.py"
        script.write_text(program, encoding="utf-8")
        job = Job(
            id=JobId("job-1"),
            product=ProductId("p"),
            pool="local",
            key="k",
            stage=Stage.ASSIGNED,
            epoch=Epoch(epoch),
            priority=Priority.MEDIUM,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            seats=1,
            factory=FactoryName("bench"),
            boot=BootId("boot-1"),
            lease_expires_at=None,
            failures=0,
            preemptions=0,
            losses=0,
        )
        folders = tuple(f"runs/job-1/attempt-{number}" for number in earlier)
        return Offer(
            job=job,
            spec=spec if spec.command else dataclasses.replace(spec, command=("python", str(script))),
            folder=f"runs/job-1/attempt-{epoch}",
            resume_folder=folders[0] if folders else None,
            lease_seconds=lease_seconds,
            earlier_folders=folders,
        )

    def folder(self, epoch: int = 1) -> Path:
        """Return the run folder of an attempt."""
        return self.home / "runs" / "job-1" / f"attempt-{epoch}"

    def run(self, offer: Offer, *, meanwhile: Callable[[], None] | None = None) -> Report | None:
        """Run the offer to its end, doing `meanwhile` beside it; return what was reported."""
        asked_at = time.monotonic()
        beside = threading.Thread(target=meanwhile, daemon=True)
        beside.start()
        run_attempt(offer, self.factory.around, asked_at=asked_at, stop=self.stop)
        beside.join(WAIT_SECONDS)
        assert not beside.is_alive(), "what happens meanwhile hangs"
        return self.dispatch.reports.get((offer.job.id, offer.job.epoch))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition of the outside world."""
        idle, deadline = threading.Event(), time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            idle.wait(0.01)

    def pid(self, name: str, *, epoch: int = 1) -> int:
        """Wait until the program has left its process number in a file of its run folder."""
        path = self.folder(epoch) / name
        self.until(lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"))
        return int(path.read_text(encoding="utf-8"))


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
