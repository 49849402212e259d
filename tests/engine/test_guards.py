"""What one product may not do to another in the scheduler."""

from __future__ import annotations

import pytest
from tests.engine.world import ONE, TWO, Fleet, make_factory, make_spec, memory

from pilothouse.engine.commands import Act
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.job import Priority
from pilothouse.ids import Epoch, ProductId
from pilothouse.operations.rescue import rescue
from pilothouse.operations.start import start
from pilothouse.ports.store import Transaction
from pilothouse.testing import values
from pilothouse.testing.values import BOOT, PRODUCT

OTHER = ProductId("other")


@pytest.mark.parametrize("product", [PRODUCT, OTHER])
def test_a_product_that_allows_no_preemption_loses_no_job_to_another(product: ProductId) -> None:
    """Its own switch counts, not that of whoever has the critical job."""
    fleet = Fleet(make_factory(ONE, seats=1))
    fleet.configure(preemption=True, min_running_seconds=0.0)
    low = values.make_new_job(1, product=product, priority=Priority.LOW, spec=make_spec())
    fleet.submit(1, new=low)
    fleet.begin(fleet.take(ONE))
    fleet.clock.advance(60)
    fleet.submit(9, priority=Priority.CRITICAL)

    assert list(fleet.preempt()) == ([low.id] if product == PRODUCT else [])


def test_a_job_that_changes_hands_within_one_transaction_is_held_as_it_is_now() -> None:
    """What was known of the attempt before it is of no use for this one."""
    fleet = Fleet(make_factory(ONE), make_factory(TWO))
    job = fleet.submit(1)
    fleet.begin(fleet.take(ONE))
    fleet.claim(TWO)
    place = fleet.scheduler.roster.find(TWO, BOOT)
    assert place is not None

    def hand_over(tx: Transaction) -> None:
        taken = rescue(tx, job.id, epoch=Epoch(1), why="", now=fleet.clock.now())
        assert taken is not None
        assert not tx.jobs.assign([Grant(taken.number, taken.epoch, place.session)], now=fleet.clock.now())
        start(tx, job.id, epoch=Epoch(3), pid=7, pid_started=1.5, now=fleet.clock.now())

    fleet.ask(Act(hand_over))

    assert fleet.job(job.id).epoch == 3
    assert memory(fleet.scheduler) == memory(fleet.fresh())
