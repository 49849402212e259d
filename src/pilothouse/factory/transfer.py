"""Moving sealed folders between this machine's blobs and a server's, where the two are not the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from pilothouse.ids import ArtifactDigest, Epoch, JobId


class Transfer(Protocol):
    """What a factory of another machine needs beside its own blobs; `touch` is called while bytes move."""

    def fetch(self, digest: ArtifactDigest, *, touch: Callable[[], None]) -> None:
        """Bring a sealed folder into this machine's blobs, if it is not there whole.

        Raises ArtifactDamaged if the server's own is damaged, Unreachable if asking again may help.
        """
        ...

    def send(self, job: JobId, *, epoch: Epoch, name: str, digest: ArtifactDigest, touch: Callable[[], None]) -> None:
        """Give the server a sealed folder that the attempt has made; raises LeaseLost if the attempt is over."""
        ...
