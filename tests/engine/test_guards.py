"""What one product may not do to another in the scheduler."""

from __future__ import annotations

import pytest
from tests.engine.world import ONE, Fleet, make_factory, make_spec

from pilothouse.fleet.job import Priority
from pilothouse.ids import ProductId
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT

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
