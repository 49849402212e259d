"""The PostgreSQL that the tests bring along is a good guest: it says why it cannot come, and is gone at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

from pilothouse.errors import OperationFailed
from pilothouse.testing.postgres_server import PostgresServer

OWNER = """
from pilothouse.testing.postgres_server import PostgresServer
server = PostgresServer()
print(server.pid, server.dsn(), flush=True)
input()
"""


def test_it_dies_with_its_owner_whatever_kills_that(tmp_path: Path) -> None:
    """Kill -9 of the owner stops the server and removes its folder."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert owner.stdout is not None
    pid, dsn = owner.stdout.readline().split()
    postmaster = psutil.Process(int(pid))
    home = Path(dsn.partition("host=")[2])
    assert home.is_dir()

    owner.kill()
    owner.communicate()
    patience = threading.Event()
    for _ in range(1000):
        if not home.exists():
            break
        patience.wait(0.02)

    assert not postmaster.is_running() or postmaster.status() == psutil.STATUS_ZOMBIE
    assert not home.exists()


def test_it_says_why_it_cannot_start(tmp_path: Path) -> None:
    """Each place that was tried is named with what went wrong there; nothing is left behind."""
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy("/bin/false", broken / "postgres")

    with pytest.raises(OperationFailed) as caught:
        PostgresServer(places=[tmp_path / "nowhere", broken])

    assert f"{tmp_path}/nowhere: " in caught.value.message
    assert f"{broken}: " in caught.value.message
    assert "make setup" in caught.value.fix
    with pytest.raises(OperationFailed, match="neither the wheel nor an installed one"):
        PostgresServer(places=[])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else, who may be kept out")
def test_programs_in_a_private_folder_are_copied(postgres: PostgresServer, tmp_path: Path) -> None:
    """As those of an environment in root's own folder are."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    package = postgres.programs.parent.parent
    programs = private / postgres.programs.relative_to(package.parent)
    shutil.copytree(postgres.programs.parent, programs.parent)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, private / libraries.name)

    with PostgresServer(places=[programs]) as server:
        with psycopg.connect(server.dsn()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert private not in server.programs.parents


def test_it_can_be_killed_and_started_again() -> None:
    """What was there is there again; closing it twice is harmless."""
    server = PostgresServer()
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (number integer)")
    first = server.pid
    server.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())
    server.start()
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert server.pid != first
    assert "PostgreSQL" in server.version
    server.close()
    server.close()
