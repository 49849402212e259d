"""The budgets in memory: what is reserved and spent in the present window, so that a claim asks no table."""

from __future__ import annotations

from datetime import datetime

from pilothouse.fleet.board import Shut
from pilothouse.fleet.budget import Balance, Budget, Held, Hold, Rates, estimate, may_reserve_all
from pilothouse.fleet.job import Cost, Shape
from pilothouse.fleet.ledger import Reservation, Settlement
from pilothouse.fleet.place import Place
from pilothouse.ids import Epoch, JobNumber, ProductId
from pilothouse.ports.store import Transaction


class Funds:
    """Every budget with its balance. A balance is read anew when its window ends."""

    def __init__(self) -> None:
        self._budgets: dict[ProductId, list[Budget]] = {}
        self._balances: dict[tuple[ProductId, str], Balance] = {}
        self._reserved: dict[tuple[JobNumber, Epoch], Reservation] = {}
        self._window_ends: dict[ProductId, datetime] = {}
        self.counts = False

    def load(self, tx: Transaction, *, now: datetime) -> None:
        """Read every budget and what counts under it; `counts` tells whether there is any."""
        self._budgets, self._balances, self._window_ends = {}, {}, {}
        for budget in tx.budgets.listed(None):
            self._budgets.setdefault(budget.product, []).append(budget)
        self.counts = bool(self._budgets)
        self._reserved = {(each.job, each.epoch): each for each in tx.budgets.unsettled()}
        for product in self._budgets:
            self._read(tx, product, now=now)

    def _read(self, tx: Transaction, product: ProductId, *, now: datetime) -> None:
        for budget in self._budgets[product]:
            window = budget.window(now)
            by_engine = tx.budgets.balances(product, since=window.starts_at)
            total = Balance()
            for (_, engine), balance in by_engine.items():
                if budget.applies(engine):
                    total = Balance(reserved=total.reserved + balance.reserved, spent=total.spent + balance.spent)
            self._balances[product, budget.engine] = total
            ends = self._window_ends.get(product, window.ends_at)
            self._window_ends[product] = min(ends, window.ends_at)

    def outdated(self, now: datetime) -> bool:
        """Whether a window has ended, so that balances have to be read anew."""
        return any(now >= end for end in self._window_ends.values())

    def renew(self, tx: Transaction, *, now: datetime) -> None:
        """Read the balances of those products anew whose window has ended."""
        for product in list(self._budgets):
            if now >= self._window_ends.get(product, now):
                self._window_ends.pop(product, None)
                self._read(tx, product, now=now)

    def settle(self, settlement: Settlement, *, now: datetime) -> None:
        """Count what an attempt has spent in place of what it had reserved."""
        line = settlement.reservation
        self._reserved.pop((line.job, line.epoch), None)
        for budget in self._budgets.get(line.product, ()):
            if budget.applies(line.engine) and line.at >= budget.window(now).starts_at:
                key = (budget.product, budget.engine)
                self._balances[key] = self._balances[key].end(reserved=line.cost, settled=settlement.spent)

    def cost(self, shape: Shape, place: Place) -> Cost:
        """Return what an attempt of the shape is expected to use at a place."""
        rates = Rates(seats=shape.seats, gpus=shape.gpus, usd_per_hour=place.usd_per_hour)
        return estimate(shape.cost, timeout_seconds=shape.timeout_seconds, rates=rates)

    def held(self, shape: Shape, place: Place) -> Held | None:
        """Return why the budgets hold a shape back at a place, or None."""
        budgets = self._budgets.get(shape.product)
        if not budgets:
            return None
        standing = [(budget, self._balances[budget.product, budget.engine]) for budget in budgets]
        said = may_reserve_all(standing, self.cost(shape, place), engine=shape.engine)
        return said if isinstance(said, Held) else None

    def why(self, shape: Shape, place: Place) -> str | None:
        """Return the reason of `held` in words, a `Shut` where it is the same for every job of the engine."""
        held = self.held(shape, place)
        if held is None:
            return None
        return Shut(held.why) if held.hold in _WHATEVER_IT_COSTS else held.why

    def reserve(
        self, number: JobNumber, *, epoch: Epoch, shape: Shape, place: Place, now: datetime
    ) -> Reservation | None:
        """Return the line for the ledger, counted already, or None where no budget counts the product."""
        budgets = self._budgets.get(shape.product)
        if not budgets:
            return None
        cost = self.cost(shape, place)
        line = Reservation(job=number, epoch=epoch, product=shape.product, engine=shape.engine, cost=cost, at=now)
        self._reserved[number, epoch] = line
        for budget in budgets:
            if budget.applies(shape.engine):
                key = (budget.product, budget.engine)
                self._balances[key] = self._balances[key].reserve(cost)
        return line

    def release(self, line: Reservation) -> None:
        """Count a line no more that never came into the ledger."""
        self._reserved.pop((line.job, line.epoch), None)
        for budget in self._budgets.get(line.product, ()):
            if budget.applies(line.engine):
                key = (budget.product, budget.engine)
                self._balances[key] = self._balances[key].end(reserved=line.cost, settled=_NOTHING)

    def is_reserved(self, number: JobNumber, epoch: Epoch) -> bool:
        """Whether the attempt has reserved something, which its end has to settle."""
        return (number, epoch) in self._reserved


_WHATEVER_IT_COSTS = frozenset({Hold.PAUSED, Hold.EXHAUSTED})
_NOTHING = Cost(usd=0.0, gpu_hours=0.0, tokens=0.0)
