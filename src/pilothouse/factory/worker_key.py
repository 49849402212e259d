"""A factory's key to its server: it is given out once, for an enrolment token, and kept in a file of its own."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, NotAuthenticated, Refused, StorageFailed
from pilothouse.factory.discover import Facts
from pilothouse.factory.server_line import ServerLine
from pilothouse.fleet.wire import Fields
from pilothouse.ids import FactoryName
from pilothouse.trainer.durable import sync_folder

KEY_FILE = "worker.json"
ROTATE_AT = 2 / 3
"""Share of a key's life after which it is replaced."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BYTES_MAX = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerKey:
    """The key of one factory to one server, in the times of this machine's clock; None never expires."""

    server: str
    factory: FactoryName
    token: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime | None

    def is_old(self, *, now: datetime) -> bool:
        """Whether it is time for another."""
        if self.expires_at is None:
            return False
        return now >= self.issued_at + (self.expires_at - self.issued_at) * ROTATE_AT


def enrol(line: ServerLine, *, name: FactoryName, facts: Facts, now: datetime) -> WorkerKey:
    """Return the key that the server gives a new factory; the line asks with the enrolment token."""
    return _read_answer(line, line.post("/fleet/factories/enroll", {"name": name, **facts.as_json()}), now=now)


def rotate(line: ServerLine, key: WorkerKey, *, now: datetime) -> WorkerKey:
    """Return a new key in place of the one that the line asks with, which stays good for a few minutes."""
    return _read_answer(line, line.post(f"/fleet/factories/{key.factory}/token/rotate", {}), now=now)


def read_key(path: Path) -> WorkerKey | None:
    """Return the key in the file, or None if there is no file; one that others may read is refused."""
    try:
        with path.open("rb") as stream:
            if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & _OTHERS:
                raise Refused(f"{path} can be read by other users", fix=f"chmod 600 {path}")
            read = Fields(str(path), json.loads(stream.read(_BYTES_MAX)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadValue(
            f"{path} cannot be read: {error}", fix="enrol the factory again, which writes it anew"
        ) from error
    return WorkerKey(
        server=read.text("server"),
        factory=FactoryName(read.text("factory")),
        token=read.text("token"),
        issued_at=_time(read.text("issued_at")),
        expires_at=read.optional("expires_at", lambda: _time(read.text("expires_at"))),
    )


def write_key(path: Path, key: WorkerKey) -> None:
    """Write the key aside, for its owner only, and put it in place in one step."""
    values: dict[str, Json] = {
        "server": key.server,
        "factory": key.factory,
        "token": key.token,
        "issued_at": key.issued_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
    }
    aside = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(values, out)
            out.flush()
            os.fsync(out.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {path}: {error.strerror or error}.", fix="make its folder writable; then enrol again."
        ) from error


def not_enrolled(name: FactoryName, server: str) -> NotAuthenticated:
    """Return what to say where there is no key."""
    return NotAuthenticated(
        f"the factory {name} has no key to {server}",
        fix=f"enrol it once: pilothouse factory enroll --server {server} --name {name}, with a token of "
        "`pilothouse token enrol` on its standard input",
    )


def _read_answer(line: ServerLine, answer: Json, *, now: datetime) -> WorkerKey:
    read = Fields("key", answer)
    return WorkerKey(
        server=line.url,
        factory=FactoryName(read.text("factory")),
        token=read.text("token"),
        issued_at=now,
        expires_at=read.optional("expires_at", lambda: _time(read.text("expires_at"))),
    )


def _time(text: str) -> datetime:
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadValue(f"{text!r} is no time.", fix="use the same version at both ends.") from error
    return read.astimezone(UTC)
