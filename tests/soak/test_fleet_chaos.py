"""Five misfortunes of a fleet on PostgreSQL; each tells which share of its rate the fleet has afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pilothouse.fleet.history import check
from pilothouse.testing.fleet_bench.load import PRODUCT, enqueue, opened
from pilothouse.testing.fleet_bench.place import Place
from pilothouse.testing.fleet_facts import history_of, jobs_of, open_store
from pilothouse.testing.postgres_server import PostgresServer
from pilothouse.wiring.workspace import SystemClock
from tests.soak.fleet import Fleet, fleet, pause

JOBS = 60_000
FACTORIES = 4
WARM_SECONDS = 3.0
WINDOW_SECONDS = 10.0
PATIENCE_SECONDS = 240.0
KILLS = 5
EXHAUSTED_SECONDS = 5.0
CONNECTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a misfortune may strike."""

    fleet: Fleet
    postgres: PostgresServer
    database: str
    dsn: str


def restart_postgres(scene: Scene) -> None:
    """Kill the database with all its processes, and start it again."""
    scene.postgres.kill()
    pause(1.0)
    scene.postgres.start()


def kill_backends(scene: Scene) -> None:
    """End every connection from the database's side."""
    assert scene.postgres.terminate_backends(scene.database) > 0


def exhaust_connections(scene: Scene) -> None:
    """Take every connection that is left, and hold them all for a while."""
    with ExitStack() as held:
        taken = 0
        while taken < CONNECTIONS:
            try:
                held.enter_context(psycopg.connect(scene.dsn, autocommit=True, connect_timeout=5))
            except psycopg.OperationalError:
                break
            taken += 1
        assert taken > 0
        pause(EXHAUSTED_SECONDS)


def crash_server(scene: Scene) -> None:
    """Kill the server, and start it again."""
    scene.fleet.server.kill()
    scene.fleet.server.start()


def kill_again_and_again(scene: Scene) -> None:
    """Kill the server several times, each time soon after its start, and a factory with it."""
    for number in range(KILLS):
        crash_server(scene)
        pause(0.5)
        scene.fleet.factories.kill(number % FACTORIES)
        scene.fleet.factories.boot(number % FACTORIES)


MISFORTUNES = {
    "postgres_restart": restart_postgres,
    "backend_kill": kill_backends,
    "pool_exhaustion": exhaust_connections,
    "crash": crash_server,
    "repeated_kills": kill_again_and_again,
}


@pytest.fixture(name="scene")
def _scene(tmp_path: Path) -> Iterator[Scene]:
    with PostgresServer(durable=True, settings=(f"max_connections={CONNECTIONS}",)) as postgres:
        name = postgres.create_database()
        dsn = postgres.dsn(name)
        place = Place(store="postgres", folder=tmp_path, dsn=dsn)
        clock = SystemClock()
        with opened(place, dsn, clock) as engine:
            enqueue(engine, JOBS, payload=200, clock=clock)
        with fleet(tmp_path, database=dsn, factories=FACTORIES) as running:
            yield Scene(fleet=running, postgres=postgres, database=name, dsn=dsn)


def completions(under: Fleet, *, since: float, until: float) -> int:
    """Return how many reports were accepted in a stretch of time, by what the factories wrote down."""
    return sum(1 for line in under.factories.lines() if line["what"] == "accepted" and since <= line["to"] < until)


def rate(under: Fleet, *, since: float) -> float:
    """Return the completions a second in the window that begins then."""
    pause(max(0.0, since + WINDOW_SECONDS - time.monotonic()))
    return completions(under, since=since, until=since + WINDOW_SECONDS) / WINDOW_SECONDS


def until_it_works(under: Fleet, *, since: float) -> float:
    """Return how long it took from then on until a report was accepted."""

    def works() -> bool:
        return completions(under, since=since, until=float("inf")) > 0

    return under.until(works, seconds=PATIENCE_SECONDS, what="the first completion afterwards")


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", MISFORTUNES)
def test_the_fleet_recovers(name: str, scene: Scene) -> None:
    """It works on as before, without anybody's help, and its history is sound."""
    misfortune: Callable[[Scene], None] = MISFORTUNES[name]
    until_it_works(scene.fleet, since=0.0)
    pause(WARM_SECONDS)
    before = rate(scene.fleet, since=time.monotonic())

    misfortune(scene)
    over = time.monotonic()
    seconds = until_it_works(scene.fleet, since=over)
    after = rate(scene.fleet, since=time.monotonic())

    sys.stdout.write(
        f"{name}: {before:.0f}/s before, {after:.0f}/s after, recovered to {after / before:.0%}; "
        f"the first completion came {seconds:.1f} s after it was over\n"
    )
    scene.fleet.factories.kill_all()
    scene.fleet.server.stop()
    with open_store(scene.fleet.home, database=scene.dsn) as store, store.read() as tx:
        jobs = jobs_of(tx, PRODUCT)
        begun = [job for job in jobs if job.epoch > 0]
        told = list(scene.fleet.factories.told())
        assert [str(found) for found in check(history_of(tx, begun), told=told, over=False)] == []
    assert after > 0
