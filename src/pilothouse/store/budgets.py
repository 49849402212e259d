"""`ports.store.Budgets` over a connection of either database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pilothouse.errors import NotFound
from pilothouse.fleet.budget import Balance, Budget, Pause
from pilothouse.fleet.changed import BudgetPut, Changed
from pilothouse.fleet.job import Cost
from pilothouse.fleet.ledger import Reservation, Settlement
from pilothouse.ids import Epoch, JobNumber, ProductId
from pilothouse.store import fleet_rows
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.rows import instant

EVERY = ""
"""Stands for every product in a query, since no product is named so."""


class StoredBudgets:
    """Budgets and the ledger within one transaction of the connection."""

    def __init__(self, connection: Connection, changed: list[Changed]) -> None:
        self._connection = connection
        self._sql = connection.queries("budgets")
        self._changed = changed
        self.settled: list[Settlement] = []

    def put(self, budget: Budget) -> None:
        """Insert, or replace the ceiling, window and enforcement of one that exists and leave its pause."""
        self._connection.run(self._sql["put_budget"], fleet_rows.budget_columns(budget))
        self._changed.append(BudgetPut(budget.product))

    def get(self, product: ProductId, engine: str) -> Budget | None:
        """Return the budget of a product's engine, or of the product when the engine is ""."""
        row = self._connection.row(self._sql["budget_by_engine"], {"product": product, "engine": engine})
        return None if row is None else fleet_rows.budget(row)

    def listed(self, product: ProductId | None) -> Sequence[Budget]:
        """Return the budgets by product and engine; None is every product."""
        if product is None:
            found = self._connection.rows(self._sql["all_budgets"])
        else:
            found = self._connection.rows(self._sql["budgets_of_product"], {"product": product})
        return [fleet_rows.budget(row) for row in found]

    def pause(self, product: ProductId, engine: str, *, pause: Pause) -> None:
        """Keep who has paused the budget, why and when; a later pause takes the place of an earlier one."""
        self._set_pause(product, engine, pause)

    def resume(self, product: ProductId, engine: str) -> None:
        """Take the pause away."""
        self._set_pause(product, engine, None)

    def _set_pause(self, product: ProductId, engine: str, pause: Pause | None) -> None:
        parameters: Parameters = {"product": product, "engine": engine, **fleet_rows.pause_columns(pause)}
        if self._connection.run(self._sql["pause_budget"], parameters) == 0:
            name = f"engine {engine!r} of product {product!r}" if engine else f"product {product!r}"
            raise NotFound(f"{name} has no budget", fix="set one first: `pilothouse budget set`")
        self._changed.append(BudgetPut(product))

    # --- the ledger

    def reserve(self, reservation: Reservation) -> None:
        """Keep what a claimed attempt may use; an attempt reserves once."""
        self.reserve_many([reservation])

    def reserve_many(self, reservations: Sequence[Reservation]) -> None:
        """Keep what many claimed attempts may use, all or none."""
        lines = [
            (
                each.job,
                each.epoch,
                each.product,
                each.engine,
                instant(each.at),
                *fleet_rows.figures(each.cost, what="a reservation"),
            )
            for each in reservations
        ]
        self._connection.run_many(self._sql["reserve"], self._connection.batch(lines))

    def settle(self, job: JobNumber, *, epoch: Epoch, cost: Cost, now: datetime) -> bool:
        """Keep what an attempt has used, an unknown figure as it was reserved; say whether it was not settled before.

        The first settlement stays. An attempt that has reserved nothing settles nothing.
        """
        usd, gpu_hours, tokens = fleet_rows.figures(cost, what="a settlement")
        parameters: Parameters = {
            "job": job,
            "epoch": epoch,
            "usd": usd,
            "gpu_hours": gpu_hours,
            "tokens": tokens,
            "now": instant(now),
        }
        if self._connection.run(self._sql["settle"], parameters) == 0:
            return False
        row = self._connection.row(self._sql["settled"], {"job": job, "epoch": epoch})
        assert row is not None, f"attempt {epoch} of job {job} was settled in this transaction"
        self.settled.append(fleet_rows.settlement(row))
        return True

    def unsettled(self) -> Sequence[Reservation]:
        """Return what attempts have reserved and not settled, of every product; read once, when the engine starts."""
        return [fleet_rows.reservation(row) for row in self._connection.rows(self._sql["unsettled"])]

    def balances(self, product: ProductId | None, *, since: datetime) -> Mapping[tuple[ProductId, str], Balance]:
        """Return what attempts claimed since then have reserved and spent, by the engine of their jobs.

        A job without an engine is counted under ""; a product's own budget is the sum over all of its engines.
        """
        parameters: Parameters = {"product": EVERY if product is None else product, "since": instant(since)}
        return fleet_rows.balances(self._connection.rows(self._sql["balances"], parameters))
