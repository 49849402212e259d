"""Answers that hold as long as GitHub says that nothing has changed; as many as have room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

KEPT_MAX = 512
"""So many answers are kept at most."""
KEPT_BYTES_MAX = 16 << 20
"""So much they take at most, addresses and all."""
ONE_MAX = KEPT_BYTES_MAX // 4
"""One that is longer is not kept, rather than all others be forgotten for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer as it came over the wire, its tag, and where the following page is."""

    etag: str
    content: bytes
    following: str

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return len(self.content) + len(self.etag) + len(self.following)


class KeptAnswers:
    """A memory of answers by their address, from any thread; what was not asked for the longest is forgotten first."""

    def __init__(self, *, most: int = KEPT_MAX, bytes_most: int = KEPT_BYTES_MAX, one_most: int = ONE_MAX) -> None:
        self._most = most
        self._bytes_most = bytes_most
        self._one_most = one_most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return self._size

    def __len__(self) -> int:
        return len(self._kept)

    def addresses(self) -> list[str]:
        """Return the addresses of which something is kept, the longest unasked first."""
        with self._lock:
            return list(self._kept)

    def get(self, address: str) -> Kept | None:
        """Return what is kept of an address."""
        with self._lock:
            found = self._kept.get(address)
            if found is not None:
                self._kept.move_to_end(address)
            return found

    def keep(self, address: str, kept: Kept) -> None:
        """Keep an answer in the place of the one before, and forget others where there is no more room."""
        with self._lock:
            self._forget(address)
            if len(address) + kept.size > self._one_most:
                return
            self._kept[address] = kept
            self._size += len(address) + kept.size
            while len(self._kept) > self._most or self._size > self._bytes_most:
                self._forget(next(iter(self._kept)))

    def _forget(self, address: str) -> None:
        gone = self._kept.pop(address, None)
        if gone is not None:
            self._size -= len(address) + gone.size
