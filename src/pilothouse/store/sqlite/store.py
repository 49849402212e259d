"""`ports.store.Store` on SQLite: the one writer connection and the pool of readers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pilothouse.errors import StorageFailed
from pilothouse.store.database import Database
from pilothouse.store.migrations import migrate, migrations
from pilothouse.store.sqlite.connection import MEMORY, SqliteConnection
from pilothouse.store.sqlite.migrate import SqliteSchema


class SqliteStore(Database[SqliteConnection]):
    """A database file, or `:memory:`, with its schema in place."""

    def __init__(self, location: Path | str) -> None:
        in_memory = str(location) == MEMORY
        if not in_memory:
            _make_folder(Path(location).parent)
        writer = SqliteConnection(location)
        try:
            migrate(SqliteSchema(writer), steps=migrations("sqlite"))
            super().__init__(
                str(location),
                writer=writer,
                reader=lambda: SqliteConnection(location, read_only=True),
                alone=in_memory,
            )
        except BaseException:
            writer.close()
            raise

    def damage(self) -> Sequence[str]:
        """Return what SQLite's own check finds wrong, nothing for a sound database; it reads the whole file."""
        with self._turns.take():
            found = [str(row[0]) for row in self._writer.rows("PRAGMA quick_check")]
            orphans = [
                f"{row[0]}: row {row[1]} belongs to no {row[2]}"
                for row in self._writer.rows("PRAGMA foreign_key_check")
            ]
        return [*(line for line in found if line != "ok"), *orphans]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFailed(
            f"the folder {folder} for the database cannot be made: {error.strerror}",
            fix="make its parent writable for this user, or choose another home",
        ) from error
