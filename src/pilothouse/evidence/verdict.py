"""What the evidence says: improved, regressed or inconclusive, with its interval and error rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.canonical import Json


class Outcome(StrEnum):
    """The three answers there are."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"


class Direction(StrEnum):
    """Which way a metric is better."""

    MIN = "min"
    MAX = "max"


class Confidence(StrEnum):
    """How much repetition stands behind a claim."""

    EXPLORATORY = "exploratory"
    REPLICATED = "replicated"
    STABLE = "stable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer and everything needed to check it.

    `difference` is candidate minus baseline in the metric's own unit, `low` and `high` its two-sided interval at
    level 1 - `alpha`. `scope` says in words what the error rate covers and what it does not.
    """

    outcome: Outcome
    metric: str
    direction: Direction
    baseline: float
    candidate: float
    difference: float
    low: float
    high: float
    alpha: float
    examples: int
    clusters: int
    method: str
    scope: str
    confidence: Confidence

    def as_json(self) -> dict[str, Json]:
        """Return the verdict as JSON values."""
        return {
            "outcome": self.outcome.value,
            "metric": self.metric,
            "direction": self.direction.value,
            "baseline": self.baseline,
            "candidate": self.candidate,
            "difference": self.difference,
            "interval": [self.low, self.high],
            "alpha": self.alpha,
            "examples": self.examples,
            "clusters": self.clusters,
            "method": self.method,
            "scope": self.scope,
            "confidence": self.confidence.value,
        }


def verdict_from_json(value: Mapping[str, Json]) -> Verdict:
    """Read back what `as_json` wrote."""
    raise NotImplementedError(value)
