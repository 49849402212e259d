"""A run is stopped only when the baseline's own curves leave it no chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.campaigns.doom import Finished, doom_of
from pilothouse.evidence.doomed import CURVES_LEAST
from pilothouse.evidence.verdict import Direction

TOTAL = 20


def curve(final: float, seed: int) -> dict[int, float]:
    """Return a curve that falls to its final value, with a little noise."""
    noise = np.random.default_rng(seed).normal(0, 0.01, TOTAL)
    return {step: final + 1 - step / TOTAL + float(noise[step - 1]) for step in range(1, TOTAL + 1)}


def arm(runs: int) -> list[Finished]:
    """Return finished runs of a baseline that ends near 0.5."""
    finals = np.random.default_rng(7).normal(0.5, 0.02, runs)
    return [Finished(curve=curve(float(final), seed), final=float(final)) for seed, final in enumerate(finals)]


def until(values: dict[int, float], last: int) -> dict[int, float]:
    return {step: value for step, value in values.items() if step <= last}


def test_a_hopeless_run_is_stopped_after_six_tenths_and_not_before() -> None:
    """The reason names the step, and what the baseline had there."""
    bad = curve(0.9, 99)

    early = doom_of(arm(10), until(bad, 11), total=TOTAL, direction=Direction.MIN)
    late = doom_of(arm(10), until(bad, 13), total=TOTAL, direction=Direction.MIN)

    assert early == ""
    assert late.startswith("at step 12 of 20 it stood at ")


def test_a_run_like_the_others_goes_on() -> None:
    assert doom_of(arm(10), until(curve(0.5, 99), 19), total=TOTAL, direction=Direction.MIN) == ""


def test_a_gap_that_closes_is_given_its_chance() -> None:
    """A schedule that trails until the end may win there."""
    closing = {step: value + 0.5 * 0.8**step for step, value in curve(0.5, 99).items()}

    assert doom_of(arm(10), until(closing, 16), total=TOTAL, direction=Direction.MIN) == ""


def test_the_same_curve_upside_down_is_judged_alike() -> None:
    bad = curve(0.9, 99)
    turned = [Finished(curve={step: -value for step, value in run.curve.items()}, final=-run.final) for run in arm(10)]

    one = doom_of(arm(10), bad, total=TOTAL, direction=Direction.MIN)
    other = doom_of(turned, {step: -value for step, value in bad.items()}, total=TOTAL, direction=Direction.MAX)

    assert one
    assert other.split(" it stood")[0] == one.split(" it stood")[0]


@pytest.mark.parametrize("runs", range(CURVES_LEAST))
def test_too_few_curves_stop_nothing(runs: int) -> None:
    assert doom_of(arm(runs), curve(9.0, 1), total=TOTAL, direction=Direction.MIN) == ""


@given(st.sets(st.integers(1, TOTAL)), st.integers(0, 12))
def test_curves_that_lack_a_step_are_no_yardstick(seen: set[int], missing: int) -> None:
    """Runs that logged otherwise are left out, and nothing breaks for any choice of steps."""
    holed = [
        Finished(curve={step: value for step, value in run.curve.items() if step != missing}, final=run.final)
        for run in arm(8)
    ]
    found = doom_of(holed, {step: curve(0.9, 99)[step] for step in seen}, total=TOTAL, direction=Direction.MIN)

    assert found == "" or (missing not in seen and max(step for step in seen if step < TOTAL) >= 0.6 * TOTAL)
