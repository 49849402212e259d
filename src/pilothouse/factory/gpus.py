"""Which GPU is whose: attempts that run side by side each see only their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pilothouse.factory.command import CapabilityMissing

VISIBLE = "CUDA_VISIBLE_DEVICES"


class GpuPool:
    """Hands the machine's GPUs to attempts; `names` tells them, and is asked when the first job wants any."""

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self._names = names
        self._lock = threading.Lock()
        self._free: list[str] | None = None

    @contextmanager
    def taken(self, count: int) -> Iterator[Mapping[str, str]]:
        """Give the variables that show an attempt so many GPUs, which are its own for the block.

        A job that asks for none is shown what the factory itself sees: a program may use what nobody has counted.
        Raises CapabilityMissing if too few are free.
        """
        if count == 0:
            yield {}
            return
        mine = self._take(count)
        try:
            yield {VISIBLE: ",".join(mine)}
        finally:
            with self._lock:
                assert self._free is not None, "what was taken came from somewhere"
                self._free += mine

    def _take(self, count: int) -> list[str]:
        with self._lock:
            if self._free is None:
                self._free = list(self._names())
            if len(self._free) < count:
                raise CapabilityMissing(
                    f"The job wants {count} GPUs, and {len(self._free)} are free here.",
                    fix="let the factory tell how many it has, or the job ask for fewer.",
                )
            mine, self._free = self._free[:count], self._free[count:]
            return mine
