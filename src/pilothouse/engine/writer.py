"""The one writer: it applies up to `BATCH_MAX` waiting commands in one transaction and answers after the commit.

    clients ──► pending ──► take all that wait ──► BEGIN  command, command, …  COMMIT ──► settle ──► answer each
                              (no timer: an idle writer takes one command at once)

One flush to the disk then serves many clients. Each command of a larger batch stands in a savepoint, so its error
undoes and reaches only itself; when the database fails, nothing of the batch is kept and every caller is told.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from pilothouse.errors import StillPending, StorageFailed
from pilothouse.fleet.job import Job
from pilothouse.ports.store import Store, Transaction

BATCH_MAX = 256
ANSWER_SECONDS = 60.0
"""How long a caller waits for its commit."""
POLL_SECONDS = 0.2
"""How soon an idle writer sees that its stop event was set by somebody who did not `poke` it."""

T = TypeVar("T")


class _Pending(Protocol):
    """A command of any result, as the writer handles it."""

    def execute(self, tx: Transaction) -> None: ...
    def refuse(self, error: BaseException) -> None: ...
    def answer(self) -> None: ...


class _Command(Generic[T]):
    """One client's command and the place where it waits for the answer."""

    __slots__ = ("_act", "_answered", "_error", "_result")

    def __init__(self, act: Callable[[Transaction], T]) -> None:
        self._act = act
        self._result: list[T] = []
        self._error: BaseException | None = None
        # A bare lock is the cheapest latch there is; an event per command would cost a condition each.
        self._answered = threading.Lock()
        self._answered.acquire()

    def execute(self, tx: Transaction) -> None:
        self._result.append(self._act(tx))

    def refuse(self, error: BaseException) -> None:
        self._error = error

    def answer(self) -> None:
        self._answered.release()

    def wait(self, *, timeout_seconds: float) -> T:
        if not self._answered.acquire(timeout=timeout_seconds):
            raise StillPending(
                f"the writer has not answered within {timeout_seconds:g} s; the change may still be made",
                fix="read the present state before you repeat the command",
            )
        if self._error is not None:
            raise self._error
        return self._result[0]


class Writer:
    """Applies commands one after another on the thread that calls `run`.

    `settle` is called after each commit, on that thread and before any answer, with the jobs that the commit changed.
    """

    def __init__(self, store: Store, *, settle: Callable[[Sequence[Job]], None]) -> None:
        self._store = store
        self._settle = settle
        self._wake = threading.Condition()
        self._pending: deque[_Pending] = deque()
        self._closed = False
        self._thread: int | None = None

    def apply(self, act: Callable[[Transaction], T], *, timeout_seconds: float = ANSWER_SECONDS) -> T:
        """Return what the act returned, once it is committed; raise what it raised, with nothing of it kept.

        `StillPending` tells that the time was over first; `StorageFailed` that the writer has stopped, or could not
        commit.
        """
        assert threading.get_ident() != self._thread, "a command must not ask the writer that is running it"
        command = _Command(act)
        with self._wake:
            if self._closed:
                raise _stopped()
            self._pending.append(command)
            self._wake.notify()
        return command.wait(timeout_seconds=timeout_seconds)

    def run(self, stop: threading.Event) -> None:
        """Apply commands until stopped; those that were accepted by then are still applied and answered."""
        self._thread = threading.get_ident()
        try:
            while batch := self._take(stop):
                self._apply(batch)
        finally:
            self._close()

    @property
    def waiting(self) -> int:
        """How many commands wait for their batch."""
        return len(self._pending)

    def poke(self) -> None:
        """Make an idle writer look at its stop event now."""
        with self._wake:
            self._wake.notify_all()

    def _take(self, stop: threading.Event) -> Sequence[_Pending]:
        """Return what waits, at most one batch; nothing when the writer was stopped and nothing waits."""
        with self._wake:
            while not self._pending and not stop.is_set():
                self._wake.wait(POLL_SECONDS)
            if stop.is_set():
                self._closed = True
            return [self._pending.popleft() for _ in range(min(BATCH_MAX, len(self._pending)))]

    def _apply(self, batch: Sequence[_Pending]) -> None:
        """Commit one batch, settle it and answer everybody in it."""
        try:
            touched = self._commit(batch)
            if touched:
                self._settle(touched)
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to the callers
            # What a command found inside a transaction that was undone is no answer either.
            for command in batch:
                command.refuse(error if len(batch) == 1 else _together(error))
        except BaseException as error:
            for command in batch:
                command.refuse(error)
            raise
        finally:
            for command in batch:
                command.answer()

    def _commit(self, batch: Sequence[_Pending]) -> Sequence[Job]:
        with self._store.write() as tx:
            if len(batch) == 1:
                batch[0].execute(tx)
            else:
                for command in batch:
                    _execute_apart(tx, command)
            return tx.touched

    def _close(self) -> None:
        """Refuse everything from now on, and whatever a writer that broke down has left behind."""
        with self._wake:
            self._closed = True
            abandoned, self._pending = self._pending, deque()
        for command in abandoned:
            command.refuse(_stopped())
            command.answer()


def _execute_apart(tx: Transaction, command: _Pending) -> None:
    """Run one command so that its error undoes only itself; a failing database is everybody's."""
    try:
        with tx.savepoint():
            command.execute(tx)
    except StorageFailed:
        raise
    except Exception as error:  # noqa: BLE001  it is handed to the one caller whose command it was
        command.refuse(error)


def _together(error: Exception) -> Exception:
    """Return an error of its own for each caller of a batch that failed as a whole."""
    if isinstance(error, StorageFailed):
        alone: Exception = StorageFailed(error.message, fix=error.fix)
    else:
        alone = StorageFailed(f"the batch could not be committed: {error!r}", fix="nothing was kept; try again")
    alone.__cause__ = error
    return alone


def _stopped() -> StorageFailed:
    return StorageFailed("the writer has stopped", fix="start the engine again; what was answered is kept")
