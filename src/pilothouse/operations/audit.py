"""Keep what was done with a privilege, in the transaction that does it; and tell of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilothouse.access.audit import Actor, AuditLine, Deed
from pilothouse.canonical import Json, digest
from pilothouse.fleet.wire import finite
from pilothouse.ids import ProductId
from pilothouse.ports.audit import Wanted
from pilothouse.ports.store import Transaction


def keep(
    tx: Transaction,
    act: str,
    named: str,
    *,
    actor: Actor,
    product: ProductId | None,
    now: datetime,
    states: tuple[Json, Json] = (None, None),
    detail: str = "",
) -> None:
    """Keep that the actor did this to what is so named; `states` are what it was before and is afterwards."""
    before, after = (None if state is None else digest(finite(state)) for state in states)
    tx.audit.append(
        Deed(at=now, product=product, actor=actor, act=act, object=named, detail=detail, before=before, after=after)
    )


def audit_page(tx: Transaction, wanted: Wanted) -> tuple[Sequence[AuditLine], int | None]:
    """Return the lines of one page, newest first, and the position to go on before if there may be more."""
    lines = tx.audit.listed(wanted)
    return lines, lines[-1].position if len(lines) == wanted.limit else None


def line_json(line: AuditLine) -> dict[str, Json]:
    """Return a line as it is told."""
    deed = line.deed
    return {
        "position": line.position,
        "at": deed.at.isoformat(),
        "product": deed.product,
        "actor": deed.actor.name,
        "token": deed.actor.token,
        "act": deed.act,
        "object": deed.object,
        "detail": deed.detail,
        "before": deed.before,
        "after": deed.after,
    }
