"""Why a job runs where it runs, or why it does not run yet."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.canonical import canonical
from pilothouse.fleet.budget import Held, Hold
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.explain import (
    NAMED_MAX,
    Ahead,
    Candidate,
    Code,
    Explanation,
    FactoryView,
    JobView,
    Waited,
    ahead_of,
    explain,
)
from pilothouse.fleet.job import EdgeKind, Priority, Shape
from pilothouse.fleet.score import JobFacts, Weights
from pilothouse.fleet.stages import ENDS, LEASED, Stage
from pilothouse.ids import FactoryName, JobId, ProductId

SHAPE = Shape(product=ProductId("demo"), pool="local", requires=("cuda>=12",), engine="codex")
JOB = JobView(id=JobId("j"), stage=Stage.QUEUED, shape=SHAPE, priority=Priority.HIGH, age_seconds=120.0)
GOOD = FactoryView(
    name=FactoryName("good"), offer=Offer.read(["cuda:12.4"]), engines=frozenset({"codex"}), seats=4, seats_free=2
)
HELD = Held(hold=Hold.NO_ROOM, why="demo has 1 USD left", fix="raise the ceiling")
PAUSED = replace(HELD, hold=Hold.PAUSED, why="demo was paused by ada")

FACTORIES = st.builds(
    FactoryView,
    name=st.sampled_from("abcdef").map(FactoryName),
    offer=st.sampled_from([Offer.read(["cuda:12.4"]), Offer.read(["cuda:11"]), Offer()]),
    engines=st.sampled_from([frozenset({"codex"}), frozenset()]),
    pools=st.sampled_from([None, frozenset({"local"}), frozenset({"gpu"})]),
    seats=st.integers(0, 3),
    seats_free=st.integers(-1, 3),
    usd_per_hour=st.none() | st.floats(0, 9),
    health=st.floats(0, 1),
    stale=st.booleans(),
    draining=st.booleans(),
    breaker_open=st.booleans(),
    reserved_for=st.sampled_from([None, JobId("j"), JobId("other")]),
    budget=st.sampled_from([None, HELD, PAUSED]),
    ahead=st.sampled_from([Ahead(), Ahead(count=2, best=JobId("first"), total=9.0)]),
)
JOBS = st.builds(
    JobView,
    id=st.just(JobId("j")),
    stage=st.sampled_from(Stage),
    shape=st.sampled_from([SHAPE, replace(SHAPE, seats=3), replace(SHAPE, gpus=1, requires=())]),
    priority=st.sampled_from(Priority),
    age_seconds=st.floats(0, 1e6),
    lock_holder=st.sampled_from([None, JobId("holder")]),
    budget=st.sampled_from([None, HELD, PAUSED]),
)


def codes(explanation: Explanation) -> list[Code]:
    return [reason.code for reason in explanation.reasons]


def why(factory: FactoryView, job: JobView = JOB) -> Explanation:
    return explain(job, [factory])


@given(job=JOBS, factories=st.lists(FACTORIES, max_size=5, unique_by=lambda factory: factory.name))
def test_there_is_always_a_reason(job: JobView, factories: list[FactoryView]) -> None:
    """It can be told as JSON, and the candidates come best first, each with a breakdown that sums to its score."""
    told = explain(job, factories)
    totals = [candidate.score.total for candidate in told.candidates]

    assert told.headline == told.reasons[0].text
    assert all(reason.text.endswith(".") and not reason.text.endswith("..") for reason in told.reasons)
    assert all(not reason.fix or reason.fix.endswith(".") for reason in told.reasons)
    assert len({reason.code for reason in told.reasons}) == len(told.reasons) or job.budget is not None
    assert canonical(told.as_json())
    assert totals == sorted(totals, reverse=True)
    assert (Code.RUNS_ON in codes(told)) == (job.stage in LEASED)
    assert (Code.ENDED in codes(told)) == (job.stage in ENDS)


@given(job=JOBS, factories=st.lists(FACTORIES, max_size=5, unique_by=lambda factory: factory.name))
def test_a_queued_job_is_next_exactly_where_nothing_stands_against_it(
    job: JobView, factories: list[FactoryView]
) -> None:
    """And what keeps it from everywhere is told before that."""
    told = explain(replace(job, stage=Stage.QUEUED), factories)
    free = [candidate for candidate in told.candidates if candidate.against is None]

    assert (Code.NEXT in codes(told)) == bool(free)
    if job.lock_holder is None and job.budget is None and free:
        assert codes(told)[0] is Code.NEXT


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({}, Code.NEXT, "It is the next job of good."),
        ({"stale": True}, Code.FACTORY_STALE, "Nothing has been heard of good"),
        ({"draining": True}, Code.FACTORY_DRAINING, "good takes no new jobs"),
        ({"breaker_open": True}, Code.BREAKER_OPEN, "failed too often on good"),
        ({"budget": HELD}, Code.BUDGET_EXHAUSTED, "On good: demo has 1 USD left."),
        ({"budget": PAUSED}, Code.BUDGET_PAUSED, "On good: demo was paused by ada."),
        ({"reserved_for": JobId("big")}, Code.SEAT_RESERVED, "kept for big"),
        ({"seats_free": 0}, Code.SEATS_TAKEN, "taken now"),
        ({"seats_free": 0, "reserved_for": JobId("j")}, Code.ROOM_KEPT, "kept for it"),
        ({"reserved_for": JobId("j"), "ahead": Ahead(count=9)}, Code.NEXT, "next job"),
        ({"ahead": Ahead(count=3, best=JobId("first"), total=41.5)}, Code.BEHIND, "3 jobs score .*first with 41.50"),
        ({"ahead": Ahead(count=1, best=JobId("first"), total=41.5)}, Code.BEHIND, "1 job scores"),
        ({"seats": 0}, Code.TOO_LARGE, r"larger than any .*: good lacks seats \(1 asked, 0 there\)"),
        ({"engines": frozenset()}, Code.NO_CAPABLE_FACTORY, "good lacks engine codex"),
        ({"pools": frozenset({"gpu"})}, Code.NO_CAPABLE_FACTORY, "good lacks pool local"),
        ({"offer": Offer.read(["cuda:11"])}, Code.NO_CAPABLE_FACTORY, "good lacks cuda>=12"),
        ({"offer": Offer(), "seats": 0}, Code.NO_CAPABLE_FACTORY, "good lacks cuda>=12, seats"),
    ],
)
def test_what_stands_against_a_job_at_a_factory(change: dict[str, Any], code: Code, text: str) -> None:
    """One code and one sentence for each."""
    told = why(replace(GOOD, **change))

    assert codes(told) == [code]
    assert re.search(text, told.headline), told.headline


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"stage": Stage.BUILDING, "factory": FactoryName("good")}, Code.RUNS_ON, r"runs on good\."),
        ({"stage": Stage.ASSIGNED, "factory": FactoryName("good")}, Code.RUNS_ON, r"is assigned to good\."),
        (
            {"stage": Stage.BUILDING, "factory": FactoryName("good"), "stopping": True},
            Code.RUNS_ON,
            "asked to make room",
        ),
        ({"stage": Stage.FAILED, "end": "out of memory"}, Code.ENDED, r"ended as failed: out of memory\."),
        ({"stage": Stage.SHIPPED}, Code.ENDED, r"ended as shipped\."),
        ({"stage": Stage.REVIEW}, Code.IN_REVIEW, "waits for its reviewers"),
        ({"stage": Stage.TESTING}, Code.AWAITS_SHIPPING, "waits to be shipped"),
        ({"lock_holder": JobId("other")}, Code.LOCK_HELD, "held by other"),
        ({"budget": HELD}, Code.BUDGET_EXHAUSTED, "1 USD left"),
        ({"budget": PAUSED, "lock_holder": JobId("other")}, Code.BUDGET_PAUSED, "paused by ada"),
    ],
)
def test_what_stands_against_the_job_itself(change: dict[str, Any], code: Code, text: str) -> None:
    """It is told before anything about factories."""
    told = why(GOOD, replace(JOB, **change))

    assert codes(told)[0] is code
    assert re.search(text, told.headline), told.headline


def test_a_blocked_job_names_what_it_waits_for() -> None:
    """With the stages, what is lost before the rest."""
    waits = (
        Waited(job=JobId("late"), stage=Stage.QUEUED, kind=EdgeKind.HARD),
        Waited(job=JobId("lost"), stage=Stage.FAILED, kind=EdgeKind.SOFT),
    )

    told = why(GOOD, replace(JOB, stage=Stage.BLOCKED, waits_for=waits)).reasons

    assert [(reason.code, reason.jobs) for reason in told] == [(Code.BLOCKED_BY, ("late", "lost"))]
    assert told[0].text == "It waits for lost (failed), late (queued)."
    assert told[0].fix.startswith("lost will never ship")
    assert "being settled" in why(GOOD, replace(JOB, stage=Stage.BLOCKED)).headline


def test_without_factories_there_is_one_thing_to_do() -> None:
    """Start one."""
    told = explain(JOB, [])

    assert codes(told) == [Code.NO_FACTORY]
    assert told.candidates == ()


def test_each_factory_is_told_with_what_it_lacks() -> None:
    """And too large is a job only where size is all that some factory lacks."""
    old = replace(GOOD, name=FactoryName("old"), offer=Offer.read(["cuda:11"]))
    small = replace(GOOD, name=FactoryName("small"), seats=1, seats_free=1)
    wide = replace(JOB, shape=replace(SHAPE, seats=3))

    neither = explain(wide, [old, small]).reasons[0]

    assert neither.code is Code.TOO_LARGE
    assert neither.factories == {"old": "cuda>=12", "small": "seats (3 asked, 1 there)"}
    assert codes(explain(wide, [old])) == [Code.NO_CAPABLE_FACTORY]


def test_many_factories_are_told_in_short() -> None:
    """The sentence names a few, the data all."""
    many = [replace(GOOD, name=FactoryName(f"f{number}"), engines=frozenset()) for number in range(NAMED_MAX + 2)]

    told = explain(JOB, many).reasons[0]

    assert "and 2 more." in told.text
    assert len(told.factories) == len(many)


def test_the_candidates_show_why_one_factory_is_better() -> None:
    """Their breakdowns differ in the terms that differ; a run is explained by the same scores."""
    cheap = replace(GOOD, name=FactoryName("cheap"), usd_per_hour=0.0)
    running = replace(JOB, stage=Stage.BUILDING, factory=FactoryName("cheap"))

    told = explain(running, [GOOD, cheap], Weights(cost=7.0))

    assert [candidate.factory for candidate in told.candidates] == ["cheap", "good"]
    best, other = (dict(candidate.score.terms) for candidate in told.candidates)
    assert {name for name, value in best.items() if value != other[name]} == {"cost"}
    assert best["cost"] - other["cost"] == 7.0
    assert told.as_json()["candidates"] == [candidate.as_json() for candidate in told.candidates]


def test_a_factory_that_is_out_does_not_hide_one_that_is_not() -> None:
    """The headline tells what can happen next, the rest follows."""
    gone = replace(GOOD, name=FactoryName("gone"), stale=True)
    busy = replace(GOOD, name=FactoryName("busy"), ahead=Ahead(count=1, best=JobId("first"), total=9.0))

    told = explain(JOB, [gone, busy])

    assert codes(told) == [Code.BEHIND, Code.FACTORY_STALE]
    assert {item.factory: item.against for item in told.candidates} == {
        "busy": Code.BEHIND,
        "gone": Code.FACTORY_STALE,
    }
    assert isinstance(told.candidates[0], Candidate)


def test_who_comes_before_is_counted_by_score_and_then_by_the_ties() -> None:
    """The best of them is named."""
    job = JobFacts(priority=Priority.HIGH, age_seconds=60.0)
    rivals = [
        (JobId("higher"), replace(job, age_seconds=1.0), 11.0),
        (JobId("highest"), job, 12.0),
        (JobId("older"), replace(job, age_seconds=61.0), 10.0),
        (JobId("younger"), replace(job, age_seconds=59.0), 10.0),
        (JobId("lower"), replace(job, age_seconds=999.0), 9.0),
    ]

    assert ahead_of(job, 10.0, rivals) == Ahead(count=3, best=JobId("highest"), total=12.0)
    assert ahead_of(job, 12.5, rivals) == Ahead()
