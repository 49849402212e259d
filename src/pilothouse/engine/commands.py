"""What is asked of the engine's one thread, and how each asker gets the answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from pilothouse.canonical import Json
from pilothouse.errors import StillPending
from pilothouse.fleet.job import Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.operations.claim import Handover
from pilothouse.ports.dispatch import Beat, Held
from pilothouse.ports.store import Transaction

if TYPE_CHECKING:
    from pilothouse.engine.scheduler import Scheduler

T = TypeVar("T")
Loops = dict[asyncio.AbstractEventLoop, list["asyncio.Future[None]"]]


class Asked:
    """Somebody's command and the place where its answer is put.

    A thread waits by `wait`; a coroutine by the future that `attach` gives it, which is set once for a whole batch.
    """

    __slots__ = ("_answered", "_error", "_future")

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._answered: threading.Lock | None = None
        self._future: asyncio.Future[None] | None = None

    def refuse(self, error: BaseException) -> None:
        """Keep the error until it may be told; it replaces a result."""
        self._error = error

    @property
    def refused(self) -> bool:
        """Whether an error is the answer."""
        return self._error is not None

    def attach(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Return the future that is set when the answer is there."""
        self._future = loop.create_future()
        return self._future

    def hold(self) -> None:
        """Prepare for a thread that waits; a bare lock is the cheapest latch there is."""
        self._answered = threading.Lock()
        self._answered.acquire()

    def tell(self, loops: Loops) -> None:
        """Let the asker go on; those of an event loop are collected, to be woken together."""
        if self._answered is not None:
            self._answered.release()
        if self._future is not None:
            loops.setdefault(self._future.get_loop(), []).append(self._future)

    def _await_answer(self, timeout_seconds: float) -> None:
        assert self._answered is not None, "`hold` comes before `wait`"
        if not self._answered.acquire(timeout=timeout_seconds):
            raise StillPending(
                f"the writer has not answered within {timeout_seconds:g} s; the change may still be made",
                fix="read the present state before you repeat the command",
            )


class Command(Asked, Generic[T]):
    """A command with an answer of one type."""

    __slots__ = ("_result",)

    def __init__(self) -> None:
        super().__init__()
        self._result: list[T] = []

    def answer(self, result: T) -> None:
        """Keep the result until it may be told."""
        self._result = [result]

    def value(self) -> T:
        """Return the result or raise the error that was kept."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def wait(self, *, timeout_seconds: float) -> T:
        """Return the result or raise the error; `StillPending` when it is not there in time."""
        self._await_answer(timeout_seconds)
        return self.value()


class Act(Command[T]):
    """Something done in the transaction of its batch, in a savepoint of its own."""

    __slots__ = ("_act",)

    def __init__(self, act: Callable[[Transaction], T]) -> None:
        super().__init__()
        self._act = act

    def perform(self, tx: Transaction) -> None:
        """Do it, and keep the answer."""
        self.answer(self._act(tx))


class Look(Command[T]):
    """Something read from the engine's memory, or put into it, between two commands."""

    __slots__ = ("_look",)

    def __init__(self, look: Callable[[Scheduler], T]) -> None:
        super().__init__()
        self._look = look

    def perform(self, scheduler: Scheduler) -> None:
        """Do it, and keep the answer."""
        self.answer(self._look(scheduler))


class Claim(Command[Sequence[Handover]]):
    """A factory wants work; `deadline` is the monotonic time until which it waits for some."""

    __slots__ = ("boot", "deadline", "factory", "held", "jobs", "pools", "seats", "weights")

    def __init__(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        seats: int,
        deadline: float,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
        weights: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__()
        self.factory = factory
        self.boot = boot
        self.seats = seats
        self.deadline = deadline
        self.held = held
        self.pools = pools
        self.jobs = jobs
        self.weights = weights


Ended = tuple[JobId, Epoch, Report]


class Complete(Command[Sequence[Exception | None]]):
    """How attempts ended; the answer has None for each that was taken in, and the refusal of each that was not."""

    __slots__ = ("ended", "factory")

    def __init__(self, ended: Sequence[Ended], *, factory: FactoryName | None = None) -> None:
        super().__init__()
        self.ended = ended
        self.factory = factory


class Heartbeat(Command[Beat]):
    """A factory lives, and says what it holds."""

    __slots__ = ("boot", "factory", "held")

    def __init__(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> None:
        super().__init__()
        self.factory = factory
        self.boot = boot
        self.held = held


def wake(loops: Loops) -> None:
    """Wake the coroutines of each loop together; one whose loop has closed needs no answer."""
    for loop, answered in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, answered)
        except RuntimeError:
            if not loop.is_closed():
                raise


def _resolve(answered: Sequence[asyncio.Future[None]]) -> None:
    for future in answered:
        if not future.done():
            future.set_result(None)
