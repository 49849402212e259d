"""The blobs of a factory of another machine: its own disk, filled from the server and given back to it."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import ArtifactDamaged, BadValue, OperationFailed, StorageFailed
from pilothouse.factory.server_line import ServerLine
from pilothouse.factory.tar import tar_length, tar_stream, untar
from pilothouse.fleet.wire import Fields
from pilothouse.ids import ArtifactDigest, Epoch, JobId
from pilothouse.ports.blobs import Stored

_INCOMING = ".fetched"
_serial = itertools.count()

log = logging.getLogger(__name__)


class RemoteBlobs:
    """Implements `ports.blobs.Blobs` and `factory.transfer.Transfer`.

    A folder is compared with its manifest and with its name on every way: by this machine before it is sent and after
    it was fetched, by the server after it arrived. One that is damaged on this disk is fetched anew.
    """

    def __init__(self, root: Path, line: ServerLine) -> None:
        self._root = root
        self._here = LocalBlobs(root)
        self._line = line
        self._fetching = threading.Lock()

    def put(self, source: Path) -> Stored:
        """Keep a sealed folder on this machine."""
        return self._here.put(source)

    def path(self, digest: ArtifactDigest) -> Path:
        """Return the folder, fetched if it is not here whole."""
        self.fetch(digest, touch=lambda: None)
        return self._here.path(digest)

    def folder(self, digest: ArtifactDigest) -> Path:
        """Return where the folder is kept on this machine, unchecked."""
        return self._here.folder(digest)

    def remove(self, digest: ArtifactDigest) -> bool:
        """Remove this machine's copy."""
        return self._here.remove(digest)

    def fetch(self, digest: ArtifactDigest, *, touch: Callable[[], None]) -> None:
        """Bring the folder here, unless it is here whole. One at a time: jobs of one campaign want the same inputs."""
        while not self._fetching.acquire(timeout=1.0):
            touch()
        try:
            if not self._is_here(digest):
                self._fetch(digest, touch)
        finally:
            self._fetching.release()

    def send(self, job: JobId, *, epoch: Epoch, name: str, digest: ArtifactDigest, touch: Callable[[], None]) -> None:
        """Give the server a folder that is kept here, as an artifact of the attempt."""
        folder = self._here.path(digest)
        path = f"/fleet/jobs/{quote(job, safe='')}/artifacts/{quote(name, safe='')}"

        def chunks() -> Iterator[bytes]:
            for chunk in tar_stream(folder):
                touch()
                yield chunk

        query = {"epoch": str(epoch), "digest": digest}
        answer = self._line.send(path, query, chunks, length=tar_length(folder))
        arrived = Fields("artifact", answer).text("digest")
        if arrived != digest:
            raise _other(arrived, digest)

    def _is_here(self, digest: ArtifactDigest) -> bool:
        if not self._here.folder(digest).exists():
            return False
        try:
            self._here.path(digest)
        except ArtifactDamaged as error:
            log.warning("%s It is fetched again.", error.message, extra={"action": "input_refetched"})
            self._here.remove(digest)
            return False
        return True

    def _fetch(self, digest: ArtifactDigest, touch: Callable[[], None]) -> None:
        aside = self._root / _INCOMING / f"{os.getpid()}-{next(_serial)}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            with self._line.receive(f"/fleet/artifacts/{digest}") as chunks:
                untar(chunks, aside, touch=touch)
            arrived = self._keep(aside, digest)
        except ArtifactDamaged as error:
            # The server's own word: it is damaged there. Its name is what the server cannot tell in an answer.
            raise ArtifactDamaged(error.message, fix=error.fix, artifact=digest) from error
        except BadValue as error:
            raise _other(error.message, digest) from error
        except OSError as error:
            raise StorageFailed(
                f"Cannot keep an input at {aside}: {error.strerror or error}.",
                fix="free disk space or make the folder writable; the job is then claimed again.",
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        if arrived != digest:
            self._here.remove(arrived)
            raise _other(arrived, digest)

    def _keep(self, aside: Path, digest: ArtifactDigest) -> ArtifactDigest:
        try:
            return self._here.put(aside).digest
        except ArtifactDamaged as error:
            raise _other(error.message, digest) from error


def _other(arrived: str, wanted: ArtifactDigest) -> OperationFailed:
    """Return what to say of a folder that changed on the way; it is no proof that the server's own is damaged."""
    return OperationFailed(
        f"Artifact {wanted} was changed on the way: {arrived}", fix="look for what changes data on the way."
    )
