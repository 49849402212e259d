"""Searches of every kind, and what every suggestion must keep."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Direction, Outcome
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.knobs.delta import Change
from pilothouse.knobs.invariant import read_derived, read_invariants
from pilothouse.knobs.knob import Knob, KnobScale, KnobType
from pilothouse.proposals.choosing import key_of
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.proposals.search import Search, Suggestion, Tried

RATE = Knob(
    name="learning_rate",
    type=KnobType.FLOAT,
    default=1e-3,
    minimum=1e-5,
    maximum=1e-1,
    scale=KnobScale.LOG,
    max_step=4,
)
ENTROPY = Knob(name="entropy", type=KnobType.FLOAT, default=0.1, minimum=0, maximum=1, max_step=0.2)
BATCH = Knob(name="batch", type=KnobType.INT, default=64, minimum=8, maximum=512, scale=KnobScale.LOG, max_step=2)
PART = Knob(name="part", type=KnobType.INT, default=32, minimum=1, maximum=512)
COMPILE = Knob(name="compile", type=KnobType.BOOL, default=False)
OPTIMISER = Knob(name="optimiser", type=KnobType.CHOICE, default="adamw", choices=("adamw", "muon", "sgd"))
SEED = Knob(name="data_seed", type=KnobType.INT, default=1, minimum=0, maximum=99)
STUCK = Knob(name="stuck", type=KnobType.FLOAT, default=1, minimum=1, maximum=1)
WIDE = Knob(name="wide", type=KnobType.FLOAT, default=0, minimum=-1e308, maximum=1e308)
LONG = Knob(name="long", type=KnobType.INT, default=0, minimum=-(10**300), maximum=10**300, max_step=10**299)
COARSE = Knob(name="coarse", type=KnobType.INT, default=2, minimum=1, maximum=9, max_step=0.5)
KNOBS = {knob.name: knob for knob in (RATE, ENTROPY, BATCH, PART, COMPILE, OPTIMISER, SEED, STUCK, WIDE, LONG, COARSE)}
TRAINING = {knob.name: knob for knob in (RATE, ENTROPY, BATCH, COMPILE, OPTIMISER)}
FAILURES = ("out_of_memory", "not_a_number", "lost", "")


def search_of(knobs: dict[str, Knob], *, history: tuple[Tried, ...] = (), seed: int = 1, most: int = 2) -> Search:
    """Return a search from the knobs' defaults."""
    return Search(
        metric="loss",
        direction=Direction.MIN,
        knobs=knobs,
        budget=ChangeBudget(minimum=1, maximum=most),
        parent={name: knob.default for name, knob in knobs.items()},
        value=1.0,
        history=history,
        seed=seed,
    )


def drafted(search: Search, suggestion: Suggestion) -> Drafted:
    """Return the draft of a suggestion under the search's own rules."""
    return draft(
        Draft(
            parent=search.parent,
            overrides=suggestion.overrides,
            knobs=search.knobs,
            budget=search.budget,
            invariants=search.invariants,
            derived=search.derived,
        )
    )


def tried(
    search: Search,
    suggestion: Suggestion,
    *,
    value: float | None = None,
    gain: float | None = None,
    failure: str = "",
    outcome: Outcome | None = Outcome.INCONCLUSIVE,
) -> Tried:
    """Return the suggestion as the history will tell it."""
    made = drafted(search, suggestion)
    return Tried(
        number=len(search.history) + 1,
        source=suggestion.source,
        config=made.config,
        changes=made.changes,
        outcome=outcome,
        value=value,
        gain=gain,
        runs=0 if value is None else 3,
        failure=failure,
    )


def after(search: Search, one: Tried, *, seed: int | None = None) -> Search:
    """Return the search for the next proposal."""
    return replace(search, history=(*search.history, one), seed=search.seed + 1 if seed is None else seed)


REFUSED = Tried(
    number=1,
    source="agent",
    config={"learning_rate": "a lot", "gone": None},
    changes=(Change(knob="learning_rate", before=1e-3, after="a lot"), Change(knob="gone", before=1, after=None)),
    outcome=None,
    refusal="learning_rate has the type float and got 'a lot'",
)


@st.composite
def searches(draw: st.DrawFn, *, longest: int = 12) -> Search:
    """Return a search somewhere in its campaign, with a history that its own rules would have let pass."""
    names = draw(st.lists(st.sampled_from(sorted(KNOBS)), min_size=1, max_size=5, unique=True))
    knobs = {name: KNOBS[name] for name in names}
    minimum = draw(st.integers(0, 2))
    search = replace(
        search_of(knobs, seed=draw(st.integers(0, 2**70))),
        direction=draw(st.sampled_from(Direction)),
        budget=ChangeBudget(minimum=minimum, maximum=draw(st.integers(max(minimum, 1), 3))),
    )
    if {"part", "batch"} <= knobs.keys() and draw(st.booleans()):
        search = replace(
            search,
            invariants=read_invariants(["part divides batch"]),
            derived=read_derived({"parts": "batch // part"}, knobs),
        )
    if draw(st.booleans()):
        search = after(search, REFUSED)
    for _ in range(draw(st.integers(0, longest))):
        search = _one_more(draw, search)
    if draw(st.integers(0, 9)) == 0:
        parent = dict(search.parent)
        del parent[names[0]]
        search = replace(search, parent=parent)
    return search


def _one_more(draw: st.DrawFn, search: Search) -> Search:
    suggestion = RandomSearch().propose(search)
    if suggestion is None:
        return search
    failure = draw(st.sampled_from(FAILURES))
    value = None if failure else draw(st.floats(-10, 10) | st.just(1e300))
    gain = None if value is None else draw(st.floats(-1, 1))
    outcome = draw(st.sampled_from(Outcome)) if value is not None else None
    one = tried(search, suggestion, value=value, gain=gain, failure=failure, outcome=outcome)
    parent: dict[str, Json] = dict(one.config if outcome is Outcome.IMPROVED else search.parent)
    return replace(after(search, one), parent=parent)


def check(search: Search, suggestion: Suggestion) -> None:
    """Hold a suggestion to what every source promises."""
    made = drafted(search, suggestion)
    assert {change.knob for change in made.changes} == set(suggestion.overrides)
    assert any(not (name == "seed" or name.endswith("_seed")) for name in suggestion.overrides)
    key = key_of(search.knobs, made.config)
    assert key not in {key_of(search.knobs, one.config) for one in search.history}
    assert key != key_of(search.knobs, search.parent) or not search.knobs.keys() <= search.parent.keys()
    assert suggestion.source
    assert suggestion.rationale
    assert suggestion.hypothesis
    assert suggestion.why_not_identical
    assert suggestion.rollback
