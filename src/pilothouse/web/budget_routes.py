"""Budgets: their ceilings, and how they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.access.roles import Permission
from pilothouse.canonical import Json
from pilothouse.fleet.budget import MILLION, Budget, Pause, Unit
from pilothouse.fleet.job import Cost
from pilothouse.ids import ProductId
from pilothouse.operations.audit import keep
from pilothouse.operations.budgets import Standing, pause_budget, resume_budget, set_budget, standing, standings
from pilothouse.ports.store import Transaction
from pilothouse.web.answers import BudgetAnswer, BudgetsAnswer
from pilothouse.web.bodies import Ceiling, Empty, Why, take
from pilothouse.web.identity import Caller
from pilothouse.web.parts import ProductPath, parts_of, route, told

router = APIRouter()
Engine = Annotated[
    str,
    Query(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,127})?$", description="One engine's budget; without it, the product's."
    ),
]


@router.get("/fleet/budgets", **route(answers={200: BudgetsAnswer}))
async def list_budgets(request: Request) -> Response:
    """List the budgets that the caller may see, and how each stands."""
    parts = parts_of(request)
    caller = await parts.gate.admit_all(request, Permission.READ)
    now = parts.clock.now()
    found = await parts.read(lambda tx: standings(tx, caller.product, now=now))
    return told({"budgets": [budget_json(each) for each in found]})


@router.get("/fleet/budgets/{product}", **route(answers={200: BudgetAnswer}, problems=(404,)))
async def show_budget(request: Request, product: ProductPath, engine: Engine = "") -> Response:
    """Tell how a budget stands."""
    parts = parts_of(request)
    await parts.gate.admit_for(request, Permission.READ, ProductId(product))
    now = parts.clock.now()
    return told(budget_json(await parts.read(lambda tx: standing(tx, ProductId(product), engine, now=now))))


@router.put("/fleet/budgets/{product}", **route(answers={200: BudgetAnswer}, body=Ceiling))
async def put_budget(request: Request, product: ProductPath, engine: Engine = "") -> Response:
    """Set a budget's ceilings; what was spent and a pause stay."""
    parts = parts_of(request)
    caller = await parts.gate.admit_for(request, Permission.FUND, ProductId(product))
    body = await take(request, Ceiling)
    budget = Budget(
        product=ProductId(product),
        engine=engine,
        ceiling=Cost(usd=body.usd, gpu_hours=body.gpu_hours, tokens=body.tokens),
        window_seconds=body.window_seconds,
        enforced=body.enforced,
    )
    now = parts.clock.now()
    return await _changed(request, caller, budget, "set", lambda tx: set_budget(tx, budget, now=now))


@router.post("/fleet/budgets/{product}/pause", **route(answers={200: BudgetAnswer}, body=Why))
async def pause(request: Request, product: ProductPath, engine: Engine = "") -> Response:
    """Let nothing more of the budget be claimed until it is resumed."""
    parts = parts_of(request)
    caller = await parts.gate.admit_for(request, Permission.OPERATE, ProductId(product))
    body = await take(request, Why)
    order = Pause(by=caller.name, why=body.reason, at=parts.clock.now())
    budget = Budget(product=ProductId(product), engine=engine)
    return await _changed(
        request, caller, budget, "pause", lambda tx: pause_budget(tx, ProductId(product), engine, pause=order)
    )


@router.post("/fleet/budgets/{product}/resume", **route(answers={200: BudgetAnswer}, problems=(404,), body=Empty))
async def resume(request: Request, product: ProductPath, engine: Engine = "") -> Response:
    """Let the budget's jobs be claimed again."""
    parts = parts_of(request)
    caller = await parts.gate.admit_for(request, Permission.OPERATE, ProductId(product))
    await take(request, Empty)
    now = parts.clock.now()
    budget = Budget(product=ProductId(product), engine=engine)
    return await _changed(
        request, caller, budget, "resume", lambda tx: resume_budget(tx, ProductId(product), engine, now=now)
    )


async def _changed(
    request: Request, caller: Caller, named: Budget, verb: str, change: Callable[[Transaction], Standing]
) -> Response:
    """Return the budget after the change, of which the audit log keeps a line."""
    parts = parts_of(request)
    now = parts.clock.now()

    def act(tx: Transaction) -> Standing:
        before = tx.budgets.get(named.product, named.engine)
        changed = change(tx)
        keep(
            tx,
            f"budget.{verb}",
            f"{named.product}/{named.engine}" if named.engine else named.product,
            actor=caller.actor,
            product=named.product,
            now=now,
            states=(None if before is None else _terms(before), _terms(changed.budget)),
        )
        return changed

    return told(budget_json(await parts.engine.apply_async(act)))


def budget_json(found: Standing) -> dict[str, Json]:
    """Return a budget as it stands."""
    return {
        **_terms(found.budget),
        "state": found.status.state.value,
        "window": {
            "starts_at": found.status.window.starts_at.isoformat(),
            "ends_at": found.status.window.ends_at.isoformat(),
        },
        "spent": {unit.value: found.balance.spent.of(unit) / MILLION for unit in Unit},
        "reserved": {unit.value: found.balance.reserved.of(unit) / MILLION for unit in Unit},
        "alerts": [
            {"kind": alert.kind.value, "detail": alert.text, "dry_run": alert.dry_run} for alert in found.alerts
        ],
    }


def _terms(budget: Budget) -> dict[str, Json]:
    """Return what people have set of a budget."""
    pause = budget.paused
    return {
        "product": budget.product,
        "engine": budget.engine,
        "ceiling": budget.ceiling.as_json(),
        "window_seconds": budget.window_seconds,
        "enforced": budget.enforced,
        "paused": None if pause is None else {"by": pause.by, "why": pause.why, "at": pause.at.isoformat()},
    }
