"""Brings a database to the newest schema: numbered files, applied once, forward only.

The dialects have files of their own under the same numbers and names. With every step the digest of its file is kept,
so that a database which other files have made is told from ours, whatever its number.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

from pilothouse.errors import StorageFailed

STRANGERS_SHOWN = 5
_TABLE = re.compile(r"^CREATE TABLE ([a-z_]+)", re.MULTILINE)
_FILE = re.compile(r"^(\d{4})_([a-z_]+)\.sql$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered step of the schema."""

    version: int
    name: str
    script: str

    @property
    def digest(self) -> str:
        """Return what tells this step from any other of its number."""
        return hashlib.sha256(self.script.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A step as a database remembers it; one of before digests were kept has none."""

    version: int
    name: str
    digest: str | None


class Schema(Protocol):
    """A database whose schema can be moved forward."""

    @property
    def where(self) -> str:
        """Which database it is, as a person may read it."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Begin a transaction that no other migration can enter at the same time."""
        ...

    def applied(self) -> Sequence[Applied] | None:
        """Return the steps that were applied, in their order; None where none was ever kept."""
        ...

    def in_the_way(self, ours: Collection[str]) -> Sequence[str]:
        """Return the tables of somebody else that our schema cannot stand beside; `ours` are the names it takes."""
        ...

    def begin(self) -> None:
        """Make the table in which steps are kept."""
        ...

    def apply(self, step: Migration) -> None:
        """Carry out a step and keep its number."""
        ...


def migrations(dialect: str) -> Sequence[Migration]:
    """Return every migration of a dialect by number, without a gap."""
    found = []
    for file in resources.files(f"pilothouse.store.{dialect}").joinpath("migrations").iterdir():
        if match := _FILE.match(file.name):
            script = file.read_text(encoding="utf-8")
            found.append(Migration(version=int(match[1]), name=match[2], script=script))
    found.sort(key=lambda migration: migration.version)
    assert [migration.version for migration in found] == list(range(1, len(found) + 1)), "migrations have a gap"
    return found


def migrate(schema: Schema, *, steps: Sequence[Migration]) -> None:
    """Apply the steps that the database has not seen, all in one transaction; refuse one that is not ours, or newer."""
    with schema.alone():
        applied = schema.applied()
        if applied is None:
            _check_empty(schema, steps)
            schema.begin()
            applied = ()
        _check_ours(schema, applied, steps)
        for step in steps[len(applied) :]:
            schema.apply(step)


def _check_empty(schema: Schema, steps: Sequence[Migration]) -> None:
    strangers = schema.in_the_way([name for step in steps for name in _TABLE.findall(step.script)])
    if strangers:
        shown = ", ".join(strangers[:STRANGERS_SHOWN])
        raise StorageFailed(
            f"{schema.where} is no database of Pilothouse, and has tables in it: {shown}",
            fix="leave it to whom it belongs, and name another home (--home) or database (PILOTHOUSE_DATABASE)",
        )


def _check_ours(schema: Schema, applied: Sequence[Applied], steps: Sequence[Migration]) -> None:
    found = max((step.version for step in applied), default=0)
    if found > len(steps):
        raise StorageFailed(
            f"{schema.where} has schema version {found}, and this pilothouse knows {len(steps)}",
            fix="use the newer pilothouse that wrote it; a schema is never taken back",
        )
    for step, own in zip(applied, steps, strict=False):
        if (step.version, step.name, step.digest) != (own.version, own.name, own.digest):
            raise StorageFailed(
                f"{schema.where} has schema version {found} of another pilothouse, and this one wants version"
                f" {len(steps)}: they differ from step {step.version} ({step.name}) on",
                fix="open it with the pilothouse that wrote it, or begin anew in another home (--home) or database",
            )
