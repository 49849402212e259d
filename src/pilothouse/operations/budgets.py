"""Set a product's budgets, pause and resume them, and tell how they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pilothouse.errors import NotFound
from pilothouse.fleet.budget import Alert, Amount, Balance, Budget, Pause, Status, alerts, status
from pilothouse.ids import ProductId
from pilothouse.ports.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A budget as it stands now."""

    budget: Budget
    balance: Balance
    status: Status
    alerts: tuple[Alert, ...]


def set_budget(tx: Transaction, budget: Budget, *, now: datetime) -> Standing:
    """Return the budget with its new ceilings; a pause stays."""
    tx.budgets.put(budget)
    return standing(tx, budget.product, budget.engine, now=now)


def pause_budget(tx: Transaction, product: ProductId, engine: str, *, pause: Pause) -> Standing:
    """Return the budget as paused; one that was never set is set without a ceiling, so that anything can be paused."""
    if tx.budgets.get(product, engine) is None:
        tx.budgets.put(Budget(product=product, engine=engine))
    tx.budgets.pause(product, engine, pause=pause)
    return standing(tx, product, engine, now=pause.at)


def resume_budget(tx: Transaction, product: ProductId, engine: str, *, now: datetime) -> Standing:
    """Return the budget as resumed; one that is not paused stays as it is."""
    standing(tx, product, engine, now=now)
    tx.budgets.resume(product, engine)
    return standing(tx, product, engine, now=now)


def standing(tx: Transaction, product: ProductId, engine: str, *, now: datetime) -> Standing:
    """Return how one budget stands."""
    budget = tx.budgets.get(product, engine)
    if budget is None:
        of = f"engine {engine} of product {product}" if engine else f"product {product}"
        raise NotFound(f"{of} has no budget", fix=f"set one: `pilothouse budget set {product}`")
    return _standing(tx, budget, now=now)


def standings(tx: Transaction, product: ProductId | None, *, now: datetime) -> Sequence[Standing]:
    """Return how the budgets of a product stand, or all of them, by product and engine."""
    return [_standing(tx, budget, now=now) for budget in tx.budgets.listed(product)]


def _standing(tx: Transaction, budget: Budget, *, now: datetime) -> Standing:
    """Return the standing over what was claimed in the present window; a product's own budget counts every engine."""
    found = tx.budgets.balances(budget.product, since=budget.window(now).starts_at)
    reserved, spent = Amount(), Amount()
    for (_, engine), balance in found.items():
        if budget.applies(engine):
            reserved, spent = reserved + balance.reserved, spent + balance.spent
    balance = Balance(reserved=reserved, spent=spent)
    return Standing(
        budget=budget,
        balance=balance,
        status=status(budget, balance, now=now),
        alerts=alerts(budget, balance, now=now),
    )
