"""A factory's key is kept by its owner alone, and replaced before it expires."""

from __future__ import annotations

import dataclasses
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pilothouse.errors import BadValue, PilothouseError, Refused
from pilothouse.factory import remote
from pilothouse.factory.discover import Facts
from pilothouse.factory.loop import FactorySettings
from pilothouse.factory.remote import RemoteFactory
from pilothouse.factory.server_line import ServerLine
from pilothouse.factory.worker_key import KEY_FILE, WorkerKey, read_key, write_key
from pilothouse.ids import FactoryName
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.factory_bench import Bench
from tests.factory.small_server import SmallServer

KEY = WorkerKey(
    server="http://127.0.0.1:1",
    factory=FactoryName("far-1"),
    token="ph_worker_one",  # noqa: S106  no password of anything
    issued_at=BEGIN,
    expires_at=BEGIN + timedelta(days=30),
)
FACTS = Facts(seats=1, gpus=0, capabilities=(), engines=(), pools=None)


def test_a_key_is_read_as_it_was_written(tmp_path: Path) -> None:
    """By its owner only; writing it again replaces it."""
    path = tmp_path / "deep" / KEY_FILE
    endless = dataclasses.replace(KEY, expires_at=None)

    write_key(path, endless)
    write_key(path, KEY)

    assert read_key(path) == KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [KEY_FILE]
    assert "ph_worker_one" not in repr(KEY)
    assert read_key(tmp_path / "none") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(mode: int, tmp_path: Path) -> None:
    """With what mends it."""
    write_key(tmp_path / KEY_FILE, KEY)
    (tmp_path / KEY_FILE).chmod(mode)

    with pytest.raises(Refused, match="other users") as failure:
        read_key(tmp_path / KEY_FILE)
    assert "chmod 600" in failure.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", '{"server": 1}', '{"server": "s", "factory": "f", "token": "t"}'])
def test_a_file_that_is_no_key_is_named(text: str, tmp_path: Path) -> None:
    """Not by a traceback."""
    path = tmp_path / KEY_FILE
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")

    with pytest.raises(BadValue):
        read_key(path)


def test_a_key_is_old_after_two_thirds_of_its_life() -> None:
    """One without an end never is."""
    assert not KEY.is_old(now=BEGIN + timedelta(days=19))
    assert KEY.is_old(now=BEGIN + timedelta(days=21))
    assert not dataclasses.replace(KEY, expires_at=None).is_old(now=datetime.max.replace(tzinfo=UTC))


def test_an_old_key_is_replaced_while_the_factory_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is on the disk, and the next word carries it; a server that is away is asked again."""
    monkeypatch.setattr("pilothouse.factory.remote.KEY_LOOK_SECONDS", 0.02)
    (tmp_path / "server").mkdir()
    clock, ended = FrozenClock(), threading.Event()
    clock.advance(25 * 86400)
    with SmallServer(tmp_path / "server").serving() as server:
        server.next_key, server.expires_at = "ph_worker_two", (clock.now() + timedelta(days=30)).isoformat()
        line = ServerLine(server.url, key=KEY.token)
        given = RemoteFactory(
            server=server.url,
            name=KEY.factory,
            home=tmp_path / "far",
            work_folder=tmp_path,
            facts=FACTS,
            settings=FactorySettings(),
            engines={},
            variables={},
        )
        server.raw = (503, b"")
        keeper = threading.Thread(target=remote._keep_key, args=(given, line, KEY, clock, ended), daemon=True)
        keeper.start()
        bench = Bench(tmp_path)
        bench.until(lambda: server.raw_given)
        server.raw = None
        bench.until(lambda: read_key(tmp_path / "far" / KEY_FILE))
        found = read_key(tmp_path / "far" / KEY_FILE)
        ended.set()
        keeper.join(20)
        with pytest.raises(PilothouseError):
            line.post("/none", {})
        line.close()

    assert found is not None
    assert (found.token, found.issued_at) == ("ph_worker_two", clock.now())
    assert [heard.bearer for heard in server.heard] == ["ph_worker_one", "ph_worker_two"]
