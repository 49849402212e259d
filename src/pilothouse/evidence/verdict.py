"""What the evidence says: improved, regressed or inconclusive, with its interval and error rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.evidence.interval import Comparison


class Outcome(StrEnum):
    """The answers there are; equivalent (no worse by more than a margin) is only given where a margin was asked for."""

    IMPROVED = "improved"
    REGRESSED = "regressed"
    INCONCLUSIVE = "inconclusive"
    EQUIVALENT = "equivalent"


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

    `difference` is candidate minus baseline in the metric's own unit, NaN where no run of an arm finished. `low` and
    `high` are its two-sided interval, at level 1 - `alpha` where examples were compared and at 95 % where runs were;
    ends that are infinite exclude nothing. What is no finite number is null in JSON. `p` is that of the test which
    decided, `shrunk` the difference freed of luck: of selection by one look, or of stopping early where there are
    several. `alpha_spent` and `alpha_left` are of the campaign's error rate where one is kept across its proposals, and
    of this comparison's otherwise. `examples` and `clusters` are 0 where runs were compared and not examples. `scope`
    says in words what the error rate covers and what it does not, `reason` why the outcome is what it is.
    """

    outcome: Outcome
    metric: str
    direction: Direction
    baseline: float
    candidate: float
    difference: float
    shrunk: float
    low: float
    high: float
    p: float
    alpha: float
    alpha_spent: float
    alpha_left: float
    baseline_runs: int
    candidate_runs: int
    examples: int
    clusters: int
    method: str
    scope: str
    confidence: Confidence
    reason: str = ""

    def as_json(self) -> dict[str, Json]:
        """Return the verdict as JSON values."""
        return {
            "outcome": self.outcome.value,
            "metric": self.metric,
            "direction": self.direction.value,
            "baseline": _finite(self.baseline),
            "candidate": _finite(self.candidate),
            "difference": _finite(self.difference),
            "shrunk_difference": self.shrunk,
            "interval": [_finite(self.low), _finite(self.high)],
            "p": self.p,
            "alpha": self.alpha,
            "alpha_spent": self.alpha_spent,
            "alpha_left": self.alpha_left,
            "baseline_runs": self.baseline_runs,
            "candidate_runs": self.candidate_runs,
            "examples": self.examples,
            "clusters": self.clusters,
            "method": self.method,
            "scope": self.scope,
            "confidence": self.confidence.value,
            "reason": self.reason,
        }


def judge(
    comparison: Comparison, *, metric: str, direction: Direction, smallest_effect: float | None = None
) -> Verdict:
    """Return the verdict on one run against the baseline.

    It is improved or regressed when the whole interval lies on one side of zero and the difference is at least the
    smallest effect of interest; a smaller one is inconclusive, however certain, and `reason` says so. Swapping the
    arms mirrors the verdict.
    """
    if smallest_effect is not None and not (smallest_effect >= 0 and math.isfinite(smallest_effect)):
        raise BadValue(
            f"the smallest effect of interest of {metric} is {smallest_effect!r}", fix="give a finite number, 0 or more"
        )
    outcome, reason = _outcome(comparison, direction=direction, smallest_effect=smallest_effect or 0.0)
    return Verdict(
        outcome=outcome,
        metric=metric,
        direction=direction,
        baseline=comparison.baseline,
        candidate=comparison.candidate,
        difference=comparison.difference,
        shrunk=comparison.difference,
        low=comparison.interval.low,
        high=comparison.interval.high,
        p=comparison.p,
        alpha=comparison.alpha,
        alpha_spent=comparison.alpha,
        alpha_left=0.0,
        baseline_runs=1,
        candidate_runs=1,
        examples=comparison.examples,
        clusters=comparison.clusters,
        method=comparison.method,
        scope=_scope(comparison),
        confidence=Confidence.EXPLORATORY,  # one run; more of them are labelled by `confidence.confidence`
        reason=reason,
    )


def verdict_from_json(value: Mapping[str, Json]) -> Verdict:
    """Read back what `as_json` wrote; anything else raises `BadValue` with the field's name."""
    low, high = _ends(value)
    return Verdict(
        outcome=Outcome(_member(value, "outcome", Outcome)),
        metric=_text(value, "metric"),
        direction=Direction(_member(value, "direction", Direction)),
        baseline=_mean(value, "baseline"),
        candidate=_mean(value, "candidate"),
        difference=_mean(value, "difference"),
        shrunk=_number(value, "shrunk_difference"),
        low=low,
        high=high,
        p=_number(value, "p"),
        alpha=_number(value, "alpha"),
        alpha_spent=_number(value, "alpha_spent"),
        alpha_left=_number(value, "alpha_left"),
        baseline_runs=_count(value, "baseline_runs"),
        candidate_runs=_count(value, "candidate_runs"),
        examples=_count(value, "examples"),
        clusters=_count(value, "clusters"),
        method=_text(value, "method"),
        scope=_text(value, "scope"),
        confidence=Confidence(_member(value, "confidence", Confidence)),
        reason=_text(value, "reason"),
    )


def _outcome(comparison: Comparison, *, direction: Direction, smallest_effect: float) -> tuple[Outcome, str]:
    difference = comparison.difference
    if not comparison.interval.excludes_zero():
        return Outcome.INCONCLUSIVE, comparison.doubt or "the interval contains 0"
    if abs(difference) < smallest_effect:
        return Outcome.INCONCLUSIVE, (
            f"the difference {difference:.6g} is real but smaller than the smallest effect of interest, "
            f"{smallest_effect:g}"
        )
    better = difference < 0 if direction is Direction.MIN else difference > 0
    reason = comparison.doubt or "the whole interval lies on one side of 0"
    return (Outcome.IMPROVED if better else Outcome.REGRESSED), reason


def _scope(comparison: Comparison) -> str:
    return (
        f"The error rate of {100 * comparison.alpha:g} % covers the sampling of evaluation examples "
        f"({comparison.examples} in {comparison.clusters} clusters). It does not cover training-seed noise: "
        "one run stands on each side. It holds for this one comparison, not for the best of many on one golden set."
    )


def _finite(end: float) -> float | None:
    return end if math.isfinite(end) else None


def _ends(value: Mapping[str, Json]) -> tuple[float, float]:
    interval = value.get("interval")
    if not isinstance(interval, list | tuple) or len(interval) != 2:
        raise _unreadable("interval", interval)
    low, high = interval
    return (
        -math.inf if low is None else _number({"interval": low}, "interval"),
        math.inf if high is None else _number({"interval": high}, "interval"),
    )


def _number(value: Mapping[str, Json], name: str) -> float:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, float | int) or not math.isfinite(found):
        raise _unreadable(name, found)
    return float(found)


def _mean(value: Mapping[str, Json], name: str) -> float:
    """Return the number, NaN where no run of an arm has finished."""
    return math.nan if name in value and value[name] is None else _number(value, name)


def _count(value: Mapping[str, Json], name: str) -> int:
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, int):
        raise _unreadable(name, found)
    return found


def _text(value: Mapping[str, Json], name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str):
        raise _unreadable(name, found)
    return found


def _member(value: Mapping[str, Json], name: str, members: type[StrEnum]) -> str:
    found = _text(value, name)
    if found not in set(members):
        raise _unreadable(name, found)
    return found


def _unreadable(name: str, found: Json) -> BadValue:
    return BadValue(
        f"a stored verdict has {name} = {found!r}", fix="restore the database from a backup: the verdict was altered"
    )
