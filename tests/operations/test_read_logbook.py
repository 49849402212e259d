"""A logbook that somebody wrote past says at which entry, whatever was written."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from pilothouse.errors import ChainBroken
from pilothouse.operations.read_logbook import verify_thread
from pilothouse.store.sqlite.connection import SqliteConnection
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT


@pytest.mark.parametrize(
    "change",
    [
        "evidence = '{\"verdict\": '",
        "evidence = '[1]'",
        "evidence = 'null'",
        "evidence = '{\"a\": NaN}'",
        'evidence = \'{"a": "\\ud800"}\'',
        "at = 9000000000000000000",
        "result = 'better'",
    ],
)
def test_a_tampered_entry_is_named_by_its_number(tmp_path: Path, change: str) -> None:
    """Also where what stands there can no longer be read."""
    path = tmp_path / "pilothouse.db"
    with closing(SqliteStore(path)) as store:
        first = values.make_entry()
        with store.write() as tx:
            tx.entries.append(first)
            tx.entries.append(values.make_entry(first))
        with closing(SqliteConnection(path)) as writer:
            writer.run("DROP TRIGGER entries_are_never_changed")
            writer.run(f"UPDATE entries SET {change} WHERE number = 2")  # noqa: S608  the test's own words

        with store.read() as tx, pytest.raises(ChainBroken, match="entry 2"):
            verify_thread(tx, PRODUCT, None, head=None)
