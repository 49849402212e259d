"""SIGINT and SIGTERM of this process, acted on by a thread.

Python runs a handler between any two instructions of the main thread. One that sets an event takes that event's lock,
which the main thread may hold just then, or an earlier signal's handler: two signals in the same moment, as `timeout`
and a terminal send them, would then wait for each other for ever. Here the handler only leaves the number in a queue
whose `put` may interrupt itself, and a thread does the rest.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Self, TypeAlias

WORDS = (signal.SIGINT, signal.SIGTERM)
Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None
AGAIN_SECONDS = 0.5
"""A signal that comes again within this time was sent twice for one wish."""
_JOIN_SECONDS = 5.0


class Ears:
    """Calls `heard` with each signal while the block lasts; begin it on the main thread.

    With `harsh` a signal that comes again, `AGAIN_SECONDS` or more after the first of its kind, has its usual effect.
    """

    def __init__(self, heard: Callable[[int], None], *, harsh: bool = False) -> None:
        self._heard = heard
        self._harsh = harsh
        self._before: dict[signal.Signals, Handler] = {}
        self._began: dict[int, float] = {}
        self._arrived: SimpleQueue[int] = SimpleQueue()
        self._thread = threading.Thread(target=self._listen, name="ears", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._before = {number: signal.signal(number, self._take) for number in WORDS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._arrived.put(0)
        self._thread.join(_JOIN_SECONDS)

    def _take(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        began = self._began.get(number)
        if began is not None and now - began < AGAIN_SECONDS:
            return
        if began is not None and self._harsh:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._began[number] = now
        self._arrived.put(number)

    def _listen(self) -> None:
        while number := self._arrived.get():
            self._heard(number)
