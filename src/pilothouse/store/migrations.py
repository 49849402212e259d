"""Brings a database to the newest schema: numbered files, applied once, forward only.

The dialects have files of their own under the same numbers and names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import resources
from typing import Protocol

from pilothouse.errors import StorageFailed

_FILE = re.compile(r"^(\d{4})_([a-z_]+)\.sql$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered step of the schema."""

    version: int
    name: str
    script: str


class Schema(Protocol):
    """A database whose schema can be moved forward."""

    @property
    def where(self) -> str:
        """Which database it is, as a person may read it."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Begin a transaction that no other migration can enter at the same time."""
        ...

    def version(self) -> int:
        """Return the number of the last step that was applied."""
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
    """Apply the steps that the database has not seen, all in one transaction; refuse a database that knows more."""
    with schema.alone():
        applied = schema.version()
        if applied > len(steps):
            raise StorageFailed(
                f"{schema.where} has schema version {applied}, and this pilothouse knows {len(steps)}",
                fix="use the newer pilothouse that wrote it; a schema is never taken back",
            )
        for step in steps[applied:]:
            schema.apply(step)
