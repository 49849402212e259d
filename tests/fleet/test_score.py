"""How well a job and a factory suit each other."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.fleet.job import Priority
from pilothouse.fleet.score import (
    DEFAULT,
    WEIGHTS,
    FactoryFacts,
    JobFacts,
    Weights,
    cost_fit,
    merge,
    overtaken_after_seconds,
    precedence,
    score,
    static_order,
)

SHARES = st.floats(0, 1)
DOLLARS = st.none() | st.floats(0, 1e9)
PRIORITIES = st.sampled_from(Priority)
JOBS = st.builds(
    JobFacts, priority=PRIORITIES, age_seconds=st.floats(0, 1e8), fit=SHARES, engine_match=st.booleans(), usd=DOLLARS
)
FACTORIES = st.builds(FactoryFacts, load=SHARES, health=SHARES, usd_per_hour=DOLLARS, familiar=st.booleans())
WEIGHT = st.floats(0, 100)
ANY_WEIGHTS = st.builds(Weights, **dict.fromkeys(WEIGHTS, WEIGHT))
PARTS = st.dictionaries(st.sampled_from(WEIGHTS), WEIGHT)
BEGIN_US = 1_790_000_000_000_000
STEP_SECONDS = 30.0


@given(job=JOBS, factory=FACTORIES, weights=ANY_WEIGHTS)
def test_the_terms_sum_to_the_score(job: JobFacts, factory: FactoryFacts, weights: Weights) -> None:
    """Exactly, and there is one term for each weight."""
    result = score(job, factory, weights)

    assert tuple(result.terms) == WEIGHTS
    assert result.total == math.fsum(list(result.terms.values())[::-1])
    assert result.as_json() == {"total": result.total, "terms": dict(result.terms)}


@given(job=JOBS, factory=FACTORIES, weights=ANY_WEIGHTS, name=st.sampled_from(WEIGHTS))
def test_a_weight_moves_its_own_term_only(job: JobFacts, factory: FactoryFacts, weights: Weights, name: str) -> None:
    """Without its weight a term is nothing, and the others stay."""
    before, after = score(job, factory, weights).terms, score(job, factory, replace(weights, **{name: 0.0})).terms

    assert after[name] == 0.0
    assert {**before, name: 0.0} == dict(after)


@given(job=JOBS, factory=FACTORIES, share=SHARES)
def test_better_is_never_worse(job: JobFacts, factory: FactoryFacts, share: float) -> None:
    """More fit, more health, less load, and an older or more urgent job: each scores at least as high."""

    def total(j: JobFacts = job, f: FactoryFacts = factory) -> float:
        return score(j, f).total

    assert total(replace(job, fit=max(job.fit, share))) >= total()
    assert total(replace(job, age_seconds=job.age_seconds + 60)) > total()
    assert total(replace(job, priority=Priority.CRITICAL)) >= total()
    assert total(replace(job, engine_match=True)) >= total()
    assert total(f=replace(factory, health=max(factory.health, share))) >= total()
    assert total(f=replace(factory, load=min(factory.load, share))) >= total()
    assert total(f=replace(factory, familiar=True)) >= total()


def test_ten_minutes_are_one_step_of_priority() -> None:
    """By default."""
    older = JobFacts(priority=Priority.MEDIUM, age_seconds=600)

    assert (
        score(older, FactoryFacts()).total
        == score(replace(older, priority=Priority.HIGH, age_seconds=0), FactoryFacts()).total
    )


@given(usd=st.floats(0.01, 1e9), price=st.floats(0.01, 1e9), factor=st.floats(1, 100))
def test_a_dearer_machine_fits_a_budget_less(usd: float, price: float, factor: float) -> None:
    """And the same machine fits a larger budget more."""
    assert cost_fit(usd=usd, usd_per_hour=price * factor) <= cost_fit(usd=usd, usd_per_hour=price)
    assert cost_fit(usd=usd * factor, usd_per_hour=price) >= cost_fit(usd=usd, usd_per_hour=price)


def test_an_unknown_price_is_never_zero() -> None:
    """What costs nothing is the best, what nobody knows the price of is the worst."""
    assert cost_fit(usd=5.0, usd_per_hour=None) == cost_fit(usd=0.0, usd_per_hour=1.0) == 0.0
    assert cost_fit(usd=None, usd_per_hour=0.0) == cost_fit(usd=0.0, usd_per_hour=0.0) == 1.0
    assert cost_fit(usd=None, usd_per_hour=1.0) == 0.5


def test_ties_go_to_the_urgent_then_the_old_then_the_cheap() -> None:
    """In that order; an unknown cost is the dearest."""
    cheap = JobFacts(priority=Priority.HIGH, age_seconds=60, usd=1.0)
    expected = [
        replace(cheap, priority=Priority.CRITICAL, age_seconds=0, usd=None),
        replace(cheap, age_seconds=61, usd=9.0),
        cheap,
        replace(cheap, usd=2.0),
        replace(cheap, usd=None),
    ]

    shown = expected[::-1]

    assert sorted(shown, key=lambda job: precedence(job, 7.0)) == expected
    assert min(expected, key=lambda job: precedence(job, 8.0 if job.usd is None else 7.0)).usd is None


@given(
    first=st.tuples(PRIORITIES, st.integers(0, 10**12)),
    second=st.tuples(PRIORITIES, st.integers(0, 10**12)),
    later=st.integers(0, 10**12),
    weights=ANY_WEIGHTS,
    factory=FACTORIES,
)
def test_the_static_order_agrees_with_the_score_at_any_time(
    first: tuple[Priority, int], second: tuple[Priority, int], later: int, weights: Weights, factory: FactoryFacts
) -> None:
    """Whenever the score tells two jobs of one shape apart by more than its rounding, the order is the same."""
    now = 10**12 + later
    totals = [
        score(JobFacts(priority=priority, age_seconds=(now - created) / 1e6), factory, weights).total
        for priority, created in (first, second)
    ]
    orders = [static_order(priority, BEGIN_US + created, weights=weights) for priority, created in (first, second)]
    gap = totals[0] - totals[1]

    if abs(gap) > 1e-5:
        assert (gap > 0) == (orders[0] < orders[1])


@given(weights=ANY_WEIGHTS, created=st.integers(0, 10**12))
def test_where_age_and_priority_count_nothing_the_ties_still_order(weights: Weights, created: int) -> None:
    """The urgent before the others, and the old before the young."""
    flat = replace(weights, age=0.0, priority=0.0)

    assert static_order(Priority.CRITICAL, created + 1, flat) < static_order(Priority.HIGH, created, flat)
    assert static_order(Priority.HIGH, created, flat) < static_order(Priority.HIGH, created + 1, flat)


def served_after(weights: Weights, *, stream: Priority, rounds: int) -> float | None:
    """Serve one job each step, after which a new one of the stream arrives; say when the low one was served."""
    waiting = [(static_order(Priority.LOW, BEGIN_US, weights), "low")]
    for number in range(rounds):
        now = number * STEP_SECONDS
        heapq.heappush(waiting, (static_order(stream, BEGIN_US + int(now * 1e6), weights), "stream"))
        if heapq.heappop(waiting)[1] == "low":
            return now
    return None


@pytest.mark.parametrize("stream", [Priority.CRITICAL, Priority.HIGH, Priority.MEDIUM])
@pytest.mark.parametrize("age", [0.25, 1.0, 7.0])
def test_a_low_job_under_a_steady_stream_is_served_in_time(stream: Priority, age: float) -> None:
    """Within the bound that the weights give, and one service; not before half of it, so the bound says something."""
    weights = Weights(age=age)
    bound = overtaken_after_seconds(Priority.LOW, stream, weights)

    served = served_after(weights, stream=stream, rounds=10_000)

    assert served is not None
    assert bound / 2 <= served <= bound + STEP_SECONDS


def test_without_age_a_low_job_starves() -> None:
    """So the test above could fail."""
    assert overtaken_after_seconds(Priority.LOW, Priority.HIGH, Weights(age=0.0)) == math.inf
    assert served_after(Weights(age=0.0), stream=Priority.HIGH, rounds=10_000) is None


def test_nobody_waits_for_what_is_less_urgent() -> None:
    """Nor where priority counts nothing."""
    assert overtaken_after_seconds(Priority.HIGH, Priority.LOW) == 0.0
    assert overtaken_after_seconds(Priority.LOW, Priority.HIGH, Weights(priority=0.0, age=0.0)) == 0.0


@given(product=PARTS, request_part=PARTS)
def test_each_weight_is_merged_for_itself(product: dict[str, float], request_part: dict[str, float]) -> None:
    """The request over the product over the default."""
    merged = merge(DEFAULT, dict(product), dict(request_part))

    for name in WEIGHTS:
        expected = request_part.get(name, product.get(name, getattr(DEFAULT, name)))
        assert getattr(merged, name) == expected
    assert merged.as_json() == {name: getattr(merged, name) for name in WEIGHTS}


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, True, "1", None, 10**400])
def test_bad_weights_are_refused(value: Json) -> None:
    """A negative weight of age would let the old starve."""
    with pytest.raises(BadValue, match="age is") as caught:
        merge(DEFAULT, {}, {"age": value})

    assert "from 0 to" in caught.value.fix


def test_an_unknown_weight_is_named_with_the_nearest() -> None:
    """A weight that nobody reads would look like one that counts."""
    with pytest.raises(BadValue, match="'prioritee'") as caught:
        merge(DEFAULT, {"prioritee": 3}, {})

    assert "did you mean priority?" in caught.value.fix
