"""What the campaign's own factory is handed: a ferry's run only on the code that was approved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import START
from tests.operations.test_ferry_redraft import DEFINITION, admit, launch, propose

from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.engine.engine import Engine
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.ids import BootId, FactoryName, JobId
from pilothouse.operations.cancel import cancel
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import FrozenClock
from pilothouse.wiring.approved_code import ApprovedCode

NAME, BOOT = FactoryName("f1"), BootId("b1")


@pytest.fixture(name="sailing")
def _sailing(tmp_path: Path) -> Iterator[tuple[Engine, JobId]]:
    """Return an engine with a ferry that was approved on commit c0 and launched."""
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        open_campaign(tx, DEFINITION, now=START)
    admit(store, propose(store, Asked(), commit="c0"), commit="c0")
    job = launch(store).id
    with Engine(store, FrozenClock()) as engine:
        engine.enrol(Factory(product=EVERY_PRODUCT, name=NAME, capabilities=(), engines=(), seats=1, gpus=0))
        yield engine, job
    store.close()


def claimed(engine: Engine, present: Callable[[], str]) -> list[JobId]:
    """Return what the factory is handed while the folder is at that commit."""
    dispatch = ApprovedCode(engine, present)
    return [offer.job for offer in dispatch.claim(factory=NAME, boot=BOOT, wait_seconds=0, seats=1)]


def test_a_run_is_handed_out_on_the_code_that_was_approved_and_on_no_other(sailing: tuple[Engine, JobId]) -> None:
    engine, job = sailing
    other = claimed(engine, lambda: "c0+123")
    with engine.read() as tx:
        (attempt,) = tx.jobs.attempts(job)

    assert other == []
    assert attempt.outcome is Outcome.CODE_CHANGED
    assert "the code is c0+123, and the yes was for c0" in attempt.detail


def test_the_approved_code_runs(sailing: tuple[Engine, JobId]) -> None:
    engine, job = sailing

    assert claimed(engine, lambda: "c0") == [job]


def test_a_run_that_is_cancelled_meanwhile_ends_no_factory(sailing: tuple[Engine, JobId]) -> None:
    """A lost lease within a claim would tell the factory that its whole session is over."""
    engine, job = sailing

    def present() -> str:
        engine.apply(lambda tx: cancel(tx, job, now=START))
        return "c1"

    assert claimed(engine, present) == []
