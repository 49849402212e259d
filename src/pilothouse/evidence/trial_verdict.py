"""The verdict on a trial from the runs of both arms: one primary metric, guards that must not regress, and a label.

One primary metric decides. Guards may only hold a promotion back, never earn one:

- a guard with a margin must exclude being worse by it; each is tested at the full error rate, because all of them must
  pass (an intersection-union test), so the chance to let a regression through does not grow with their number;
- a guard without a margin holds back when it has regressed, by Holm's steps (Scandinavian Journal of Statistics 6,
  1979), so the chance that noise holds back a good change stays at the error rate however many guards there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.evidence.confidence import confidence
from pilothouse.evidence.looks import Look
from pilothouse.evidence.runs_file import Group
from pilothouse.evidence.seeds import SeedComparison, compare_seeds, outcome_of
from pilothouse.evidence.sequential import LEVEL
from pilothouse.evidence.verdict import Confidence, Direction, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a metric."""

    metric: str
    direction: Direction
    alpha: float = 0.05
    smallest_effect: float = 0.0
    no_worse_by: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """The runs of both arms for one metric; `same_seeds` says that runs of the same id share a seed."""

    baseline: Group
    candidate: Group
    same_seeds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialVerdict:
    """The answer for one metric, with what it rests on; `failed` counts each arm's runs that are no finite number."""

    question: Question
    outcome: Outcome
    reason: str
    found: SeedComparison
    failed: tuple[int, int]
    confidence: Confidence

    def holds_back(self, *, alpha: float) -> bool:
        """Whether this metric, as a guard, keeps the candidate from promotion at its share of the error rate."""
        if self.failed[1]:
            return True
        if self.question.no_worse_by is not None:
            return self.outcome not in {Outcome.EQUIVALENT, Outcome.IMPROVED}
        return self.outcome is Outcome.REGRESSED and self.found.p <= alpha

    def as_json(self) -> dict[str, Json]:
        """Return the verdict as JSON values; ends that are infinite exclude nothing, and are null."""
        found = self.found
        return {
            "outcome": self.outcome.value,
            "metric": self.question.metric,
            "direction": self.question.direction.value,
            "baseline": _arm(found.baseline.tolist(), self.failed[0]),
            "candidate": _arm(found.candidate.tolist(), self.failed[1]),
            "difference": found.difference,
            "interval": [_finite(found.interval.low), _finite(found.interval.high)],
            "shrunk_difference": found.shrunk,
            "p": found.p,
            "permutation_p": found.exact_p,
            "alpha": found.alpha,
            "alpha_left": 0.0,
            "paired": found.paired,
            "correlation": found.correlation,
            "smallest_effect": self.question.smallest_effect,
            "no_worse_by": self.question.no_worse_by,
            "confidence": self.confidence.value,
            "method": method_of(found),
            "reason": self.reason,
        }


def judge_trials(question: Question, arms: Arms, *, variants: int = 1) -> TrialVerdict:
    """Return the verdict on finished runs; a candidate with a failed run is never improved and never equivalent."""
    _require_question(question)
    baseline, candidate = _finished(arms.baseline), _finished(arms.candidate)
    found = compare_seeds(baseline, candidate, alpha=question.alpha, same_seeds=arms.same_seeds)
    if not found.error > 0 and found.difference == 0:
        raise BadValue(
            f"{question.metric} is constant: every run of both arms has {found.baseline[0]:g}",
            fix="name a metric that varies with --metric",
        )
    outcome, reason = outcome_of(
        found,
        direction=question.direction,
        smallest_effect=question.smallest_effect,
        no_worse_by=question.no_worse_by,
    )
    failed = (len(arms.baseline.values) - len(baseline), len(arms.candidate.values) - len(candidate))
    if failed[1] and outcome in {Outcome.IMPROVED, Outcome.EQUIVALENT}:
        outcome, reason = (
            Outcome.INCONCLUSIVE,
            f"{failed[1]} of {len(arms.candidate.values)} candidate runs failed (NaN or infinite)",
        )
    return TrialVerdict(
        question=question,
        outcome=outcome,
        reason=reason,
        found=found,
        failed=failed,
        confidence=confidence(runs=min(len(baseline), len(candidate)), variants=variants),
    )


def held_back(guards: Sequence[TrialVerdict], *, alpha: float) -> list[str]:
    """Return the names of the guards that keep the candidate from promotion."""
    margins = [guard for guard in guards if guard.question.no_worse_by is not None or guard.failed[1]]
    names = [guard.question.metric for guard in margins if guard.holds_back(alpha=alpha)]
    plain = sorted((guard for guard in guards if guard not in margins), key=lambda guard: guard.found.p)
    for rank, guard in enumerate(plain):
        if guard.found.p > alpha / (len(plain) - rank):
            break
        names += [guard.question.metric] if guard.holds_back(alpha=alpha) else []
    return names


def look_json(look: Look, *, direction: Direction) -> dict[str, Json]:
    """Return a sequential look as JSON, its difference in the metric's unit, candidate minus baseline."""
    sign = -1.0 if direction is Direction.MIN else 1.0
    ends = sorted((sign * look.interval.low, sign * look.interval.high))
    return {
        "step": look.step.value,
        "seeds": look.seeds,
        "p": look.p,
        "difference": sign * look.gain,
        "shrunk_difference": sign * look.shrunk,
        "interval": [_finite(ends[0]), _finite(ends[1])],
        "interval_level": LEVEL,
        "alpha_spent": look.alpha_spent,
        "alpha_left": look.alpha_left,
        "reason": look.reason,
    }


def method_of(found: SeedComparison) -> str:
    """Return in words what was computed."""
    if found.paired:
        return f"paired t with {found.freedom:.0f} degrees of freedom; pairs correlate at {found.correlation:.2f}"
    exact = "" if found.exact_p is None else ", and the exact permutation test where it can reach alpha"
    return f"Welch's t with {found.freedom:.1f} degrees of freedom{exact}"


def _finished(group: Group) -> Mapping[str, float]:
    return {run: value for run, value in group.values.items() if math.isfinite(value)}


def _arm(values: Sequence[float], failed: int) -> dict[str, Json]:
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return {"runs": len(values), "failed": failed, "mean": mean, "sd": spread}


def _finite(end: float) -> float | None:
    return end if math.isfinite(end) else None


def _require_question(question: Question) -> None:
    if not (question.smallest_effect >= 0 and math.isfinite(question.smallest_effect)):
        raise BadValue(
            f"the smallest effect of interest of {question.metric} is {question.smallest_effect!r}",
            fix="give a finite number, 0 or more",
        )
    if question.no_worse_by is not None and not (question.no_worse_by > 0 and math.isfinite(question.no_worse_by)):
        raise BadValue(f"the margin of {question.metric} is {question.no_worse_by!r}", fix="give a number above 0")
