"""One look at a trial over seeds: what follows from the runs there are, and the verdict when it is the last."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import fmean

from pilothouse.campaigns.arms import ABANDONED, DOOMED, Ran, first_failure, values
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition, Screen
from pilothouse.campaigns.error_rate import Grant
from pilothouse.evidence.arms import arm_of, finite, standing
from pilothouse.evidence.confidence import confidence
from pilothouse.evidence.looks import Look, Step, decide_look, judged_look
from pilothouse.evidence.runs_file import Group
from pilothouse.evidence.sequential import Design
from pilothouse.evidence.trial_verdict import Arms, Question, TrialVerdict, held_back, judge_trials
from pilothouse.evidence.verdict import Confidence, Direction, Outcome, Verdict
from pilothouse.fleet.job import Outcome as End
from pilothouse.proposals.promotion import should_promote

OLD = timedelta(days=2)
"""From this age on a verdict tells how old the baseline is: machines and data drift in ways that no seed shows."""

RIVALS_LEAST = 2
"""Finished runs of the baseline from which a screen or a guard can tell anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The runs of both arms that have ended."""

    baseline: tuple[Ran, ...]
    candidate: tuple[Ran, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The end of a trial's looks. `held_back` names the guards that keep an improved candidate from promotion.

    `failure` is how the candidate's first failed run ended, empty if none failed.
    """

    verdict: Verdict
    promoted: bool
    held_back: tuple[str, ...]
    failure: str
    sides: Sides


def screen_out(definition: AutopilotDefinition, screen: Screen, grant: Grant, sides: Sides) -> Decided | None:
    """Return the end of a trial whose candidate is worse in the cheaper mode, or failed there; None if it goes on.

    Where the baseline itself hardly finishes in that mode, nobody is turned away by it.
    """
    name, metric = definition.primary()
    rival, _ = finite(values(sides.baseline, name))
    tried, diverged = finite(values(sides.candidate, name))
    failure = first_failure(sides.candidate) or (End.NOT_A_NUMBER.value if diverged else "")
    p = 1.0
    if not failure:
        if len(rival) < RIVALS_LEAST:
            return None
        p = float(standing(arm_of(rival), arm_of(tried), lower_is_better=metric.better() is Direction.MIN).p)
        if p <= screen.give_up:
            return None
    words = f"its runs failed ({failure})" if failure else f"p {p:.3g} for being better is above {screen.give_up:g}"
    verdict = _verdict(definition, _Shown(sides=sides, level=0.0, grant=grant, spent=0.0))
    verdict = replace(
        verdict,
        p=p,
        method=f"a screen of {len(sides.candidate)} runs in mode {screen.mode}",
        reason=f"screened out in mode {screen.mode}: {words}",
    )
    return Decided(verdict=verdict, promoted=False, held_back=(), failure=failure, sides=sides)


def abandon(definition: AutopilotDefinition, grant: Grant, sides: Sides) -> Decided:
    """Return the end of a trial that would begin again: a second start at one level would be a second chance."""
    verdict = _verdict(definition, _Shown(sides=sides, level=grant.level, grant=grant, spent=grant.level))
    reason = "given up in the middle: its code, machine, file or proposal has changed since its first runs"
    return Decided(
        verdict=replace(verdict, reason=reason), promoted=False, held_back=(), failure=ABANDONED, sides=sides
    )


def settle(definition: AutopilotDefinition, design: Design, grant: Grant, sides: Sides) -> Decided | None:
    """Return the end of the trial, or None where the next seeds can still change the decision."""
    name, metric = definition.primary()
    failure = first_failure(sides.candidate)
    shown = _Shown(sides=sides, level=grant.level, grant=grant, spent=grant.level)
    if failure:
        failed = sum(bool(run.failure()) for run in sides.candidate)
        verdict = _verdict(definition, shown)
        reason = f"{failed} of {len(sides.candidate)} candidate runs failed ({failure})"
        return Decided(
            verdict=replace(verdict, reason=reason), promoted=False, held_back=(), failure=failure, sides=sides
        )
    doomed = sum(run.doomed for run in sides.candidate)
    if doomed:
        reason = f"{doomed} of {len(sides.candidate)} candidate runs had no chance left and were stopped"
        verdict = replace(_verdict(definition, shown), reason=reason)
        return Decided(verdict=verdict, promoted=False, held_back=(), failure=DOOMED, sides=sides)
    look = decide_look(
        design,
        baseline=values(sides.baseline, name),
        candidate=values(sides.candidate, name),
        direction=metric.better(),
    )
    if look.step is Step.LAUNCH:
        return None
    verdict = _of_look(definition, design, look, shown)
    blocked = _guards(definition, sides) if verdict.outcome is Outcome.IMPROVED else ()
    return Decided(
        verdict=verdict
        if not blocked
        else replace(verdict, reason=f"{verdict.reason}; held back by {', '.join(blocked)}"),
        promoted=should_promote(verdict, held_back_by=blocked),
        held_back=blocked,
        failure="",
        sides=sides,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What a verdict shows besides the look: the runs, and what of the error rate the trial has used."""

    sides: Sides
    level: float
    grant: Grant
    spent: float


def _of_look(definition: AutopilotDefinition, design: Design, look: Look, shown: _Shown) -> Verdict:
    """Return the verdict that a deciding look stands for."""
    _, metric = definition.primary()
    sign = -1.0 if metric.better() is Direction.MIN else 1.0
    low, high = sorted((sign * look.interval.low, sign * look.interval.high))
    outcome, reason = judged_look(
        look, smallest_effect=metric.smallest_effect_of_interest, no_worse_by=metric.no_worse_by
    )
    verdict = _verdict(definition, shown)
    # A verdict that leaves the question open is no claim, however many runs it saw.
    claimed = outcome is not Outcome.INCONCLUSIVE
    runs = min(verdict.baseline_runs, verdict.candidate_runs)
    return replace(
        verdict,
        outcome=outcome,
        confidence=confidence(runs=runs) if claimed else Confidence.EXPLORATORY,
        difference=sign * look.gain,
        shrunk=sign * look.shrunk,
        low=low,
        high=high,
        p=look.p,
        method=f"look {look.look + 1} of {len(design.looks)} of a group-sequential comparison of runs, one-sided",
        reason=reason,
    )


def _verdict(definition: AutopilotDefinition, shown: _Shown) -> Verdict:
    """Return what every verdict over seeds says alike: inconclusive, and unbounded, until a look says more."""
    name, metric = definition.primary()
    means = [_mean(values(side, name)) for side in (shown.sides.baseline, shown.sides.candidate)]
    counts = [len(finite(values(side, name))[0]) for side in (shown.sides.baseline, shown.sides.candidate)]
    spent, left = shown.grant.after(shown.spent)
    return Verdict(
        outcome=Outcome.INCONCLUSIVE,
        metric=name,
        direction=metric.better(),
        baseline=means[0],
        candidate=means[1],
        difference=means[1] - means[0],
        shrunk=0.0,
        low=-math.inf,
        high=math.inf,
        p=1.0,
        alpha=shown.level,
        alpha_spent=spent,
        alpha_left=left,
        baseline_runs=counts[0],
        candidate_runs=counts[1],
        examples=0,
        clusters=0,
        method="runs with different seeds",
        scope=_scope(shown) + _age_words(shown.sides),
        confidence=Confidence.EXPLORATORY,
    )


def _scope(shown: _Shown) -> str:
    if shown.level == 0:
        return "A screen can only turn a proposal away, so it spends nothing of the error rate."
    if shown.grant.book is None:
        return f"The error rate of {100 * shown.level:g} % covers training-seed noise over all looks at this proposal."
    return (
        f"This proposal was judged at {shown.level:.3g}, its share of the {shown.grant.book.promised:g} false "
        "promotions that the whole campaign may expect; it covers training-seed noise over all looks."
    )


def _age_words(sides: Sides) -> str:
    """Return a sentence where some of the baseline's runs are much older than the candidate's, empty otherwise."""
    rival = [run.fact.ended_at for run in sides.baseline if run.fact.ended_at is not None]
    tried = [run.fact.ended_at for run in sides.candidate if run.fact.ended_at is not None]
    if not rival or not tried or min(tried) - min(rival) < OLD:
        return ""
    days = (min(tried) - min(rival)).days
    return f" The oldest of the baseline's runs ended {days} days before the candidate's first."


def _guards(definition: AutopilotDefinition, sides: Sides) -> tuple[str, ...]:
    """Return the guard metrics that hold the candidate back; one that never varies cannot have regressed.

    Where it is no number, nothing can be excluded.
    """
    verdicts: list[TrialVerdict] = []
    unknown: list[str] = []
    for name, metric in definition.metrics.items():
        if metric.primary or not (metric.guard or metric.no_worse_by is not None):
            continue
        rival, _ = finite(values(sides.baseline, name))
        tried, failed = finite(values(sides.candidate, name))
        if len(rival) < RIVALS_LEAST or failed:
            unknown.append(name)
            continue
        if len({*rival.tolist(), *tried.tolist()}) == 1:
            continue
        question = Question(
            metric=name, direction=metric.better(), alpha=definition.decision.alpha, no_worse_by=metric.no_worse_by
        )
        verdicts.append(
            judge_trials(question, Arms(baseline=_group(sides.baseline, name), candidate=_group(sides.candidate, name)))
        )
    return (*unknown, *held_back(verdicts, alpha=definition.decision.alpha))


def _group(runs: Sequence[Ran], metric: str) -> Group:
    return Group(name="", steps=None, values={run.fact.job: run.value(metric) for run in runs})


def _mean(found: Sequence[float]) -> float:
    """Return the mean of the finite values, NaN where there is none."""
    kept = [value for value in found if math.isfinite(value)]
    return fmean(kept) if kept else math.nan
