"""Budgets as the scheduler counts them: reserved with the claim, settled with the end, and nobody else held back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.engine.world import ONE, TWO, Fleet, make_factory, memory

from pilothouse.engine.commands import Act, Look
from pilothouse.errors import StorageFailed
from pilothouse.fleet.board import Shut
from pilothouse.fleet.budget import Balance, Budget, Pause
from pilothouse.fleet.job import Cost, Outcome
from pilothouse.fleet.stages import Stage
from pilothouse.ids import ProductId
from pilothouse.operations.cancel import cancel
from pilothouse.testing import values
from pilothouse.testing.values import PRODUCT

MILLION = 1_000_000
BUDGET = Budget(product=PRODUCT, ceiling=Cost(tokens=100.0), enforced=True)


@pytest.fixture(name="fleet")
def _fleet() -> Fleet:
    fleet = Fleet(make_factory(ONE, seats=4, engines=("claude", "codex")), make_factory(TWO, seats=4))
    fleet.budget(BUDGET)
    return fleet


def same(fleet: Fleet) -> None:
    """Compare the memory with the database."""
    assert memory(fleet.scheduler) == memory(fleet.fresh())


def tokens(fleet: Fleet) -> tuple[float, float]:
    """Return what is reserved and spent, as the ledger has it."""
    with fleet.store.read() as tx:
        balances = tx.budgets.balances(PRODUCT, since=BUDGET.window(fleet.clock.now()).starts_at).values()
    total = Balance()
    for each in balances:
        total = Balance(reserved=total.reserved + each.reserved, spent=total.spent + each.spent)
    return total.reserved.tokens / MILLION, total.spent.tokens / MILLION


def submit(fleet: Fleet, number: int, asked: float | None = 60.0, *, engine: str = "") -> None:
    """Submit a job that may use so many tokens."""
    fleet.submit(number, cost=Cost(tokens=asked), engine=engine)


def test_a_claim_reserves_and_an_end_settles(fleet: Fleet) -> None:
    """What was reported counts, and only once."""
    submit(fleet, 1)
    handover = fleet.take()
    assert tokens(fleet) == (60.0, 0.0)
    same(fleet)
    report = replace(values.make_report(), cost=Cost(tokens=45.0))
    for _ in range(2):
        assert fleet.complete(handover, report) is None

    assert tokens(fleet) == (0.0, 45.0)
    assert fleet.job(handover.job).stage is Stage.SHIPPED
    same(fleet)


def test_no_more_is_claimed_than_fits_under_the_ceiling(fleet: Fleet) -> None:
    """Also within one batch and one claim; what was not used is free again."""
    for number in (1, 2, 3):
        submit(fleet, number)
    claims = [fleet.claim_of(factory, seats=4, jobs=4) for factory in (ONE, TWO)]
    fleet.run(*claims)
    handed = [each for claim in claims for each in claim.value()]
    assert len(handed) == 1

    fleet.complete(handed[0], replace(values.make_report(), cost=Cost(tokens=40.0)))

    assert len(fleet.claim(ONE, seats=4, jobs=4)) == 1
    assert tokens(fleet) == (60.0, 40.0)
    same(fleet)


def test_an_exhausted_budget_holds_its_own_product_only(fleet: Fleet) -> None:
    """Whatever is left waits; others are claimed at once."""
    submit(fleet, 1, 100.0)
    fleet.complete(fleet.take(), replace(values.make_report(), cost=Cost(tokens=100.0)))
    submit(fleet, 2, 1.0)
    other = values.make_new_job(3, product=ProductId("other"))
    fleet.submit(3, new=other)

    assert [each.job for each in fleet.claim(jobs=4)] == [other.id]


def test_the_budget_of_an_engine_holds_that_engine_only(fleet: Fleet) -> None:
    """And what an engine uses counts under the product as well."""
    fleet.budget(replace(BUDGET, engine="claude", ceiling=Cost(tokens=10.0)))
    submit(fleet, 1, 11.0, engine="claude")
    submit(fleet, 2, 11.0, engine="codex")
    submit(fleet, 3, 10.0, engine="claude")
    submit(fleet, 4, 11.0)

    assert sorted(each.job for each in fleet.claim(seats=4, jobs=4)) == ["job-demo-2", "job-demo-3", "job-demo-4"]
    assert tokens(fleet) == (32.0, 0.0)
    same(fleet)


def test_a_pause_holds_until_it_is_lifted(fleet: Fleet) -> None:
    """Also where nothing is enforced; waiting claims are tried again then."""
    fleet.budget(replace(BUDGET, enforced=False))
    pause = Pause(by="ada", why="a look at the bill", at=fleet.clock.now())
    fleet.ask(Act(lambda tx: tx.budgets.pause(PRODUCT, "", pause=pause)))
    fleet.scheduler.refund()
    submit(fleet, 1, 1000.0)
    claim = fleet.claim_of(wait_seconds=60)
    fleet.run(claim)
    assert fleet.retry() == []
    fleet.ask(Act(lambda tx: tx.budgets.resume(PRODUCT, "")))
    fleet.ask(Look(lambda scheduler: scheduler.refund()))

    assert fleet.retry() == [claim]
    assert len(claim.value()) == 1


def test_what_holds_every_job_back_is_told_from_what_holds_only_dear_ones(fleet: Fleet) -> None:
    """A job too dear for what is left lets a cheaper one of the same kind pass; after the ceiling nothing does."""
    for number, asked in enumerate((95.0, 10.0, 4.0), start=1):
        submit(fleet, number, asked)
    first = fleet.take()
    (dear, cheap) = (fleet.scheduler.board.shapes[fleet.job(values.make_new_job(n).id).shape] for n in (2, 3))
    (place,) = fleet.scheduler.board.places.values()
    why = fleet.scheduler.funds.why

    assert (type(why(dear, place)), why(cheap, place)) == (str, None)
    second = fleet.take()
    assert second.key == "step/3"
    fleet.complete(first, replace(values.make_report(), cost=Cost(tokens=200.0)))

    assert [type(why(shape, place)) for shape in (dear, cheap)] == [Shut, Shut]


def test_an_unknown_cost_is_never_zero(fleet: Fleet) -> None:
    """A job that cannot say what it takes waits, and an end that tells nothing counts as all that was reserved."""
    submit(fleet, 1, None)
    submit(fleet, 2)
    handover = fleet.take()
    assert handover.job == "job-demo-2"

    fleet.complete(handover)

    assert tokens(fleet) == (0.0, 60.0)


@pytest.mark.parametrize("end", ["cancelled", "lost", "crashed"])
def test_every_end_settles(fleet: Fleet, end: str) -> None:
    """Nothing stays reserved for an attempt that is over."""
    submit(fleet, 1)
    handover = fleet.take()
    match end:
        case "cancelled":
            fleet.ask(Act(lambda tx: cancel(tx, handover.job, now=fleet.clock.now())))
        case "lost":
            fleet.beat(boot="next")
        case "crashed":
            fleet.complete(handover, values.make_report(Outcome.CRASHED))

    assert tokens(fleet) == (0.0, 60.0)
    same(fleet)


def test_a_reservation_whose_claim_was_not_stored_is_forgotten(fleet: Fleet) -> None:
    """Otherwise each failure would take from the budget."""
    submit(fleet, 1)
    for _ in range(3):
        fleet.store.failing = True
        with pytest.raises(StorageFailed):
            fleet.claim()
        fleet.store.failing = False

    assert len(fleet.claim()) == 1
    assert tokens(fleet) == (60.0, 0.0)
    same(fleet)


def test_a_new_window_lets_waiting_work_go(fleet: Fleet) -> None:
    """What was spent before does not count any more, and whoever waits is tried again."""
    submit(fleet, 1, 100.0)
    fleet.complete(fleet.take(), replace(values.make_report(), cost=Cost(tokens=100.0)))
    submit(fleet, 2)
    claim = fleet.claim_of(wait_seconds=10**6)
    fleet.run(claim)
    assert fleet.retry() == []
    fleet.clock.advance(86_400)
    fleet.ask(Look(lambda _: None))

    assert fleet.retry() == [claim]
    assert len(claim.value()) == 1
    same(fleet)


def test_a_budget_that_is_set_later_counts_from_then_on(fleet: Fleet) -> None:
    """Attempts that reserved nothing settle nothing."""
    other = ProductId("other")
    fleet.submit(1, new=values.make_new_job(1, product=other))
    handover = fleet.take()
    fleet.budget(Budget(product=other, ceiling=Cost(tokens=5.0), enforced=True))

    assert fleet.complete(handover) is None
    same(fleet)
