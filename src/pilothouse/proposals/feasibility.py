"""What past failures say about a config before it runs: a guard against running out of memory, or away, once more.

Two simple rules, both explainable. A **corner** goes on from a failed move: where a number was moved up and the run
ended out of memory, every config with at least that number is in the corner, and so for several numbers at once. The
**neighbours** are the configs that ran nearby, weighted by their distance. Whatever ran well inside a corner or nearby
speaks against them, so the guard unlearns what was bad luck; a share of the proposals does not ask it at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.canonical import Json
from pilothouse.knobs.knob import Knob
from pilothouse.proposals.draws import Draws
from pilothouse.proposals.reach import is_number, is_numeric, position, start_of
from pilothouse.proposals.search import Search, Tried

OF_THE_CONFIG = frozenset({"out_of_memory", "not_a_number", "timed_out", "silent", "crashed"})
"""The failures that a config can bring about; a machine that is lost says nothing about it."""

HELD_BACK_FROM = 0.7
"""The chance of failure from which a config is held back; that of a corner with one failure and no success is 0.75."""

EXPLORING_SHARE = 0.1
"""The share of proposals that are made without the guard, so that it can be found wrong."""

NEIGHBOURHOOD = 0.08
"""The distance, in shares of the knobs' ranges, at which a neighbour's word counts for 1/e."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One side of a corner: at least or at most a number, or exactly a value that has no order."""

    knob: str
    sign: str
    value: Json

    def holds(self, config: Mapping[str, Json]) -> bool:
        """Whether the config is beyond this limit."""
        value = config.get(self.knob)
        if self.sign == "=":
            return type(value) is type(self.value) and value == self.value
        if not is_number(value) or not is_number(self.value):
            return False
        return value >= self.value if self.sign == ">=" else value <= self.value

    def __str__(self) -> str:
        return f"{self.knob} {self.sign} {self.value!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Corner:
    """Where a move failed, and everything that goes further the same way.

    `failed` and `ran` are the numbers of the proposals that have been there.
    """

    limits: tuple[Limit, ...]
    failures: tuple[str, ...]
    failed: tuple[int, ...]
    ran: tuple[int, ...]

    def contains(self, config: Mapping[str, Json]) -> bool:
        """Whether the config is as far out as what failed."""
        return all(limit.holds(config) for limit in self.limits)

    def probability(self) -> float:
        """Return the chance of one more failure in it (Jeffreys' rule: half a failure and half a success to begin)."""
        return (len(self.failed) + 0.5) / (len(self.failed) + len(self.ran) + 1)

    def __str__(self) -> str:
        where, how = " and ".join(map(str, self.limits)), ", ".join(self.failures)
        seen = f"{len(self.failed)} of {len(self.failed) + len(self.ran)} failed"
        return f"{where}: {seen} ({how}; proposals {', '.join(map(str, self.failed))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How likely a config fails, and the reason in words; empty where nothing speaks against it."""

    failure: float
    reason: str = ""

    def is_poor(self) -> bool:
        """Whether the config is better held back."""
        return self.failure >= HELD_BACK_FROM


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A config of the past where it lies, and what came of it."""

    place: tuple[float | str, ...]
    number: int
    failure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What was learnt of one history; without corners it holds nothing back."""

    knobs: Mapping[str, Knob] = field(default_factory=dict)
    neighbours: tuple[Neighbour, ...] = ()
    corners: tuple[Corner, ...] = ()

    def outlook(self, config: Mapping[str, Json]) -> Outlook:
        """Return how likely the config fails, by the worse of the two rules."""
        if not self.corners:
            return Outlook(failure=0.0)
        near = self._near(config)
        inside = [corner for corner in self.corners if corner.contains(config)]
        if not inside:
            return near
        worst = max(inside, key=Corner.probability)
        return max(near, Outlook(failure=worst.probability(), reason=str(worst)), key=lambda each: each.failure)

    def _near(self, config: Mapping[str, Json]) -> Outlook:
        here = _place(self.knobs, config)
        weights = [(_nearness(here, each.place), each) for each in self.neighbours]
        failed = [pair for pair in weights if pair[1].failure]
        share = sum(weight for weight, _ in failed) / (1 + sum(weight for weight, _ in weights))
        closest = max(failed, key=lambda pair: pair[0])[1]
        return Outlook(failure=share, reason=f"it is near proposal {closest.number}: {closest.failure}")


def learn(search: Search) -> Guard:
    """Return the guard that this history teaches; an exploring proposal gets one that holds nothing back."""
    corners = () if explores(search.seed) else corners_of(search.history)
    if not corners:
        return Guard()
    neighbours = tuple(
        Neighbour(
            place=_place(search.knobs, tried.config),
            number=tried.number,
            failure=tried.failure if failed_by_itself(tried) else "",
        )
        for tried in search.history
        if failed_by_itself(tried) or ran(tried)
    )
    return Guard(knobs=search.knobs, neighbours=neighbours, corners=corners)


def explores(seed: int) -> bool:
    """Whether the proposal of this seed is made without the guard."""
    return Draws(seed, "feasibility").fraction() < EXPLORING_SHARE


def failed_by_itself(tried: Tried) -> bool:
    """Whether it failed by what its config asks for."""
    return tried.failure in OF_THE_CONFIG


def corners_of(history: Sequence[Tried]) -> tuple[Corner, ...]:
    """Return the corners that failures opened, each once, the surest first."""
    found: dict[tuple[str, ...], Corner] = {}
    for tried in history:
        limits = _limits_of(tried)
        key = tuple(map(str, limits))
        if not limits or not failed_by_itself(tried) or key in found:
            continue
        inside = [each for each in history if all(limit.holds(each.config) for limit in limits)]
        failed = [each for each in inside if failed_by_itself(each)]
        well = [each for each in inside if ran(each)]
        found[key] = Corner(
            limits=limits,
            failures=tuple(sorted({each.failure for each in failed})),
            failed=tuple(each.number for each in failed),
            ran=tuple(each.number for each in well),
        )
    return tuple(sorted(found.values(), key=lambda corner: (-corner.probability(), corner.failed)))


def _limits_of(tried: Tried) -> tuple[Limit, ...]:
    """Return what its moves reached, each in its own direction."""
    limits = []
    for change in tried.changes:
        before, after = change.before, change.after
        if is_number(before) and is_number(after):
            limits.append(Limit(knob=change.knob, sign=">=" if after > before else "<=", value=after))
        else:
            limits.append(Limit(knob=change.knob, sign="=", value=after))
    return tuple(sorted(limits, key=str))


def ran(tried: Tried) -> bool:
    """Whether it ran to its end and has a value that can be compared."""
    return not tried.failure and tried.value is not None and math.isfinite(tried.value)


def _place(knobs: Mapping[str, Knob], config: Mapping[str, Json]) -> tuple[float | str, ...]:
    """Return the position of every number, and every other value as it is written."""
    values = [(knob, start_of(knob, config)) for knob in knobs.values()]
    return tuple(
        position(knob, value) if is_numeric(knob) and is_number(value) else repr(value) for knob, value in values
    )


def _nearness(here: Sequence[float | str], there: Sequence[float | str]) -> float:
    """Return 1 for the same place, falling with the distance; another choice is a whole range away."""
    squares = 0.0
    for left, right in zip(here, there, strict=True):
        if isinstance(left, float) and isinstance(right, float):
            squares += (left - right) ** 2
        elif left != right:
            squares += 1.0
    return math.exp(-squares / NEIGHBOURHOOD**2)
