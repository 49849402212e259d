"""Where the databases of a benchmark live: new folders for SQLite, new databases of one server for PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from pilothouse.errors import BadValue, Unreachable
from pilothouse.testing.postgres_server import PostgresServer

SERVER_SETTINGS = ("shared_buffers=256MB", "max_wal_size=4GB", "max_connections=200")


@dataclass(slots=True, kw_only=True)
class Place:
    """A folder, and for PostgreSQL a server whose files are in it."""

    store: str
    folder: Path
    version: str = ""
    dsn: str = ""
    made: int = field(default=0)

    def fresh(self) -> AbstractContextManager[str]:
        """Give the address of an empty database, which is gone after the block: a folder, or a DSN."""
        return self._database() if self.dsn else self._folder()

    def latest(self) -> str:
        """Return the address of the database that was made last."""
        return _named(self.dsn, f"bench_{os.getpid()}_{self.made}")

    def tidy(self) -> None:
        """Let PostgreSQL look over what was just stored in the latest database, as it is done for the peers."""
        if self.dsn:
            with psycopg.connect(self.latest(), autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE")

    @contextmanager
    def _folder(self) -> Iterator[str]:
        path = tempfile.mkdtemp(prefix="fleet-", dir=self.folder)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _database(self) -> Iterator[str]:
        self.made += 1
        name = sql.Identifier(f"bench_{os.getpid()}_{self.made}")
        # What the last measurement left to be written must not be written during the next one.
        self._administer(sql.SQL("CHECKPOINT"), sql.SQL("CREATE DATABASE {}").format(name))
        try:
            yield self.latest()
        finally:
            self._administer(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _administer(self, *statements: sql.SQL | sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@contextmanager
def open_place(*, store: str, folder: Path, dsn: str | None) -> Iterator[Place]:
    """Give a place of this store: a server named by its DSN is used as it is, else one is started in the folder."""
    if not folder.is_dir():
        raise BadValue(f"{folder} is no folder", fix="name one that exists, on the disk to be measured")
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-", dir=folder) as own:
        if store == "sqlite":
            yield Place(store=store, folder=Path(own))
        elif dsn is not None:
            yield Place(store=store, folder=Path(own), version=_version(dsn), dsn=dsn)
        else:
            with PostgresServer(durable=True, settings=SERVER_SETTINGS, folder=folder) as server:
                yield Place(store=store, folder=Path(own), version=_version(server.dsn()), dsn=server.dsn())


def _version(dsn: str) -> str:
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
            row = connection.execute("SHOW server_version").fetchone()
    except psycopg.OperationalError as error:
        raise Unreachable(f"no PostgreSQL answers: {error}", fix="start it, or leave --dsn out to have one") from error
    return str(row[0]) if row else ""


def _named(dsn: str, database: str) -> str:
    """Return the same address with another database."""
    parts = urlsplit(dsn)
    return urlunsplit((parts.scheme, parts.netloc, f"/{database}", parts.query, ""))
