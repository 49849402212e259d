"""The sequential question after some runs: promote, give up, or launch the next seeds.

Two designs. `single_design` asks one question with equal arms that grow together, interleaved. `stream_design` asks one
of a campaign's many questions at the error rate that the ledger grants it (`evidence.stream`), against a baseline arm
that is first calibrated and then accumulates one interleaved run per look, so the candidate's seeds are nearly all it
pays.

The next seeds are launched only while they can still change the decision: a look that is past its futility level ends
it. Levels and shares were chosen on simulated normal noise; their error rates are measured, not assumed, by `bench
judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from pilothouse.errors import BadValue
from pilothouse.evidence.arms import Floats, Standing, arm_of, finite, standing
from pilothouse.evidence.interval import Interval
from pilothouse.evidence.sequential import Design, invert, make_design, t_of_z, z_of_t
from pilothouse.evidence.verdict import Direction, Outcome

SINGLE_LOOKS = (2, 3, 4, 5, 6, 8, 10, 13, 16)
SINGLE_SHARES = (0.0, 0.25, 0.2, 0.15, 0.1, 0.1, 0.08, 0.06, 0.06)
SINGLE_FUTILITY = (0.6, 0.5, 0.4, 0.35, 0.3, 0.25, 0.18, 0.12, 1.0)
SMALL_SAMPLE = 0.82
"""Share of alpha that a design with equal arms plans with: p-values of t with 2 to 10 degrees of freedom are less
correlated over the looks than the z-values of the theory, and the plan alone would promote 14 % too often."""

STREAM_LOOKS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24)
STREAM_SHARES = (0.0, 0.0, 0.08, 0.1, 0.1, 0.1, 0.1, 0.12, 0.13, 0.13, 0.14)
STREAM_FUTILITY = (0.37, 0.32, 0.27, 0.23, 0.19, 0.155, 0.12, 0.09, 0.07, 0.025, 1.0)
"""Before four seeds a stream may give up but never promote: fewer cannot show how wild the change is."""


class Step(StrEnum):
    """What follows from a look."""

    PROMOTE = "promote"
    GIVE_UP = "give up"
    LAUNCH = "launch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The decision after a look, with what it rests on.

    `seeds` is how many candidate runs there must be before the next look, equal to those there are when it is decided.
    `gain`, `shrunk` and `interval` are positive where the candidate is better; `shrunk` is the median of the inverted
    design: it takes back the luck of stopping early, not that of being among the promoted.
    """

    step: Step
    look: int
    seeds: int
    p: float
    gain: float
    shrunk: float
    interval: Interval
    alpha_spent: float
    alpha_left: float
    reason: str


def single_design(alpha: float) -> Design:
    """Return the design for one question at this error rate."""
    return make_design(SINGLE_LOOKS, alpha=alpha * SMALL_SAMPLE, shares=SINGLE_SHARES, futility=SINGLE_FUTILITY)


def stream_design(alpha: float) -> Design:
    """Return the design for one of many questions, with the error rate that the ledger grants it."""
    return make_design(STREAM_LOOKS, alpha=alpha, shares=STREAM_SHARES, futility=STREAM_FUTILITY)


def custom_design(looks: Sequence[int], *, alpha: float) -> Design:
    """Return a design for looks of the owner's choice: equal shares, and futility that tightens towards the end."""
    steps = len(looks)
    futility = tuple(0.5 * (1 - look / steps) for look in range(steps - 1))
    return make_design(tuple(looks), alpha=alpha * SMALL_SAMPLE, shares=(1.0,) * steps, futility=(*futility, 1.0))


def decide_look(design: Design, *, baseline: Sequence[float], candidate: Sequence[float], direction: Direction) -> Look:
    """Return what follows from the runs there are, at the last look that they reach.

    A candidate run that is NaN or infinite has failed, and a candidate with a failed run is given up, whatever the
    others say. Failed baseline runs are left out: without them the rival is better, so leaving them out promotes
    nothing.
    """
    values, failed = finite(candidate)
    rival, _ = finite(baseline)
    if len(rival) < 2:
        raise BadValue(f"the baseline has {len(rival)} finished runs", fix=f"run it {2 - len(rival)} times more")
    if failed:
        return _failed(design, failed, runs=len(candidate))
    reached = [look for look, seeds in enumerate(design.looks) if seeds <= len(values)]
    if not reached:
        return _not_yet(design, runs=len(values))
    look = reached[-1]
    values = values[: design.looks[look]]
    here = standing(arm_of(rival), arm_of(values), lower_is_better=direction is Direction.MIN)
    step = step_of(design, look, float(here.p))
    ends = honest_interval(design, here, look)
    seeds = design.looks[look + 1] if step is Step.LAUNCH else design.looks[look]
    spent = design.spent(look)
    return Look(
        step=step,
        look=look,
        seeds=seeds,
        p=float(here.p),
        gain=float(here.gain),
        shrunk=float(ends[1]),
        interval=Interval(low=float(ends[0]), high=float(ends[2])),
        alpha_spent=spent,
        alpha_left=design.alpha - spent,
        reason=_reason(design, look, float(here.p), step),
    )


def replay_looks(
    design: Design, *, baseline: Sequence[float], candidate: Sequence[float], direction: Direction
) -> Look:
    """Return the decision of runs in the order of their launch: that of the first look that ends the comparison.

    Each look sees as many baseline runs as candidate runs, as interleaved arms of equal size had them then.
    """
    reached = [seeds for seeds in design.looks if seeds <= len(candidate)] or [len(candidate)]
    for seeds in reached[:-1]:
        found = decide_look(design, baseline=baseline[:seeds], candidate=candidate[:seeds], direction=direction)
        if found.step is not Step.LAUNCH:
            return found
    last = max(reached[-1], 2)
    return decide_look(design, baseline=baseline[:last], candidate=candidate[:last], direction=direction)


def outcome_of_look(found: Look) -> Outcome:
    """Return the outcome that a look stands for; a comparison that goes on has none yet."""
    match found.step:
        case Step.PROMOTE:
            return Outcome.IMPROVED
        case Step.LAUNCH:
            return Outcome.INCONCLUSIVE
        case Step.GIVE_UP:
            return Outcome.REGRESSED if found.interval.high < 0 else Outcome.INCONCLUSIVE
        case unknown:
            assert_never(unknown)


def judged_look(found: Look, *, smallest_effect: float = 0.0, no_worse_by: float | None = None) -> tuple[Outcome, str]:
    """Return the outcome and its reason: a gain below the smallest of interest is none, and a margin tells equivalence.

    A comparison that goes on is inconclusive, whatever its interval excludes so far.
    """
    outcome = outcome_of_look(found)
    if outcome is Outcome.IMPROVED and found.gain < smallest_effect:
        return (
            Outcome.INCONCLUSIVE,
            f"the gain {found.gain:.4g} is real but below the smallest of interest, {smallest_effect:g}",
        )
    ended = found.step is Step.GIVE_UP
    if ended and no_worse_by is not None and found.interval.low > -no_worse_by:
        return Outcome.EQUIVALENT, f"the interval excludes being worse by {no_worse_by:g} or more"
    return outcome, found.reason


def step_of(design: Design, look: int, p: float) -> Step:
    """Return the step that a p-value leads to at a look."""
    if p <= design.efficacy[look]:
        return Step.PROMOTE
    if look + 1 == len(design.looks) or p > design.futility[look]:
        return Step.GIVE_UP
    return Step.LAUNCH


def honest_interval(design: Design, here: Standing, look: int | NDArray[np.intp]) -> Floats:
    """Return the low end, median and high end of the gain after a stop: float64 [3] or [3, n]."""
    t = np.atleast_1d(here.t)
    freedom = np.broadcast_to(here.freedom, t.shape)
    flat = ~np.isfinite(t)
    shown = np.where(flat, 0.0, t)
    z = z_of_t(shown, freedom)
    offsets = invert(design).at(np.broadcast_to(np.asarray(look, dtype=np.intp), t.shape), z)
    moved = t_of_z(z[None, :] + offsets, np.broadcast_to(freedom, offsets.shape)) - shown
    ends = np.sort(np.atleast_1d(here.gain) + moved * np.atleast_1d(here.error), axis=0)
    return ends[:, 0] if np.ndim(here.t) == 0 else ends


def _failed(design: Design, failed: int, *, runs: int) -> Look:
    return _undecided(
        design,
        step=Step.GIVE_UP,
        seeds=runs,
        p=1.0,
        reason=f"{failed} of {runs} candidate runs failed (NaN or infinite)",
    )


def _not_yet(design: Design, *, runs: int) -> Look:
    first = design.looks[0]
    return _undecided(
        design, step=Step.LAUNCH, seeds=first, p=1.0, reason=f"{runs} runs: the first look needs {first - runs} more"
    )


def _undecided(design: Design, *, step: Step, seeds: int, p: float, reason: str) -> Look:
    return Look(
        step=step,
        look=0,
        seeds=seeds,
        p=p,
        gain=0.0,
        shrunk=0.0,
        interval=Interval(low=-float("inf"), high=float("inf")),
        alpha_spent=0.0,
        alpha_left=design.alpha,
        reason=reason,
    )


def _reason(design: Design, look: int, p: float, step: Step) -> str:
    match step:
        case Step.PROMOTE:
            return (
                f"p {p:.3g} is at most {design.efficacy[look]:.3g}, the level of the look at {design.looks[look]} seeds"
            )
        case Step.LAUNCH:
            return (
                f"p {p:.3g} decides nothing at {design.looks[look]} seeds; the next look is at {design.looks[look + 1]}"
            )
        case Step.GIVE_UP if look + 1 == len(design.looks):
            return f"p {p:.3g} at the last look, {design.looks[look]} seeds, is above {design.efficacy[look]:.3g}"
        case Step.GIVE_UP:
            return (
                f"p {p:.3g} is above the futility level {design.futility[look]:.3g}: more seeds would hardly change it"
            )
