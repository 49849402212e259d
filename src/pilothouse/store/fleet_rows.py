"""Rows to values and back for factories, budgets, tokens and fleet settings, as `rows` does for the others.

Figures of the ledger are whole millionths, in which sums are exact; those of a ceiling are numbers as they were given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from pilothouse.access.roles import Role
from pilothouse.access.token import Token, TokenKind
from pilothouse.fleet.budget import MILLION, Amount, Balance, Budget, Pause, checked, millionths
from pilothouse.fleet.factory import Factory, FactoryState, Session
from pilothouse.fleet.job import Cost
from pilothouse.fleet.ledger import Reservation, Settlement
from pilothouse.fleet.session import KeptSession
from pilothouse.fleet.settings import FleetSettings, settings_from_json
from pilothouse.ids import ProductId
from pilothouse.store.connection import Parameters
from pilothouse.store.rows import Row, at, instant, maybe_at, strict_json

Figures = tuple[int | None, int | None, int | None]
"""USD, GPU hours and tokens in millionths; None is unknown."""


def factory(row: Row) -> Factory:
    """Decode a factory."""
    return Factory(
        product=row["product"],
        name=row["name"],
        capabilities=tuple(json.loads(row["capabilities"])),
        engines=tuple(json.loads(row["engines"])),
        seats=row["seats"],
        gpus=row["gpus"],
        usd_per_hour=row["usd_per_hour"],
        state=FactoryState(row["state"]),
    )


def factory_columns(value: Factory) -> Parameters:
    """Return the columns of a factory."""
    return {
        "product": value.product,
        "name": value.name,
        "capabilities": strict_json(list(value.capabilities)),
        "engines": strict_json(list(value.engines)),
        "seats": value.seats,
        "gpus": value.gpus,
        "usd_per_hour": value.usd_per_hour,
        "state": value.state.value,
    }


def session(row: Row) -> KeptSession:
    """Decode one boot of a factory."""
    return KeptSession(
        product=row["product"],
        session=Session(
            number=row["number"],
            factory=row["factory"],
            boot=row["boot"],
            opened_at=at(row["opened_at"]),
            beat_at=at(row["beat_at"]),
            expires_at=at(row["expires_at"]),
        ),
        closed_at=maybe_at(row["closed_at"]),
        closed_why=row["closed_why"],
    )


def budget(row: Row) -> Budget:
    """Decode a budget."""
    paused_at = row["paused_at"]
    return Budget(
        product=row["product"],
        engine=row["engine"],
        ceiling=Cost(usd=row["usd"], gpu_hours=row["gpu_hours"], tokens=row["tokens"]),
        window_seconds=row["window_seconds"],
        enforced=bool(row["enforced"]),
        paused=None if paused_at is None else Pause(by=row["paused_by"], why=row["paused_why"], at=at(paused_at)),
    )


def budget_columns(value: Budget) -> Parameters:
    """Return the columns of a budget."""
    return {
        "product": value.product,
        "engine": value.engine,
        "usd": value.ceiling.usd,
        "gpu_hours": value.ceiling.gpu_hours,
        "tokens": value.ceiling.tokens,
        "window_seconds": value.window_seconds,
        "enforced": int(value.enforced),
        **pause_columns(value.paused),
    }


def pause_columns(pause: Pause | None) -> Parameters:
    """Return the columns of a pause."""
    return {
        "paused_by": None if pause is None else pause.by,
        "paused_why": None if pause is None else pause.why,
        "paused_at": None if pause is None else instant(pause.at),
    }


def figures(cost: Cost, *, what: str) -> Figures:
    """Return a cost in millionths, if each of its figures can be counted."""
    checked(cost, what=what)
    return (_millionths(cost.usd), _millionths(cost.gpu_hours), _millionths(cost.tokens))


def _millionths(value: float | None) -> int | None:
    return None if value is None else millionths(value)


def reservation(row: Row) -> Reservation:
    """Decode what an attempt has reserved."""
    return Reservation(
        job=row["job"],
        epoch=row["epoch"],
        product=row["product"],
        engine=row["engine"],
        cost=Cost(usd=_whole(row["usd"]), gpu_hours=_whole(row["gpu_hours"]), tokens=_whole(row["tokens"])),
        at=at(row["reserved_at"]),
    )


def settlement(row: Row) -> Settlement:
    """Decode what an attempt had reserved and has spent."""
    spent = Cost(
        usd=_whole(row["spent_usd"]), gpu_hours=_whole(row["spent_gpu_hours"]), tokens=_whole(row["spent_tokens"])
    )
    return Settlement(reservation=reservation(row), spent=spent)


def _whole(value: int | None) -> float | None:
    return None if value is None else value / MILLION


def balances(found: Iterable[Row]) -> Mapping[tuple[ProductId, str], Balance]:
    """Decode sums of the ledger, of which settled and unsettled ones have a row each."""
    sums: dict[tuple[ProductId, str], Balance] = {}
    for row in found:
        key = (ProductId(row["product"]), str(row["engine"]))
        before = sums.get(key, Balance())
        more = Amount(usd=_sum(row, "usd"), gpu_hours=_sum(row, "gpu_hours"), tokens=_sum(row, "tokens"))
        if row["settled"]:
            sums[key] = Balance(reserved=before.reserved, spent=before.spent + more)
        else:
            sums[key] = Balance(reserved=before.reserved + more, spent=before.spent)
    return sums


def _sum(row: Row, name: str) -> int:
    """Return a sum in millionths; PostgreSQL answers in decimals."""
    return int(row[name]) * MILLION + int(row[f"{name}_rest"])


def token(row: Row) -> Token:
    """Decode a token."""
    return Token(
        id=row["id"],
        kind=TokenKind(row["kind"]),
        name=row["name"],
        role=None if row["role"] is None else Role(row["role"]),
        product=row["product"],
        factory=row["factory"],
        digest=row["digest"],
        created_at=at(row["created_at"]),
        expires_at=maybe_at(row["expires_at"]),
        revoked_at=maybe_at(row["revoked_at"]),
        used_at=maybe_at(row["used_at"]),
    )


def token_columns(value: Token) -> Parameters:
    """Return the columns of a token."""
    return {
        "id": value.id,
        "kind": value.kind.value,
        "name": value.name,
        "role": None if value.role is None else value.role.value,
        "product": value.product,
        "factory": value.factory,
        "digest": value.digest,
        "created_at": instant(value.created_at),
        "expires_at": instant(value.expires_at),
        "revoked_at": instant(value.revoked_at),
        "used_at": instant(value.used_at),
    }


def settings(text: str) -> FleetSettings:
    """Decode a product's fleet settings."""
    return settings_from_json(json.loads(text))
