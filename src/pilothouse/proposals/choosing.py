"""From what a source would like to try to what it may suggest: drafted, new, and not likely to fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pilothouse.canonical import Json
from pilothouse.errors import PilothouseError
from pilothouse.evidence.verdict import Direction
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.draft import Draft, Drafted, draft
from pilothouse.proposals.feasibility import Outlook, learn
from pilothouse.proposals.mending import mended
from pilothouse.proposals.proposal import Risk
from pilothouse.proposals.search import Search, Suggestion, Tried

Overrides: TypeAlias = Mapping[str, Json]
Key: TypeAlias = tuple[str, ...]

MENDED_MAX = 20
"""How many candidates that break an invariant are mended in one search; mending looks at many values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A change that every guardrail lets pass, and how it looks to the guard."""

    drafted: Drafted
    outlook: Outlook


def choose(search: Search, candidates: Iterable[Overrides]) -> Choice | None:
    """Return the first candidate that passes every guardrail, was never tried and is not held back.

    Where all are held back it is the one that is least likely to fail: the guard delays, it never ends a campaign.
    """
    guard, tried = learn(search), tried_before(search)
    held: list[Choice] = []
    for drafted in _drafts(search, candidates):
        key = key_of(search.knobs, drafted.config)
        if key in tried:
            continue
        choice = Choice(drafted=drafted, outlook=guard.outlook(drafted.config))
        if not choice.outlook.is_poor():
            return choice
        held.append(choice)
    return min(held, key=lambda choice: choice.outlook.failure, default=None)


def suggest(search: Search, choice: Choice, *, source: str, rationale: str) -> Suggestion:
    """Return the choice with the reasons that the gate wants to read."""
    changes = choice.drafted.changes
    moves = ", ".join(f"{change.knob} {change.before!r} → {change.after!r}" for change in changes)
    better = "lower" if search.direction is Direction.MIN else "higher"
    warned = f"; the guard expects a failure at {choice.outlook.failure:.0%}: {choice.outlook.reason}"
    risks = [Risk(search.knobs[change.knob].risk.value) for change in changes]
    return Suggestion(
        overrides={change.knob: change.after for change in changes},
        source=source,
        rationale=rationale + (warned if choice.outlook.is_poor() else ""),
        hypothesis=f"{search.metric} gets {better} than the baseline's with {moves}",
        why_not_identical=moves,
        risk=max(risks, key=list(Risk).index),
        rollback="the baseline's config stays in place unless the verdict is improved",
    )


def tried_before(search: Search) -> frozenset[Key]:
    """Return the configs that need no second proposal: the parent, what ran, and what was refused."""
    configs = [search.parent, *(tried.config for tried in search.history)]
    return frozenset(key_of(search.knobs, config) for config in configs)


def key_of(knobs: Mapping[str, Knob], config: Mapping[str, Json]) -> Key:
    """Return what two configs have in common if they set every knob alike."""
    return tuple(repr(config.get(name, knobs[name].default)) for name in sorted(knobs))


def parent_of(tried: Tried) -> dict[str, Json]:
    """Return the config that a proposal of the past was made from."""
    before = {change.knob: change.before for change in tried.changes if change.before is not None}
    added = {change.knob for change in tried.changes if change.before is None}
    return {name: value for name, value in {**tried.config, **before}.items() if name not in added}


def passes(search: Search, overrides: Overrides) -> Drafted | None:
    """Return the drafted change, or None where a guardrail says no or nothing changes."""
    try:
        return draft(
            Draft(
                parent=search.parent,
                overrides=overrides,
                knobs=search.knobs,
                budget=search.budget,
                invariants=search.invariants,
                derived=search.derived,
            )
        )
    except PilothouseError:
        return None


def _drafts(search: Search, candidates: Iterable[Overrides]) -> Iterator[Drafted]:
    mends = MENDED_MAX if search.invariants else 0
    for overrides in candidates:
        drafted = passes(search, overrides)
        if drafted is None and mends > 0:
            mends -= 1
            drafted = next((made for each in mended(search, overrides) if (made := passes(search, each))), None)
        if drafted is not None:
            yield drafted
