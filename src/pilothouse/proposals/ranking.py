"""Which candidate changes go today: a score whose parts are shown, and the smallest set that is worth a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json, canonical
from pilothouse.knobs.change_budget import ChangeBudget
from pilothouse.proposals.proposal import BY_HAND

PARTS = ("value", "blast_radius", "reversibility", "signal")
SIGNAL_LEAST = 0.1
"""A change of which a single run can be expected to show less is not worth that run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One change that could go; each part lies between 0 and 1, and more is better.

    `value` is what it is worth to the integration, `blast_radius` how little could break, `reversibility` how easily it
    is taken back, `signal` what one run can be expected to show. `before` is where the knob stands.
    """

    overrides: Mapping[str, Json]
    before: Json
    value: float
    blast_radius: float
    reversibility: float
    signal: float
    sources: tuple[str, ...]
    why: str

    @property
    def key(self) -> str:
        """What tells two changes apart by their effect."""
        return canonical(dict(self.overrides))

    def changes_nothing(self) -> bool:
        """Whether the knob stands there already."""
        return all(value == self.before for value in self.overrides.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a score: `points` is `weight` times `score`, with the weights scaled to a sum of 1."""

    name: str
    weight: float
    score: float

    @property
    def points(self) -> float:
        """What it adds to the total."""
        return self.weight * self.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A candidate with its score; the parts sum to the total."""

    candidate: Candidate
    parts: tuple[Part, ...]

    @property
    def total(self) -> float:
        """The score, between 0 and 1."""
        return sum(part.points for part in self.parts)

    def as_json(self) -> dict[str, Json]:
        """Return the breakdown as JSON values."""
        return {
            "overrides": dict(self.candidate.overrides),
            "before": self.candidate.before,
            "total": self.total,
            "parts": [
                {"name": part.name, "weight": part.weight, "score": part.score, "points": part.points}
                for part in self.parts
            ],
            "sources": list(self.candidate.sources),
            "why": self.candidate.why,
        }


def rank(candidates: Sequence[Candidate], weights: Mapping[str, float]) -> tuple[Ranked, ...]:
    """Return the candidates that change something, the best first; equal scores come by their text."""
    whole = sum(weights[name] for name in PARTS)
    assert whole > 0, f"the weights {dict(weights)} prefer nothing"
    ranked = [
        Ranked(
            candidate=each,
            parts=tuple(Part(name=name, weight=weights[name] / whole, score=_score(each, name)) for name in PARTS),
        )
        for each in candidates
        if not each.changes_nothing()
    ]
    return tuple(sorted(ranked, key=lambda each: (-each.total, each.candidate.key)))


def choose(ranked: Sequence[Ranked], budget: ChangeBudget) -> tuple[Ranked, ...]:
    """Return the smallest set that is worth a run: all that a person asks for, else the best alone, within the budget.

    Nothing is chosen where no candidate promises a signal; then the run is an identical one, or there is none.
    """
    asked = [each for each in ranked if BY_HAND in each.candidate.sources]
    if asked:
        return tuple(asked)
    least = max(budget.minimum, 1)
    chosen: list[Ranked] = []
    moved: set[str] = set()
    for each in ranked:
        knobs = set(each.candidate.overrides)
        if each.candidate.signal >= SIGNAL_LEAST and not knobs & moved:
            chosen.append(each)
            moved |= knobs
        if len(moved) >= least:
            break
    return tuple(chosen) if least <= len(moved) <= budget.maximum else ()


def _score(candidate: Candidate, name: str) -> float:
    scores = {
        "value": candidate.value,
        "blast_radius": candidate.blast_radius,
        "reversibility": candidate.reversibility,
        "signal": candidate.signal,
    }
    return scores[name]
