"""What a product may use within a window, and whether one more attempt fits under its ceilings.

    claim ──► estimate ──► may_reserve ──► reserved ──► attempt ends ──► settle ──► spent
                               │
                               └─ held: paused, exhausted, no room left, too dear, or of unknown cost

An attempt is reserved before it runs, so a ceiling is overstepped only by what an attempt uses beyond its reservation.
Its whole cost counts in the window in which it was claimed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from pilothouse.errors import BadValue
from pilothouse.fleet.job import Cost
from pilothouse.ids import ProductId

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOW_SECONDS_MIN = 60
WINDOW_SECONDS_MAX = 10 * 366 * 86_400

FORECAST_FROM = 0.1
"""The share of a window that must have passed before its burn rate says anything: a day's first minutes do not."""


class Unit(StrEnum):
    """What is counted, each apart."""

    USD = "usd"
    GPU_HOURS = "gpu_hours"
    TOKENS = "tokens"


MILLION = 1_000_000
FIGURE_MAX = 1e12
"""The largest figure of a cost, whose millionths are a 64-bit integer."""


def figure(cost: Cost, unit: Unit) -> float | None:
    """Return one figure of a cost."""
    match unit:
        case Unit.USD:
            return cost.usd
        case Unit.GPU_HOURS:
            return cost.gpu_hours
        case Unit.TOKENS:
            return cost.tokens
        case _:
            assert_never(unit)


def checked(cost: Cost, *, what: str) -> Cost:
    """Return the cost if each figure is a number that a budget can count."""
    for unit in Unit:
        value = figure(cost, unit)
        if value is not None and not 0 <= value <= FIGURE_MAX:
            raise BadValue(
                f"{what}: {unit.value} must be a number from 0 to {FIGURE_MAX:g}, got {value}",
                fix=f"give {unit.value} as a number that is not negative, or leave it out",
            )
    return cost


def millionths(value: float) -> int:
    """Return a figure as an integer, in which sums are exact and do not depend on their order."""
    return round(value * MILLION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Figures that can be added, in millionths. An unknown one adds nothing, so it is never let in."""

    usd: int = 0
    gpu_hours: int = 0
    tokens: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            usd=self.usd + other.usd, gpu_hours=self.gpu_hours + other.gpu_hours, tokens=self.tokens + other.tokens
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            usd=self.usd - other.usd, gpu_hours=self.gpu_hours - other.gpu_hours, tokens=self.tokens - other.tokens
        )

    def of(self, unit: Unit) -> int:
        """Return one figure."""
        match unit:
            case Unit.USD:
                return self.usd
            case Unit.GPU_HOURS:
                return self.gpu_hours
            case Unit.TOKENS:
                return self.tokens
            case _:
                assert_never(unit)


def amount(cost: Cost) -> Amount:
    """Return the known figures of a cost."""
    return Amount(
        usd=millionths(cost.usd or 0.0),
        gpu_hours=millionths(cost.gpu_hours or 0.0),
        tokens=millionths(cost.tokens or 0.0),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time, from its start up to its end."""

    starts_at: datetime
    ends_at: datetime


def window_at(now: datetime, *, seconds: int) -> Window:
    """Return the window that `now` falls in.

    Windows are counted from 1970-01-01T00:00Z and not from a stored start: every server computes the same one, a
    restart or a changed ceiling moves nothing, and a day begins at midnight UTC. A week begins on Thursday.
    """
    assert now.tzinfo is not None, f"a naive time is in no window: {now!r}"
    starts_at = now - (now - EPOCH) % timedelta(seconds=seconds)
    return Window(starts_at=starts_at, ends_at=starts_at + timedelta(seconds=seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A person's order that nothing more is claimed, until a person resumes."""

    by: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The ceilings of a product, or of one of its engines; a figure that is None has no ceiling.

    While `enforced` is off the ceilings hold nothing and only alerts are raised. A pause holds in either case.
    """

    product: ProductId
    engine: str = ""
    ceiling: Cost = field(default_factory=Cost)
    window_seconds: int = 86_400
    enforced: bool = False
    paused: Pause | None = None

    def __post_init__(self) -> None:
        checked(self.ceiling, what=f"the ceiling of {self.name}")
        if not WINDOW_SECONDS_MIN <= self.window_seconds <= WINDOW_SECONDS_MAX:
            raise BadValue(
                f"the window of {self.name} must be {WINDOW_SECONDS_MIN} to {WINDOW_SECONDS_MAX} seconds, "
                f"got {self.window_seconds}",
                fix="give the window in seconds, such as 86400 for a day",
            )

    @property
    def name(self) -> str:
        """What people call it."""
        return f"engine {self.engine} of product {self.product}" if self.engine else f"product {self.product}"

    def applies(self, engine: str) -> bool:
        """Whether jobs of this engine count under it; a job without an engine only counts under its product."""
        return self.engine in {"", engine}

    def ceilings(self) -> Iterator[tuple[Unit, float]]:
        """Return the units that have a ceiling, with it."""
        return ((unit, ceiling) for unit in Unit if (ceiling := figure(self.ceiling, unit)) is not None)

    def window(self, now: datetime) -> Window:
        """Return the window that `now` falls in."""
        return window_at(now, seconds=self.window_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the attempts claimed in the present window have reserved and have spent."""

    reserved: Amount = field(default_factory=Amount)
    spent: Amount = field(default_factory=Amount)

    def reserve(self, cost: Cost) -> Balance:
        """Return the balance with one more attempt reserved."""
        return Balance(reserved=self.reserved + amount(cost), spent=self.spent)

    def end(self, *, reserved: Cost, settled: Cost) -> Balance:
        """Return the balance after an attempt has ended: its reservation is free again and its cost is spent."""
        return Balance(reserved=self.reserved - amount(reserved), spent=self.spent + amount(settled))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What an attempt takes and what that costs: `usd_per_hour` is the price of one seat, None when nobody knows."""

    seats: int
    gpus: int
    usd_per_hour: float | None

    def cost(self, seconds: float) -> Cost:
        """Return what so much time costs; tokens cannot be told from time."""
        hours = seconds / 3600
        usd = None if self.usd_per_hour is None else hours * self.seats * self.usd_per_hour
        return Cost(usd=usd, gpu_hours=hours * self.gpus)


def estimate(asked: Cost, *, timeout_seconds: float, rates: Rates) -> Cost:
    """Return what to reserve: what the job asked for, else what its whole timeout costs on this factory."""
    return _first(checked(asked, what="the job's budget"), rates.cost(timeout_seconds))


def settle(reserved: Cost, *, reported: Cost, elapsed_seconds: float, rates: Rates, before: Cost | None = None) -> Cost:
    """Return what an attempt has cost: as reported, else by its time, else all that it reserved.

    `before` is what the same attempt was settled at already. A later word can raise that and never lowers it, so words
    may come twice and in any order. A machine that costs nothing says nothing of what a job paid elsewhere: there the
    reservation counts.
    """
    checked(reported, what="the reported cost")
    timed = rates.cost(max(0.0, elapsed_seconds))
    timed = Cost(usd=timed.usd if rates.usd_per_hour else None, gpu_hours=timed.gpu_hours)
    return _largest(_first(reported, timed, reserved), Cost() if before is None else before)


def _first(*costs: Cost) -> Cost:
    """Return every figure from the first cost that knows it."""

    def known(unit: Unit) -> float | None:
        return next((value for cost in costs if (value := figure(cost, unit)) is not None), None)

    return Cost(usd=known(Unit.USD), gpu_hours=known(Unit.GPU_HOURS), tokens=known(Unit.TOKENS))


def _largest(*costs: Cost) -> Cost:
    def most(unit: Unit) -> float | None:
        return max((value for cost in costs if (value := figure(cost, unit)) is not None), default=None)

    return Cost(usd=most(Unit.USD), gpu_hours=most(Unit.GPU_HOURS), tokens=most(Unit.TOKENS))


class Hold(StrEnum):
    """Why a budget lets nothing through; the last three may be over as soon as an attempt ends or the job changes."""

    PAUSED = "paused"
    EXHAUSTED = "exhausted"
    NO_ROOM = "no_room"
    TOO_DEAR = "too_dear"
    COST_UNKNOWN = "cost_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The attempt may not be claimed now, what holds it, and what would let it go."""

    hold: Hold
    why: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The attempt may be reserved; `would` is what an enforced budget would have said."""

    would: Held | None = None


def may_reserve(budget: Budget, balance: Balance, cost: Cost) -> Allowed | Held:
    """Return whether one more attempt of this estimated cost may be claimed under the budget."""
    if budget.paused is not None:
        return Held(
            hold=Hold.PAUSED,
            why=f"{budget.name} was paused by {budget.paused.by}: {budget.paused.why}",
            fix=f"resume the budget of {budget.name}",
        )
    held = _ceilings(budget, balance, cost)
    return held if held is not None and budget.enforced else Allowed(would=held)


def may_reserve_all(budgets: Iterable[tuple[Budget, Balance]], cost: Cost, *, engine: str) -> Allowed | Held:
    """Return whether every budget that applies to the engine allows the attempt; the first that does not speaks."""
    would: Held | None = None
    for budget, balance in budgets:
        if budget.applies(engine):
            said = may_reserve(budget, balance, cost)
            if isinstance(said, Held):
                return said
            would = would or said.would
    return Allowed(would=would)


def _ceilings(budget: Budget, balance: Balance, cost: Cost) -> Held | None:
    for unit, ceiling in budget.ceilings():
        held = _ceiling(budget, balance, unit=unit, ceiling=ceiling, cost=figure(cost, unit))
        if held is not None:
            return held
    return None


def _ceiling(budget: Budget, balance: Balance, *, unit: Unit, ceiling: float, cost: float | None) -> Held | None:
    most, spent, reserved = millionths(ceiling), balance.spent.of(unit), balance.reserved.of(unit)
    raise_it = f"raise the {unit.value} ceiling of {budget.name}"
    if spent >= most:
        why = _spent_text(budget, balance, unit=unit, ceiling=ceiling)
        return Held(hold=Hold.EXHAUSTED, why=why, fix=f"wait for the next window, or {raise_it}")
    if cost is None:
        why = f"nobody knows what the job takes in {unit.value}, and {budget.name} has a ceiling for it"
        return Held(hold=Hold.COST_UNKNOWN, why=why, fix=f"give the job a budget with {unit.value}{_rate_hint(unit)}")
    if millionths(cost) > most:
        why = f"the job may take {cost:.10g} {unit.value}, and the whole ceiling of {budget.name} is {ceiling:.10g}"
        return Held(hold=Hold.TOO_DEAR, why=why, fix=f"give the job a smaller budget or timeout, or {raise_it}")
    if spent + reserved + millionths(cost) > most:
        left = f"{max(0, most - spent - reserved) / MILLION:.10g}"
        why = f"the job may take {cost:.10g} {unit.value}, and {budget.name} has only {left} that is not reserved"
        return Held(hold=Hold.NO_ROOM, why=why, fix=f"wait until running attempts have ended, or {raise_it}")
    return None


def _rate_hint(unit: Unit) -> str:
    return ", or the factory its price per hour" if unit is Unit.USD else ""


def _spent_text(budget: Budget, balance: Balance, *, unit: Unit, ceiling: float) -> str:
    spent = balance.spent.of(unit) / MILLION
    return f"{budget.name} has spent {spent:.10g} of {ceiling:.10g} {unit.value}"


class State(StrEnum):
    """Whether a budget lets attempts through; exhausted ends by itself with the window."""

    ACTIVE = "active"
    PAUSED = "paused"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a budget stands."""

    state: State
    exhausted: tuple[Unit, ...]
    window: Window


def status(budget: Budget, balance: Balance, *, now: datetime) -> Status:
    """Return how the budget stands, derived from what was spent, so that nothing has to be switched back.

    `exhausted` names the spent units even where nothing is enforced.
    """
    exhausted = tuple(unit for unit, ceiling in budget.ceilings() if balance.spent.of(unit) >= millionths(ceiling))
    state = State.EXHAUSTED if exhausted and budget.enforced else State.ACTIVE
    state = State.PAUSED if budget.paused is not None else state
    return Status(state=state, exhausted=exhausted, window=budget.window(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Where one unit is heading: its burn rate, its sum at the window's end, and when it reaches the ceiling."""

    unit: Unit
    per_hour: float
    projected: float
    ceiling: float
    runs_out_at: datetime | None

    @property
    def overspends(self) -> bool:
        """Whether the window would end above the ceiling."""
        return self.projected > self.ceiling


def forecast(budget: Budget, balance: Balance, *, now: datetime) -> tuple[Forecast, ...]:
    """Return the forecast of every unit with a ceiling; none while the window is too young to judge."""
    window = budget.window(now)
    elapsed = (now - window.starts_at).total_seconds()
    if elapsed < FORECAST_FROM * budget.window_seconds:
        return ()
    return tuple(
        _forecast(unit, ceiling, balance=balance, now=now, window=window) for unit, ceiling in budget.ceilings()
    )


def _forecast(unit: Unit, ceiling: float, *, balance: Balance, now: datetime, window: Window) -> Forecast:
    spent = balance.spent.of(unit) / MILLION
    per_second = spent / (now - window.starts_at).total_seconds()
    remaining = (window.ends_at - now).total_seconds()
    projected = spent + max(per_second * remaining, balance.reserved.of(unit) / MILLION)
    seconds_left = (ceiling - spent) / per_second if per_second > 0 else math.inf
    runs_out_at = now + timedelta(seconds=max(0.0, seconds_left)) if seconds_left <= remaining else None
    return Forecast(
        unit=unit, per_hour=3600 * per_second, projected=projected, ceiling=ceiling, runs_out_at=runs_out_at
    )


class AlertKind(StrEnum):
    """What a budget warns of."""

    PAUSED = "budget_paused"
    EXHAUSTED = "budget_exhausted"
    ENGINE_EXHAUSTED = "engine_budget_exhausted"
    OVERSPEND_PROJECTED = "budget_overspend_projected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One warning; `dry_run` ones tell what enforcement would do."""

    kind: AlertKind
    text: str
    dry_run: bool


def alerts(budget: Budget, balance: Balance, *, now: datetime) -> tuple[Alert, ...]:
    """Return what a person should know of the budget, also while nothing is enforced."""
    found: list[tuple[AlertKind, str]] = []
    if budget.paused is not None:
        found.append((AlertKind.PAUSED, f"{budget.name} was paused by {budget.paused.by}: {budget.paused.why}"))
    spent = status(budget, balance, now=now).exhausted
    exhausted = AlertKind.ENGINE_EXHAUSTED if budget.engine else AlertKind.EXHAUSTED
    for unit, ceiling in budget.ceilings():
        if unit in spent:
            found.append((exhausted, _spent_text(budget, balance, unit=unit, ceiling=ceiling)))
    for line in forecast(budget, balance, now=now):
        if line.overspends and line.unit not in spent:
            text = f"{budget.name} is heading for {line.projected:.4g} of {line.ceiling:.10g} {line.unit.value}"
            found.append((AlertKind.OVERSPEND_PROJECTED, text))
    return tuple(
        Alert(kind=kind, text=text, dry_run=not budget.enforced and kind is not AlertKind.PAUSED)
        for kind, text in found
    )
