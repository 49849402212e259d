"""What is asked of the engine's one thread, and how each asker gets the answer."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextvars import Context
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
Loops = dict[asyncio.AbstractEventLoop, list["Asked"]]


class Asked:
    """Somebody's command and the place where its answer is put.

    A thread waits by `wait`. A coroutine awaits the command itself, which is to the event loop what a future is, but
    for one thing: all that were answered by one batch go on from one callback of their loop. A future of its own for
    each would be a callback each, and at ten thousand answers a second those cost more than the answers.
    """

    __slots__ = ("_answered", "_asyncio_future_blocking", "_context", "_error", "_goes_on", "_loop", "_over", "_why")

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._answered: threading.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._goes_on: Callable[[Asked], object] | None = None
        self._context: Context | None = None
        self._why: BaseException | None = None
        self._over = False
        self._asyncio_future_blocking = False

    def refuse(self, error: BaseException) -> None:
        """Keep the error until it may be told; it replaces a result."""
        self._error = error

    @property
    def refused(self) -> bool:
        """Whether an error is the answer."""
        return self._error is not None

    def tell(self, loops: Loops) -> None:
        """Let the asker go on; those of an event loop are collected, to be woken together."""
        loop = self._loop
        if loop is not None:
            together = loops.get(loop)
            if together is None:
                together = loops[loop] = []
            together.append(self)
        elif self._answered is not None:
            self._answered.release()

    # --- a thread that waits

    def hold(self) -> None:
        """Prepare for a thread that waits; a bare lock is the cheapest latch there is."""
        self._answered = threading.Lock()
        self._answered.acquire()

    def _await_answer(self, timeout_seconds: float) -> None:
        assert self._answered is not None, "`hold` comes before `wait`"
        if not self._answered.acquire(timeout=timeout_seconds):
            raise _pending(timeout_seconds)

    # --- a coroutine that waits: what asyncio asks of a future

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare for a coroutine that waits on this loop."""
        self._loop = loop

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop on which it is awaited."""
        assert self._loop is not None, "`attach` comes before `await`"
        return self._loop

    def add_done_callback(self, goes_on: Callable[[Asked], object], *, context: Context | None = None) -> None:
        """Keep how the one task that awaits this goes on."""
        self._goes_on, self._context = goes_on, context

    def result(self) -> None:
        """Raise what keeps the task from waiting any longer; without it there is an answer."""
        if self._why is not None:
            raise self._why

    def cancel(self, msg: object | None = None) -> bool:
        """Let the task go on at once, cancelled; the command is carried out all the same."""
        return self._give_up(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg))

    def expire(self, timeout_seconds: float) -> None:
        """Let the task go on without an answer."""
        self._give_up(_pending(timeout_seconds))

    def _give_up(self, why: BaseException) -> bool:
        if self._over:
            return False
        self._over, self._why = True, why
        if self._goes_on is not None:
            self.get_loop().call_soon(self._goes_on, self, context=self._context)
        return True

    def go_on(self) -> None:
        """Let the task go on now that the answer is there, unless it has given up; for the thread of its loop."""
        if self._over:
            return
        self._over = True
        if self._goes_on is None:
            return
        if self._context is None:
            self._goes_on(self)
        else:
            self._context.run(self._goes_on, self)


class Command(Asked, Generic[T]):
    """A command with an answer of one type."""

    __slots__ = ("_result",)

    _result: T

    def answer(self, result: T) -> None:
        """Keep the result until it may be told."""
        self._result = result

    def value(self) -> T:
        """Return the result or raise the error that was kept."""
        if self._error is not None:
            raise self._error
        return self._result

    def wait(self, *, timeout_seconds: float) -> T:
        """Return the result or raise the error; `StillPending` when it is not there in time."""
        self._await_answer(timeout_seconds)
        return self.value()

    def __await__(self) -> Generator[Asked, None, T]:
        if not self._over:
            self._asyncio_future_blocking = True
            yield self
        return self.value()


def _pending(timeout_seconds: float) -> StillPending:
    return StillPending(
        f"the writer has not answered within {timeout_seconds:g} s; the change may still be made",
        fix="read the present state before you repeat the command",
    )


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
    """A factory wants work; `deadline` is the monotonic time until which it waits for some, `handed` what it gets."""

    __slots__ = ("boot", "deadline", "factory", "handed", "held", "jobs", "pools", "seats", "weights")

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
        self.handed: list[Handover] = []


Ended = tuple[JobId, Epoch, Report]


class Complete(Command[Sequence[Exception | None]]):
    """How attempts ended; the answer has None for each that was taken in, and the refusal of each that was not."""

    __slots__ = ("ended", "factory", "refusals")

    def __init__(self, ended: Sequence[Ended], *, factory: FactoryName | None = None) -> None:
        super().__init__()
        self.ended = ended
        self.factory = factory
        self.refusals: list[Exception | None] = [None] * len(ended)


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
            loop.call_soon_threadsafe(_go_on, iter(answered))
        except RuntimeError:
            if not loop.is_closed():
                raise


def _go_on(answered: Iterator[Asked]) -> None:
    """Let the tasks go on one after the other; one that ends the loop leaves the others to its next turn."""
    try:
        for command in answered:
            command.go_on()
    except BaseException:
        for command in answered:
            command.get_loop().call_soon(command.go_on)
        raise


class Patience:
    """How long the coroutines of one loop wait: one timer for all of them, since hardly any ever runs out of time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: dict[Asked, tuple[float, float]] = {}
        self._looks_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, command: Asked, *, seconds: float) -> None:
        """Let a command that is awaited expire after so long."""
        due = self.loop.time() + seconds
        self._waiting[command] = (due, seconds)
        if due < self._looks_at:
            self._look_at(due)

    def end(self, command: Asked) -> None:
        """Forget a command that has its answer, or that nobody awaits any more."""
        del self._waiting[command]

    def _look_at(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = due
        self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        self._looks_at, self._timer = math.inf, None
        now = self.loop.time()
        for command, (due, seconds) in self._waiting.items():
            if due <= now:
                command.expire(seconds)
        left = min((due for due, _ in self._waiting.values() if due > now), default=math.inf)
        if left < math.inf:
            self._look_at(left)
