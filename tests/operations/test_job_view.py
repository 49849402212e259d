"""Where the log of an attempt lies, and what is said where it lies on another machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pilothouse.errors import NotFound
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.job import Job
from pilothouse.operations.claim import assign
from pilothouse.operations.job_view import job_details, kept_log, log_end, placed, run_folder
from pilothouse.operations.start import start
from pilothouse.operations.submit import submit
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import BOOT, FACTORY, PRODUCT


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    """Yield a writing transaction that is kept open for the whole test."""
    store = SqliteStore(":memory:")
    with store.write() as tx:
        yield tx
    store.close()


def claimed(tx: Transaction, *, started: bool) -> tuple[Job, str]:
    """Return a job that the factory holds, and the folder of its attempt."""
    job = submit(tx, values.make_new_job(1), now=BEGIN)
    session = tx.factories.open_session(PRODUCT, FACTORY, BOOT, now=BEGIN, expires=BEGIN)
    (handover,), _ = assign(tx, [Grant(job.number, job.epoch, session)], now=BEGIN)
    if started:
        start(tx, job.id, epoch=handover.epoch, pid=10, pid_started=1.5, now=BEGIN)
    return job, handover.folder


@pytest.mark.parametrize("base", ["", f"factories/{FACTORY}"])
def test_a_log_of_this_machine_is_found(tx: Transaction, tmp_path: Path, base: str) -> None:
    """The home's own factory writes into the home, one that works for a server into its folder there."""
    job, folder = claimed(tx, started=True)
    log = tmp_path / base / folder / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("hello")

    details = job_details(tx, PRODUCT, job.id)
    assert kept_log(details, home=tmp_path) == {"job": job.id, "path": str(log), "text": "hello"}
    assert str(log.parent) in str(placed(details, home=tmp_path)["attempts"])
    assert log_end(tx, PRODUCT, job.id, home=tmp_path) == {
        "job": job.id,
        "path": f"{folder}/log.txt",
        "text": "hello",
    }


@pytest.mark.parametrize("folder", ["../outside", "/etc", "runs/../../outside"])
def test_a_folder_that_leaves_the_home_is_not_looked_into(tmp_path: Path, folder: str) -> None:
    """A server that is asked may say what it likes."""
    home = tmp_path / "home"
    (tmp_path / "outside").mkdir()
    home.mkdir()

    assert run_folder(home, factory="f", folder=folder) is None
    assert run_folder(home, factory="../..", folder="outside") is None


def test_a_log_of_another_machine_is_told_by_its_place(tx: Transaction, tmp_path: Path) -> None:
    """It has started, so waiting would not help."""
    job, folder = claimed(tx, started=True)

    with pytest.raises(NotFound, match=f"factory {FACTORY}") as caught:
        log_end(tx, PRODUCT, job.id, home=tmp_path)

    assert folder in caught.value.fix


def test_a_job_that_has_not_started_has_no_log(tx: Transaction, tmp_path: Path) -> None:
    """Waiting helps."""
    job, _ = claimed(tx, started=False)

    with pytest.raises(NotFound, match="no log yet"):
        log_end(tx, PRODUCT, job.id, home=tmp_path)
