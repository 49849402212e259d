"""Worker processes that make shards: one task at a time each, and none of them outlives its parent.

A worker watches the end of its parent's life line, which the system closes however the parent ends, and leaves at
once; nothing it has begun is visible, since a shard is renamed into place when it is whole.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final, Generic, Self, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_LOOK_SECONDS: Final = 0.2  # how soon a request to stop is seen
_JOIN_SECONDS: Final = 10.0


class WorkerFailed(Exception):
    """A task that could not be done; the message ends with the worker's own account."""


class Stopped(Exception):
    """The work was given up because the caller wants to stop."""


@dataclass(frozen=True, slots=True)
class _Done(Generic[Result]):
    result: Result


@dataclass(frozen=True, slots=True)
class _Failed:
    account: str


def each_done(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, workers: int, stopping: Callable[[], bool]
) -> Iterator[tuple[Task, Result]]:
    """Yield each task with its result as it is done; a free worker takes the next task in order.

    Raises `WorkerFailed` when a task raises or its process dies, and `Stopped` soon after `stopping()` turns true. In
    every case no worker is left when this ends.
    """
    assert workers >= 1, workers
    waiting = list(reversed(list(tasks)))
    with ExitStack() as stack:
        busy: dict[Connection, Task] = {}
        for _ in range(min(workers, len(waiting))):
            connection = stack.enter_context(_Worker(work)).connection
            busy[connection] = waiting.pop()
            connection.send(busy[connection])
        while busy:
            if stopping():
                raise Stopped
            for ready in wait(list(busy), timeout=_LOOK_SECONDS):
                assert isinstance(ready, Connection), ready
                task = busy.pop(ready)
                yield task, _received(ready, task, stopping)
                if waiting:
                    busy[ready] = waiting.pop()
                    ready.send(busy[ready])


def _received(connection: Connection, task: object, stopping: Callable[[], bool]) -> Any:
    """Return the result a worker sent; a pipe carries any type, and `each_done` names the one it expects."""
    try:
        answer = connection.recv()
    except (EOFError, ConnectionError):
        if stopping():
            raise Stopped from None  # a stop sent to the whole process group ends the workers first
        message = f"the worker process died over {task}; it may have run out of memory"
        raise WorkerFailed(message) from None
    if isinstance(answer, _Failed):
        message = f"{task} failed:\n{answer.account}"
        raise WorkerFailed(message)
    return answer.result


class _Worker:
    """One process and the connection to it; leaving the block ends the process whatever it does."""

    def __init__(self, work: Callable[[Task], object]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(work, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join(_JOIN_SECONDS)
        self.process.close()
        self.connection.close()


def _serve(work: Callable[[Task], Result], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    while True:
        try:
            task: Task = connection.recv()
        except EOFError:
            return
        try:
            answer: _Done[Result] | _Failed = _Done(work(task))
        except Exception:  # noqa: BLE001  the loop's edge: the account goes to the parent, which raises
            answer = _Failed(traceback.format_exc())
        connection.send(answer)


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
