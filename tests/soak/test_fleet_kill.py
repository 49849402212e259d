"""Server and factories are killed at random moments; nothing is lost, accepted twice or paid twice."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pilothouse.fleet.budget import MILLION
from pilothouse.fleet.history import check
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.testing.fleet_facts import history_of, jobs_of, open_store
from pilothouse.testing.postgres_server import PostgresServer
from tests.soak.fleet import PRODUCT, Fleet, fleet, moments, pause
from tests.soak.light_factory import USD

JOBS = 2600
BLOWS = 50
FACTORIES = 6
SERVER_SHARE = 0.4
SEED = 20261122
PATIENCE_SECONDS = 600.0


@contextmanager
def database_of(kind: str) -> Iterator[str | None]:
    """Give the address of a durable PostgreSQL, or nothing for the home's own file."""
    if kind == "sqlite":
        yield None
    else:
        with PostgresServer(durable=True) as server, server.database() as dsn:
            yield dsn


def strike(under_fire: Fleet, pick: random.Random) -> Counter[str]:
    """Kill something at each of the moments, start it again, and return what was killed how often."""
    blows: Counter[str] = Counter()
    for seconds in moments(pick, BLOWS):
        pause(seconds)
        if pick.random() < SERVER_SHARE:
            under_fire.server.kill()
            blows["server"] += 1
            pause(pick.random() * 0.3)
            under_fire.server.start()
        else:
            number = pick.randrange(FACTORIES)
            under_fire.factories.kill(number)
            blows["factory"] += 1
            pause(pick.random() * 0.3)
            under_fire.factories.boot(number)
    return blows


def check_all(under_fire: Fleet) -> dict[str, float]:
    """Hold what the store has recorded against its own rules and against what everybody was told."""
    with open_store(under_fire.home, database=under_fire.database) as store:
        assert list(store.damage()) == []
        with store.read() as tx:
            jobs = jobs_of(tx, PRODUCT)
            told = [*under_fire.submitted, *under_fire.factories.told()]
            assert [str(found) for found in check(history_of(tx, jobs), told=told)] == []
            attempts = [attempt for job in jobs for attempt in tx.jobs.attempts(job.id)]
            balances = tx.budgets.balances(PRODUCT, since=datetime(2000, 1, 1, tzinfo=UTC))
    shipped = Counter(attempt.job for attempt in attempts if attempt.outcome is Outcome.SUCCEEDED)
    assert {job.stage for job in jobs} == {Stage.SHIPPED}
    assert shipped == Counter(job.id for job in jobs)
    (balance,) = balances.values()
    assert balance.reserved.usd == 0
    assert balance.spent.usd == round(USD * MILLION) * len(attempts)
    return {"jobs": len(jobs), "attempts": len(attempts), "lost": len(attempts) - len(jobs)}


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_kills_lose_nothing_and_repeat_nothing(kind: str, tmp_path: Path) -> None:
    """Between any two statements of the server, and of a factory, the process may end."""
    pick = random.Random(SEED)
    with database_of(kind) as database, fleet(tmp_path, database=database, factories=FACTORIES) as under_fire:
        asyncio.run(under_fire.fund())
        submitter = threading.Thread(target=lambda: asyncio.run(under_fire.submit(JOBS)))
        submitter.start()
        blows = strike(under_fire, pick)
        submitter.join(PATIENCE_SECONDS)
        seconds = under_fire.until_over(seconds=PATIENCE_SECONDS)
        under_fire.factories.kill_all()
        under_fire.server.stop()
        found = check_all(under_fire)
        sys.stdout.write(f"{kind}: {dict(blows)} killed, {found}, quiet {seconds:.0f} s after the last blow\n")

        assert len(under_fire.submitted) == JOBS
        assert blows["server"] > 0
        assert blows["factory"] > 0
