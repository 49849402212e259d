"""What is made of a ferry that has ended: did it work, did it pass, is it better, and does the baseline move.

A run that exits well has not yet passed: it must have done work under its own name, and every validator must hold. The
verdict compares it with the ferry before, key metric by key metric. A promotion compares it with the baseline ferry:
more than half of the key metrics must have improved, the primary one must not have regressed, and reliability must not
be worse. That at least half of the key metrics improve by chance alone has a probability of at most alpha, however they
hang together (Markov's inequality: each improves by chance with at most alpha / 2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pilothouse.campaigns.ferry_definition import FerryDefinition, Reliability, Validator
from pilothouse.canonical import Json
from pilothouse.evidence.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A ferry's numbers: what its program said, means over its seeds, and what the platform's own record says.

    `own` holds `seconds`, `steps`, `attempts` and `incidents`; it goes before a program's metric of the same name.
    """

    metrics: Mapping[str, float]
    own: Mapping[str, float]

    def value(self, name: str) -> float | None:
        """Return a measure, None where it is missing or no number."""
        found = self.own.get(name, self.metrics.get(name))
        return found if found is not None and math.isfinite(found) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One validator and what it found; a missing measure has failed."""

    name: str
    bound: str
    actual: float | None
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Everything that was decided about a ferry.

    `failure` says why it does not count, empty when it does. `key` compares it with the ferry before, whose run is the
    `rival`, the primary metric first; `against_baseline` with the ferry that the baseline came from, whose run is the
    `base`. `held_back` says why an otherwise better one does not become the baseline.
    """

    failure: str
    checks: tuple[Check, ...] = ()
    key: tuple[Verdict, ...] = ()
    against_baseline: tuple[Verdict, ...] = ()
    worse: tuple[str, ...] = ()
    promoted: bool = False
    held_back: str = ""
    rival: str = ""
    base: str = ""
    measured: Measured = field(default_factory=lambda: Measured(metrics={}, own={}))

    def as_json(self) -> dict[str, Json]:
        """Return the judgement as JSON values."""
        return {
            "failure": self.failure,
            "checks": [
                {"name": each.name, "bound": each.bound, "actual": each.actual, "passed": each.passed}
                for each in self.checks
            ],
            "key": [verdict.as_json() for verdict in self.key],
            "against_baseline": [verdict.as_json() for verdict in self.against_baseline],
            "worse": list(self.worse),
            "promoted": self.promoted,
            "held_back": self.held_back,
            "rival": self.rival,
            "base": self.base,
            "metrics": _finite(self.measured.metrics),
            "own": _finite(self.measured.own),
        }


def checks_of(definition: FerryDefinition, measured: Measured) -> tuple[Check, ...]:
    """Return what every validator found."""
    return tuple(_check(name, each, measured) for name, each in definition.ferry.validators.items())


def no_work(measured: Measured) -> str:
    """Return why a run that ended well has done nothing, empty when it has."""
    steps = measured.value("steps")
    if steps is None:
        return "it ended well and reported no step: a ferry that did no work has failed"
    if steps <= 0:
        return f"it ended well after {steps:g} steps of its own: a ferry that did no work has failed"
    return ""


def failure_of_end(definition: FerryDefinition, measured: Measured) -> tuple[str, tuple[Check, ...]]:
    """Return why a ferry that shipped does not count, empty when it does, with what the validators found."""
    checks = checks_of(definition, measured)
    broken = [each for each in checks if not each.passed]
    words = "; ".join(f"{each.name} {_shown(each.actual)}, {each.bound} is wanted" for each in broken)
    return no_work(measured) or words, checks


def worse_of(rules: Mapping[str, Reliability], *, before: Measured, after: Measured) -> tuple[str, ...]:
    """Return which measures of reliability are worse than they may be; one that is missing now is."""
    found: list[str] = []
    for name, rule in rules.items():
        old, new = before.value(name), after.value(name)
        if old is None:
            continue
        if new is None:
            found.append(f"{name} is missing")
            continue
        loss = new - old if rule.direction == "min" else old - new
        if loss > rule.worse_by * abs(old) + 1e-12:
            found.append(f"{name} {old:.6g} → {new:.6g}")
    return tuple(found)


def held_back_by(against: Sequence[Verdict], worse: Sequence[str]) -> str:
    """Return why a ferry does not become the baseline, empty when it does; the primary metric comes first."""
    improved = [each.metric for each in against if each.outcome is Outcome.IMPROVED]
    if against[0].outcome is Outcome.REGRESSED:
        return f"{against[0].metric} has regressed"
    if 2 * len(improved) <= len(against):
        return f"{len(improved)} of {len(against)} key metrics improved, more than half are wanted"
    return f"reliability is worse: {', '.join(worse)}" if worse else ""


def inaugural(measured: Measured, checks: tuple[Check, ...]) -> Judgement:
    """Return the judgement of the first ferry that ever counted: there is nothing to compare it with."""
    return Judgement(failure="", checks=checks, promoted=True, measured=measured)


def _check(name: str, rule: Validator, measured: Measured) -> Check:
    actual = measured.value(name)
    low, high = rule.at_least, rule.at_most
    passed = actual is not None and (low is None or actual >= low) and (high is None or actual <= high)
    words = [f"at least {low:g}"] if low is not None else []
    words += [f"at most {high:g}"] if high is not None else []
    return Check(name=name, bound=" and ".join(words), actual=actual, passed=passed)


def _shown(value: float | None) -> str:
    return "is missing" if value is None else f"is {value:.6g}"


def _finite(values: Mapping[str, float]) -> dict[str, Json]:
    """Return the numbers that JSON knows."""
    return {name: value for name, value in values.items() if math.isfinite(value)}
