"""What a product may use: reserved before it runs, settled once, and derived from what was spent."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.errors import BadValue
from pilothouse.fleet.budget import (
    EPOCH,
    FIGURE_MAX,
    WINDOW_SECONDS_MAX,
    AlertKind,
    Allowed,
    Amount,
    Balance,
    Budget,
    Held,
    Hold,
    Pause,
    Rates,
    State,
    Unit,
    alerts,
    amount,
    checked,
    estimate,
    figure,
    forecast,
    may_reserve,
    may_reserve_all,
    settle,
    status,
    window_at,
)
from pilothouse.fleet.job import Cost
from pilothouse.ids import ProductId

DEMO = ProductId("demo")
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
TEN_DOLLARS = Budget(product=DEMO, ceiling=Cost(usd=10.0), enforced=True)
RATES = Rates(seats=2, gpus=4, usd_per_hour=3.0)
UNKNOWN_RATE = replace(RATES, usd_per_hour=None)
PAUSE = Pause(by="ada", why="the bill is being looked at", at=NOON)

FIGURES = st.none() | st.floats(0, 50, allow_nan=False)
COSTS = st.builds(Cost, usd=FIGURES, gpu_hours=FIGURES, tokens=FIGURES)
KNOWN = st.floats(0.01, 4)


def spent(usd: float, *, reserved: float = 0.0) -> Balance:
    return Balance(reserved=amount(Cost(usd=reserved)), spent=amount(Cost(usd=usd)))


def hold(said: Allowed | Held) -> Hold | None:
    return said.hold if isinstance(said, Held) else None


@pytest.mark.parametrize("value", [-0.01, math.nan, math.inf, 2 * FIGURE_MAX])
@pytest.mark.parametrize("unit", Unit)
def test_a_ceiling_that_is_no_amount_is_refused(unit: Unit, value: float) -> None:
    ceiling = Cost(**{unit.value: value})

    with pytest.raises(BadValue, match=unit.value) as caught:
        Budget(product=DEMO, ceiling=ceiling)

    assert unit.value in caught.value.fix


@pytest.mark.parametrize("seconds", [-1, 0, 59, WINDOW_SECONDS_MAX + 1])
def test_a_window_that_is_none_is_refused(seconds: int) -> None:
    with pytest.raises(BadValue, match=str(seconds)):
        Budget(product=DEMO, window_seconds=seconds)


def test_a_report_that_gives_money_back_is_refused() -> None:
    with pytest.raises(BadValue, match="reported"):
        settle(Cost(usd=1.0), reported=Cost(usd=-1.0), elapsed_seconds=1.0, rates=RATES)


def test_nothing_is_a_figure_too() -> None:
    """A ceiling of zero lets nothing through; no ceiling lets everything through."""
    assert checked(Cost(usd=0.0), what="it") == Cost(usd=0.0)
    assert hold(may_reserve(replace(TEN_DOLLARS, ceiling=Cost(usd=0.0)), Balance(), Cost(usd=0.0))) is (Hold.EXHAUSTED)
    assert hold(may_reserve(replace(TEN_DOLLARS, ceiling=Cost()), Balance(), Cost())) is None


@given(costs=st.lists(COSTS), data=st.data())
def test_sums_do_not_depend_on_their_order(costs: list[Cost], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(costs))

    assert sum(map(amount, shuffled), Amount()) == sum(map(amount, costs), Amount())


def test_ten_cents_three_times_are_thirty() -> None:
    """With binary fractions they are more, and the third would be held."""
    budget, balance = replace(TEN_DOLLARS, ceiling=Cost(usd=0.3)), Balance()
    for _ in range(3):
        assert isinstance(may_reserve(budget, balance, Cost(usd=0.1)), Allowed)
        balance = balance.reserve(Cost(usd=0.1))

    assert hold(may_reserve(budget, balance, Cost(usd=0.1))) is Hold.NO_ROOM


def test_a_day_begins_at_midnight() -> None:
    window = window_at(NOON, seconds=86_400)

    assert (window.starts_at, window.ends_at) == (MIDNIGHT, MIDNIGHT + timedelta(days=1))
    assert window_at(window.ends_at, seconds=86_400).starts_at == window.ends_at


@given(
    now=st.integers(0, 7 * 10**15).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds)),
    seconds=st.integers(60, WINDOW_SECONDS_MAX),
)
def test_every_moment_is_in_exactly_one_window(now: datetime, seconds: int) -> None:
    """And every moment of that window computes the same one, as another server or a restarted one does."""
    window = window_at(now, seconds=seconds)

    assert window.starts_at <= now < window.ends_at
    assert window_at(window.starts_at, seconds=seconds) == window
    assert window_at(window.ends_at - timedelta(microseconds=1), seconds=seconds) == window
    assert window.ends_at - window.starts_at == timedelta(seconds=seconds)


def test_what_the_job_asks_for_comes_first() -> None:
    assert estimate(Cost(usd=5.0, tokens=1000.0), timeout_seconds=7200, rates=RATES) == Cost(
        usd=5.0, gpu_hours=8.0, tokens=1000.0
    )


def test_without_a_wish_the_whole_timeout_is_counted() -> None:
    assert estimate(Cost(), timeout_seconds=1800, rates=RATES) == Cost(usd=3.0, gpu_hours=2.0)


def test_a_factory_without_a_price_leaves_the_dollars_unknown() -> None:
    assert estimate(Cost(), timeout_seconds=1800, rates=UNKNOWN_RATE).usd is None


def test_up_to_the_ceiling_and_not_beyond() -> None:
    balance = spent(4.0, reserved=3.0)

    assert may_reserve(TEN_DOLLARS, balance, Cost(usd=3.0)) == Allowed()
    assert hold(may_reserve(TEN_DOLLARS, balance, Cost(usd=3.01))) is Hold.NO_ROOM


@pytest.mark.parametrize(
    ("balance", "cost", "expected"),
    [
        (spent(10.0), Cost(usd=0.0), Hold.EXHAUSTED),
        (spent(0.0), Cost(usd=10.01), Hold.TOO_DEAR),
        (spent(0.0), Cost(gpu_hours=1.0), Hold.COST_UNKNOWN),
        (spent(9.0), Cost(usd=2.0), Hold.NO_ROOM),
    ],
)
def test_what_holds_is_said_with_its_mend(balance: Balance, cost: Cost, expected: Hold) -> None:
    """And only an enforced budget holds; the other says what it would have done."""
    held = may_reserve(TEN_DOLLARS, balance, cost)

    assert isinstance(held, Held)
    assert held.hold is expected
    assert "product demo" in held.why
    assert "ceiling" in held.fix or "budget with usd" in held.fix
    assert may_reserve(replace(TEN_DOLLARS, enforced=False), balance, cost) == Allowed(would=held)


def test_an_unknown_cost_is_not_zero() -> None:
    """Where there is no ceiling for the unit, nobody minds."""
    assert hold(may_reserve(TEN_DOLLARS, Balance(), Cost())) is Hold.COST_UNKNOWN
    assert may_reserve(replace(TEN_DOLLARS, ceiling=Cost(tokens=5.0)), Balance(), Cost(tokens=1.0)) == Allowed()


@pytest.mark.parametrize("enforced", [True, False])
def test_a_person_s_pause_holds_in_any_case(enforced: bool) -> None:
    held = may_reserve(replace(TEN_DOLLARS, enforced=enforced, paused=PAUSE), Balance(), Cost(usd=0.0))

    assert isinstance(held, Held)
    assert held.hold is Hold.PAUSED
    assert "ada" in held.why


def test_an_exhausted_engine_holds_its_own_jobs_only() -> None:
    engine = replace(TEN_DOLLARS, engine="codex")
    budgets = [(TEN_DOLLARS, spent(0.0)), (engine, spent(10.0))]

    assert hold(may_reserve_all(budgets, Cost(usd=1.0), engine="codex")) is Hold.EXHAUSTED
    assert hold(may_reserve_all(budgets, Cost(usd=1.0), engine="claude")) is None
    assert hold(may_reserve_all(budgets, Cost(usd=1.0), engine="")) is None


def test_an_exhausted_product_holds_every_engine() -> None:
    budgets = [(TEN_DOLLARS, spent(10.0)), (replace(TEN_DOLLARS, engine="codex"), spent(0.0))]

    assert hold(may_reserve_all(budgets, Cost(usd=1.0), engine="codex")) is Hold.EXHAUSTED
    assert hold(may_reserve_all(budgets, Cost(usd=1.0), engine="")) is Hold.EXHAUSTED


def test_a_dry_run_tells_what_any_of_the_budgets_would_have_said() -> None:
    budgets = [(TEN_DOLLARS, spent(0.0)), (replace(TEN_DOLLARS, engine="codex", enforced=False), spent(10.0))]

    said = may_reserve_all(budgets, Cost(usd=1.0), engine="codex")

    assert isinstance(said, Allowed)
    assert said.would is not None
    assert said.would.hold is Hold.EXHAUSTED


@given(
    steps=st.lists(st.tuples(KNOWN, st.floats(0, 3), st.booleans()), max_size=40),
    ceiling=st.floats(0, 20),
)
def test_no_claim_oversteps_the_ceiling(steps: list[tuple[float, float, bool]], ceiling: float) -> None:
    """Reserved and spent stay under it but for what attempts used beyond their reservations."""
    budget = replace(TEN_DOLLARS, ceiling=Cost(usd=ceiling))
    most, beyond = amount(budget.ceiling).usd, 0
    balance, running = Balance(), list[Cost]()
    for usd, share, ends in steps:
        cost = Cost(usd=usd)
        if isinstance(may_reserve(budget, balance, cost), Allowed):
            balance = balance.reserve(cost)
            running.append(cost)
            assert balance.reserved.usd + balance.spent.usd <= most
        if ends and running:
            reserved = running.pop()
            used = Cost(usd=(reserved.usd or 0.0) * share)
            beyond += max(0, amount(used).usd - amount(reserved).usd)
            balance = balance.end(reserved=reserved, settled=used)
        assert balance.reserved.usd + balance.spent.usd <= most + beyond
        assert balance.reserved == sum(map(amount, running), Amount())


def test_the_report_then_the_time_then_the_reservation() -> None:
    reserved = Cost(usd=9.0, gpu_hours=9.0, tokens=9.0)

    assert settle(reserved, reported=Cost(usd=1.0, tokens=2.0), elapsed_seconds=1800, rates=RATES) == Cost(
        usd=1.0, gpu_hours=2.0, tokens=2.0
    )
    assert settle(reserved, reported=Cost(), elapsed_seconds=1800, rates=RATES) == Cost(
        usd=3.0, gpu_hours=2.0, tokens=9.0
    )
    assert settle(reserved, reported=Cost(), elapsed_seconds=1800, rates=UNKNOWN_RATE).usd == 9.0


def test_a_machine_that_costs_nothing_does_not_make_the_job_free() -> None:
    """It may have paid for its tokens elsewhere."""
    free = replace(RATES, usd_per_hour=0.0)

    assert settle(Cost(usd=9.0), reported=Cost(), elapsed_seconds=60, rates=free).usd == 9.0


@given(reserved=COSTS, reports=st.lists(st.tuples(COSTS, st.floats(-1, 7200)), min_size=1), data=st.data())
def test_words_may_come_twice_and_in_any_order(
    reserved: Cost, reports: list[tuple[Cost, float]], data: st.DataObject
) -> None:
    def total(words: list[tuple[Cost, float]]) -> Cost | None:
        settled: Cost | None = None
        for reported, elapsed in words:
            settled = settle(reserved, reported=reported, elapsed_seconds=elapsed, rates=RATES, before=settled)
        return settled

    repeated = data.draw(st.permutations(reports + data.draw(st.lists(st.sampled_from(reports)))))

    assert total(repeated) == total(reports)


@given(reserved=COSTS, reported=COSTS, before=COSTS)
def test_a_later_word_never_lowers_the_cost(reserved: Cost, reported: Cost, before: Cost) -> None:
    settled = settle(reserved, reported=reported, elapsed_seconds=60, rates=UNKNOWN_RATE, before=before)

    for unit in Unit:
        assert (figure(settled, unit) or 0.0) >= (figure(before, unit) or 0.0)


def test_at_the_ceiling_it_pauses_by_itself_and_the_next_window_resumes_it() -> None:
    assert status(TEN_DOLLARS, spent(9.999), now=NOON).state is State.ACTIVE
    at_ceiling = status(TEN_DOLLARS, spent(10.0), now=NOON)
    assert (at_ceiling.state, at_ceiling.exhausted) == (State.EXHAUSTED, (Unit.USD,))
    assert at_ceiling.window.ends_at == MIDNIGHT + timedelta(days=1)
    assert status(TEN_DOLLARS, Balance(), now=at_ceiling.window.ends_at).state is State.ACTIVE


def test_a_pause_outlasts_the_window() -> None:
    paused = replace(TEN_DOLLARS, paused=PAUSE)

    assert status(paused, spent(10.0), now=NOON).state is State.PAUSED
    assert status(paused, Balance(), now=NOON + timedelta(days=9)).state is State.PAUSED


def test_without_enforcement_it_only_says_so() -> None:
    stands = status(replace(TEN_DOLLARS, enforced=False), spent(11.0), now=NOON)

    assert (stands.state, stands.exhausted) == (State.ACTIVE, (Unit.USD,))


def test_the_first_minutes_of_a_day_are_not_projected() -> None:
    """A dollar in the first minute is no 1,440 dollars a day."""
    assert forecast(TEN_DOLLARS, spent(1.0), now=MIDNIGHT + timedelta(minutes=1)) == ()
    assert forecast(TEN_DOLLARS, spent(1.0), now=MIDNIGHT) == ()


def test_half_a_day_is() -> None:
    (line,) = forecast(TEN_DOLLARS, spent(6.0), now=NOON)

    assert (line.unit, line.per_hour, line.projected, line.overspends) == (Unit.USD, 0.5, 12.0, True)
    assert line.runs_out_at == NOON + timedelta(hours=8)


def test_what_lasts_does_not_run_out() -> None:
    (line,) = forecast(TEN_DOLLARS, spent(4.0), now=NOON)

    assert (line.projected, line.overspends, line.runs_out_at) == (8.0, False, None)


def test_what_is_reserved_is_expected_to_be_spent() -> None:
    (line,) = forecast(TEN_DOLLARS, spent(1.0, reserved=9.5), now=NOON)

    assert line.projected == 10.5


@given(usd=st.floats(0, 100), minutes=st.integers(0, 1439), reserved=st.floats(0, 100))
def test_no_forecast_says_less_than_what_is_known(usd: float, minutes: int, reserved: float) -> None:
    now = MIDNIGHT + timedelta(minutes=minutes)
    balance = spent(usd, reserved=reserved)

    for line in forecast(TEN_DOLLARS, balance, now=now):
        assert line.projected >= (balance.spent.usd + balance.reserved.usd) / 1e6 - 1e-9
        assert line.runs_out_at is None or now <= line.runs_out_at <= MIDNIGHT + timedelta(days=1)


@pytest.mark.parametrize("enforced", [True, False])
def test_they_come_whether_or_not_the_budget_is_enforced(enforced: bool) -> None:
    budget = replace(TEN_DOLLARS, enforced=enforced)

    (alert,) = alerts(budget, spent(10.0), now=NOON)

    assert (alert.kind, alert.dry_run) == (AlertKind.EXHAUSTED, not enforced)
    assert "10 of 10 usd" in alert.text


def test_an_engine_s_own_ceiling_has_its_own_alert() -> None:
    (alert,) = alerts(replace(TEN_DOLLARS, engine="codex"), spent(10.0), now=NOON)

    assert alert.kind is AlertKind.ENGINE_EXHAUSTED
    assert "codex" in alert.text


def test_a_burn_rate_that_is_too_high_is_told_before_the_end() -> None:
    (alert,) = alerts(TEN_DOLLARS, spent(6.0), now=NOON)

    assert alert.kind is AlertKind.OVERSPEND_PROJECTED
    assert "12 of 10 usd" in alert.text


def test_a_pause_is_told_as_what_it_is() -> None:
    """Nobody tries anything out by pausing."""
    (alert,) = alerts(replace(TEN_DOLLARS, enforced=False, paused=PAUSE), spent(1.0), now=NOON)

    assert (alert.kind, alert.dry_run) == (AlertKind.PAUSED, False)


def test_all_is_well() -> None:
    assert alerts(TEN_DOLLARS, spent(1.0), now=NOON) == ()
