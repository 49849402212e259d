"""Waiting for a process to end without asking it again and again."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from contextlib import suppress

_ASK_AGAIN_SECONDS = 0.02


class ExitWatch:
    """Waits for the end of one child without reaping it: by a pidfd on Linux, by a kqueue on macOS.

    The child stays a zombie, so its number, its group and its session cannot pass to anybody else. A Linux kernel
    without pidfd is asked every 20 ms. Close the watch after use.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor = _pidfd(pid)
        self._idle = threading.Event()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until the process has ended or the time is over; say whether it has ended."""
        timeout = max(0.0, timeout_seconds)
        if sys.platform == "darwin":
            return _kqueue_wait(self._pid, timeout)
        if self._descriptor is None:
            return self._ask(timeout)
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(timeout * 1000))

    def _ask(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._idle.wait(min(left, _ASK_AGAIN_SECONDS))
        return True

    def close(self) -> None:
        """Give the descriptor back; closing twice is harmless."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):
                os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # an old kernel, or a sandbox that does not know the call


if sys.platform == "darwin":

    def _kqueue_wait(pid: int, timeout: float) -> bool:
        queue = select.kqueue()
        try:
            watch = select.kevent(
                pid,
                filter=select.KQ_FILTER_PROC,
                flags=select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                fflags=select.KQ_NOTE_EXIT,
            )
            return bool(queue.control([watch], 1, timeout))
        except ProcessLookupError:
            return True  # it has ended and waits to be reaped
        finally:
            queue.close()
