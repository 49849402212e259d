"""Requests that wait for a job, so that a server that ends can send them home at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Waiting:
    """The requests that wait now. All but `leave` belong to the event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._leaving = False

    async def wait(self, work: Awaitable[T], otherwise: T) -> T:
        """Return what the work returns, or `otherwise` when the server ends first."""
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "a request is a task"
        self._tasks.add(task)
        try:
            return otherwise if self._leaving else await work
        except asyncio.CancelledError:
            if not self._leaving:
                raise
            task.uncancel()
            return otherwise
        finally:
            self._tasks.discard(task)

    def leave(self) -> None:
        """Send everybody home; any thread, and a signal's handler, may call it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        self._leaving = True
        for task in list(self._tasks):
            task.cancel()
