"""Memory follows every commit by itself: whoever asked may be gone before there is anything to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from tests.engine.world import ONE, TWO, Fleet, make_factory, memory

from pilothouse.engine.commands import Act
from pilothouse.fleet.budget import Budget, Pause
from pilothouse.fleet.factory import FactoryState
from pilothouse.fleet.job import Cost
from pilothouse.fleet.settings import FleetSettings
from pilothouse.operations.factories import known_factory, revoke_factory, set_factory_state
from pilothouse.operations.rescue import rescue_session
from pilothouse.ports.store import Transaction
from pilothouse.testing.values import PRODUCT

BUDGET = Budget(product=PRODUCT, ceiling=Cost(usd=5.0), window_seconds=86_400)


def drain(fleet: Fleet, tx: Transaction) -> None:
    """Drain the factory."""
    set_factory_state(tx, known_factory(tx, ONE, product=None), FactoryState.DRAINING, now=fleet.clock.now())


def revoke(fleet: Fleet, tx: Transaction) -> None:
    """Revoke the factory."""
    revoke_factory(tx, known_factory(tx, ONE, product=None), by="ada", now=fleet.clock.now())


def enrol(fleet: Fleet, tx: Transaction) -> None:
    """Enrol another factory."""
    tx.factories.put(make_factory(TWO, seats=3), now=fleet.clock.now())


def close(fleet: Fleet, tx: Transaction) -> None:
    """Take a boot for dead."""
    (kept,) = tx.factories.open_sessions()
    rescue_session(tx, kept.session.number, why="its process is gone", now=fleet.clock.now())


def weigh(fleet: Fleet, tx: Transaction) -> None:
    """Change the settings."""
    tx.fleet_settings.put(PRODUCT, FleetSettings(weights={"age": 3.0}), who="ada", now=fleet.clock.now())


def pay(fleet: Fleet, tx: Transaction) -> None:
    """Set a budget and pause it."""
    tx.budgets.put(BUDGET)
    tx.budgets.pause(PRODUCT, "", pause=Pause(by="ada", why="", at=fleet.clock.now()))


Change = Callable[[Fleet, Transaction], None]
CHANGES: Sequence[Change] = [drain, revoke, enrol, close, weigh, pay]


@pytest.mark.parametrize("change", CHANGES)
def test_memory_is_what_a_restart_would_read(change: Change) -> None:
    """Also for a job that is held meanwhile."""
    fleet = Fleet()
    fleet.submit(1)
    fleet.submit(2)
    fleet.take()
    before = memory(fleet.scheduler)

    fleet.ask(Act(lambda tx: change(fleet, tx)))

    assert memory(fleet.scheduler) == memory(fleet.fresh())
    assert memory(fleet.scheduler) != before


@pytest.mark.parametrize("change", CHANGES)
def test_memory_does_not_follow_what_was_undone(change: Change) -> None:
    """The command beside it is kept."""
    fleet = Fleet()
    fleet.submit(1)
    fleet.take()
    before = memory(fleet.scheduler)

    def fails(tx: Transaction) -> None:
        change(fleet, tx)
        raise RuntimeError("after the change")

    failing = Act(fails)
    fleet.run(failing, Act(lambda tx: tx.jobs.leased()))

    with pytest.raises(RuntimeError):
        failing.value()
    assert memory(fleet.scheduler) == before == memory(fleet.fresh())


def test_a_paused_budget_gives_nothing_out_from_its_commit_on() -> None:
    """A claim of the next batch finds it paused."""
    fleet = Fleet()
    fleet.submit(1)
    fleet.ask(Act(lambda tx: pay(fleet, tx)))

    assert fleet.claim() == []

    fleet.ask(Act(lambda tx: tx.budgets.resume(PRODUCT, "")))
    fleet.ask(Act(lambda tx: tx.budgets.put(replace(BUDGET, enforced=False))))
    assert len(fleet.claim()) == 1
