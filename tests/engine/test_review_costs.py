"""An attempt that ran and tells no time has cost something all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.world import ONE, Fleet, make_factory

from pilothouse.fleet.budget import Budget
from pilothouse.fleet.job import Cost, Outcome, Report
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT

HOUR = 3600.0
GIVEN_BACK: Report = replace(
    values.make_report(), outcome=Outcome.PREEMPTED, seconds=0.0, exit_code=None, metrics={}, artifacts=()
)


@pytest.mark.parametrize(("started", "usd"), [(True, 10.0), (False, 0.0)])
def test_an_attempt_that_is_given_back_costs_the_time_since_its_claim(*, started: bool, usd: float) -> None:
    """One that never started has used nothing."""
    fleet = Fleet(make_factory(ONE, usd_per_hour=10.0))
    fleet.budget(Budget(product=PRODUCT, ceiling=Cost(usd=500.0), window_seconds=86_400))
    fleet.submit(1, cost=Cost(usd=20.0))
    handover = fleet.take()
    if started:
        fleet.begin(handover)
    fleet.clock.advance(HOUR)

    assert fleet.complete(handover, GIVEN_BACK) is None

    with fleet.store.read() as tx:
        (budget,) = tx.budgets.listed(PRODUCT)
        balance = tx.budgets.balances(PRODUCT, since=budget.window(fleet.clock.now()).starts_at)[PRODUCT, ""]
    assert balance.spent.usd == usd * 1_000_000
