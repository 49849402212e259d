"""A factory to test with: an engine that writes down what it is told, and programs given as plain text."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import PilothouseError, Unreachable
from pilothouse.factory.attempt import Attempt, Surroundings
from pilothouse.factory.gpus import GpuPool
from pilothouse.factory.heart import Heart
from pilothouse.factory.loop import Factory, FactorySettings, Leaving
from pilothouse.fleet import capability
from pilothouse.fleet.job import JobSpec, Progress, Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId, ProductId
from pilothouse.launch.local import LocalLauncher
from pilothouse.ports.dispatch import Beat, Command, Held, Offer

WAIT_SECONDS = 30.0
SPEC = JobSpec(
    kind="train", command=(), config={"learning_rate": 0.5}, seed=11, campaign="c", trial=2, grace_seconds=10.0
)
"""A spec without a command, for `offer_for` to fill in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a claim asked for."""

    factory: FactoryName
    boot: BootId
    seats: int
    held: tuple[tuple[JobId, Epoch], ...]
    pools: Collection[str] | None
    jobs: int


class RecordingDispatch:
    """Hands out the offers it was given and records what it is told; `fails` may raise in place of an answer.

    `claims`, `starts` and `beats` hold the arguments in the order of the parameters; `reports`, and the `resume_steps`
    of the starts, are by job and epoch.
    `orders` go out with the next beat, `draining` and `lease_seconds` with each. An answer to a claim that is to be
    lost (`lose_answers`) has assigned its jobs all the same, so they are offered again.
    """

    def __init__(self) -> None:
        self.claims: list[Asked] = []
        self.starts: list[tuple[JobId, Epoch, int, float]] = []
        self.resume_steps: dict[tuple[JobId, Epoch], int | None] = {}
        self.beats: list[tuple[FactoryName, BootId, tuple[Held, ...]]] = []
        self.reports: dict[tuple[JobId, Epoch], Report] = {}
        self.fails: Callable[[str], PilothouseError | None] = lambda _: None
        self.lease_seconds = 30.0
        self.draining = False
        self.lose_answers = 0
        self._orders: list[Command] = []
        self._offers: list[Offer] = []
        self._assigned: dict[tuple[JobId, Epoch], Offer] = {}
        self._changed = threading.Condition()

    @property
    def progress(self) -> list[Progress]:
        """Return the signs of life told so far."""
        told = [held.progress for _, _, said in self.beats for held in said]
        return [progress for progress in told if progress is not None]

    def offer(self, *offers: Offer) -> None:
        """Let the next claims have them."""
        with self._changed:
            self._offers += offers
            self._changed.notify_all()

    def order(self, *commands: Command) -> None:
        """Give the commands with the next beat."""
        with self._changed:
            self._orders += commands

    def drain(self) -> None:
        """Let the next beat say that the factory drains, and answer the claim that waits."""
        with self._changed:
            self.draining = True
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
        seats: int,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
    ) -> Sequence[Offer]:
        """Answer with what was assigned and is not held, and with the next offers that fit, waiting for one."""
        with self._answering("claim"):
            asked = Asked(factory=factory, boot=boot, seats=seats, held=tuple(held), pools=pools, jobs=jobs)
            self.claims.append(asked)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._offers or self._forgotten(held) or self.draining, timeout=wait_seconds)
            answer = self._forgotten(held)
            while (
                self._offers
                and not self.draining
                and len(answer) < jobs
                and _seats(answer) + self._offers[0].spec.seats <= seats
            ):
                answer.append(self._offers.pop(0))
            self._assigned |= {(offer.job, offer.epoch): offer for offer in answer}
            if answer and self.lose_answers:
                self.lose_answers -= 1
                raise Unreachable("the answer was lost", fix="ask again")
            return answer

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, resume_step: int | None = None) -> None:
        """Record a start."""
        with self._answering("start"):
            self.starts.append((job, epoch, pid, pid_started))
            self.resume_steps[job, epoch] = resume_step

    def beat(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Beat:
        """Record a beat, and give out the orders."""
        with self._answering("beat"):
            self.beats.append((factory, boot, tuple(held)))
            orders, self._orders = tuple(self._orders), []
            return Beat(lease_seconds=self.lease_seconds, commands=orders, draining=self.draining)

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Record a report; the first one of an epoch counts."""
        with self._answering("complete"):
            self._assigned.pop((job, epoch), None)
            self.reports.setdefault((job, epoch), report)

    def _forgotten(self, held: Collection[tuple[JobId, Epoch]]) -> list[Offer]:
        return [offer for name, offer in self._assigned.items() if name not in held]

    @contextmanager
    def _answering(self, verb: str) -> Iterator[None]:
        error = self.fails(verb)
        if error is not None:
            raise error
        with self._changed:
            yield
            self._changed.notify_all()


class Bench:
    """A factory in this process, on a home of its own, with `seats`, `engines` and `abilities` to be set before."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.dispatch = RecordingDispatch()
        self.blobs = LocalBlobs(home / "blobs")
        self.gone = threading.Event()
        self.stop = threading.Event()
        self.engines: dict[str, tuple[str, ...]] = {}
        self.abilities: capability.Offer | None = None
        self.settings = FactorySettings()
        self.gpus = GpuPool(tuple)

    @property
    def around(self) -> Surroundings:
        """Return what attempts work with here."""
        abilities = self.abilities
        return Surroundings(
            dispatch=self.dispatch,
            launcher=LocalLauncher({"PATH": os.defpath}),
            blobs=self.blobs,
            home=self.home,
            work_folder=self.home,
            gone=self.gone,
            monotonic=time.monotonic,
            engines=self.engines,
            abilities=None if abilities is None else lambda: abilities,
            gpus=self.gpus,
        )

    @property
    def factory(self) -> Factory:
        """Return a factory, not yet running."""
        return Factory(name=FactoryName("bench"), boot=BootId("boot-1"), around=self.around, settings=self.settings)

    def offer_for(
        self, program: str, *, job: str = "job-1", epoch: int = 1, earlier: Collection[int] = (), spec: JobSpec = SPEC
    ) -> Offer:
        """Return an offer that runs this Python text, with what else the spec says."""
        script = self.home / f"{job}_{epoch}.py"
        script.write_text(program, encoding="utf-8")
        given = spec.command or spec.engine
        return Offer(
            job=JobId(job),
            epoch=Epoch(epoch),
            product=ProductId("p"),
            key="k",
            spec=spec if given else dataclasses.replace(spec, command=("python", str(script))),
            folder=f"runs/{job}/attempt-{epoch}",
            lease_seconds=self.dispatch.lease_seconds,
            earlier_folders=tuple(f"runs/{job}/attempt-{number}" for number in earlier),
        )

    def folder(self, epoch: int = 1, *, job: str = "job-1") -> Path:
        """Return the run folder of an attempt."""
        return self.home / "runs" / job / f"attempt-{epoch}"

    def run(self, offer: Offer, *, meanwhile: Callable[[], None] | None = None) -> Report | None:
        """Run the offer to its end in this thread, doing `meanwhile` beside it; return what was reported."""
        beside = threading.Thread(target=meanwhile, daemon=True)
        beside.start()
        attempt = Attempt(offer, self.around, stop=self.stop)
        with Heart(
            self.dispatch, factory=FactoryName("bench"), boot=BootId("boot-1"), monotonic=time.monotonic
        ) as heart:
            self.until(lambda: heart.left_seconds > 0)
            hold = heart.hold(offer.job, offer.epoch, bury=attempt.bury)
            assert hold is not None, "an attempt is held once"
            attempt.run(hold)
        beside.join(WAIT_SECONDS)
        assert not beside.is_alive(), "what happens meanwhile hangs"
        return self.dispatch.reports.get((offer.job, offer.epoch))

    @contextmanager
    def working(self) -> Iterator[Working]:
        """Let a factory work beside the block; it is stopped after it, unless it has left by itself."""
        working = Working(self.factory, self.stop)
        try:
            yield working
        finally:
            self.stop.set()
            working.leaves()

    def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition of the outside world."""
        idle, deadline = threading.Event(), time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "the condition never came true"
            idle.wait(0.01)

    def pid(self, name: str, *, epoch: int = 1, job: str = "job-1") -> int:
        """Wait until the program has left its process number in a file of its run folder."""
        path = self.folder(epoch, job=job) / name
        self.until(lambda: path.exists() and path.read_text(encoding="utf-8").endswith("\n"))
        return int(path.read_text(encoding="utf-8"))


class Working:
    """A factory's loop in a thread of its own."""

    def __init__(self, factory: Factory, stop: threading.Event) -> None:
        self.factory = factory
        self._left: list[Leaving] = []
        self._thread = threading.Thread(target=lambda: self._left.append(factory.run(stop)), daemon=True)
        self._thread.start()

    def leaves(self) -> Leaving:
        """Wait until the factory leaves, and return why it did."""
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive(), "the factory does not leave"
        return self._left[0]


def _seats(offers: Sequence[Offer]) -> int:
    return sum(offer.spec.seats for offer in offers)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
