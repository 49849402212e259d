"""A run is stopped only when the baseline's own curves leave it no chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.campaigns.action import Await
from pilothouse.campaigns.autopilot import JudgeRuns, open_look
from pilothouse.campaigns.doom import Finished, doom_of, gives_up
from pilothouse.evidence.doomed import CURVES_LEAST
from pilothouse.evidence.looks import stream_design
from pilothouse.evidence.verdict import Direction
from tests.campaigns.pilot_world import PilotWorld, by_knob, pilot_definition

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

    assert early is None
    assert late is not None
    assert late.why.startswith("at step 12 of 20 it stood at ")
    assert 0.5 < late.lucky < 0.9


def test_a_run_like_the_others_goes_on() -> None:
    assert doom_of(arm(10), until(curve(0.5, 99), 19), total=TOTAL, direction=Direction.MIN) is None


def test_a_gap_that_closes_is_given_its_chance() -> None:
    """A schedule that trails until the end may win there."""
    closing = {step: value + 0.5 * 0.8**step for step, value in curve(0.5, 99).items()}

    assert doom_of(arm(10), until(closing, 16), total=TOTAL, direction=Direction.MIN) is None


def test_the_same_curve_upside_down_is_judged_alike() -> None:
    bad = curve(0.9, 99)
    turned = [Finished(curve={step: -value for step, value in run.curve.items()}, final=-run.final) for run in arm(10)]

    one = doom_of(arm(10), bad, total=TOTAL, direction=Direction.MIN)
    other = doom_of(turned, {step: -value for step, value in bad.items()}, total=TOTAL, direction=Direction.MAX)

    assert one is not None
    assert other is not None
    assert other.why.split(" it stood")[0] == one.why.split(" it stood")[0]
    assert other.lucky == pytest.approx(-one.lucky)


@pytest.mark.parametrize("runs", range(CURVES_LEAST))
def test_too_few_curves_stop_nothing(runs: int) -> None:
    assert doom_of(arm(runs), curve(9.0, 1), total=TOTAL, direction=Direction.MIN) is None


@given(st.sets(st.integers(1, TOTAL)), st.integers(0, 12))
def test_curves_that_lack_a_step_are_no_yardstick(seen: set[int], missing: int) -> None:
    """Runs that logged otherwise are left out, and nothing breaks for any choice of steps."""
    holed = [
        Finished(curve={step: value for step, value in run.curve.items() if step != missing}, final=run.final)
        for run in arm(8)
    ]
    found = doom_of(holed, {step: curve(0.9, 99)[step] for step in seen}, total=TOTAL, direction=Direction.MIN)

    assert found is None or (missing not in seen and max(step for step in seen if step < TOTAL) >= 0.6 * TOTAL)


def test_one_unlucky_seed_of_a_good_change_stops_nothing() -> None:
    """The look is decided by all runs: beside a good one, even a run that is sure to end badly may be carried."""
    design = stream_design(0.0009)
    baseline = [run.final for run in arm(16)]

    assert not gives_up(design, baseline=baseline, candidate=[0.42, 0.51], direction=Direction.MIN)
    assert gives_up(design, baseline=baseline, candidate=[0.52, 0.51], direction=Direction.MIN)
    assert not gives_up(design, baseline=[-x for x in baseline], candidate=[-0.42, -0.51], direction=Direction.MAX)


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=7), st.floats(0, 3), st.floats(0, 3))
def test_a_run_that_ends_worse_than_its_lucky_end_changes_nothing(
    others: list[float], lucky: float, worse: float
) -> None:
    """Where a look gives up at the lucky end of a run behind the baseline, it does at any worse end."""
    design = stream_design(0.0009)
    baseline = np.random.default_rng(3).normal(0, 1, 20)
    baseline -= baseline.mean()
    if gives_up(design, baseline=list(baseline), candidate=[*others, lucky], direction=Direction.MIN):
        assert gives_up(design, baseline=list(baseline), candidate=[*others, lucky + worse], direction=Direction.MIN)


@pytest.mark.parametrize("mode", ["stream", "single"])
def test_the_open_look_is_that_of_the_candidate_alone(mode: str) -> None:
    """Also where the candidate is the baseline's config again, none of the baseline's runs can be stopped."""
    changes = [("[decision]\n", '[decision]\nmode = "single"\n')] if mode == "single" else []
    world = PilotWorld(definition=pilot_definition(*changes), measure=by_knob(), suggest=lambda _: {}, trials_max=1)
    found = []
    while not isinstance(action := world.turn(), JudgeRuns):
        if isinstance(action, Await):
            found.append((action, open_look(world.definition, world.facts(), action.beside)))

    looks = [look for action, look in found if look is not None and action.step.spec.trial == 1]
    assert looks
    assert all(look is None for action, look in found if action.step.spec.trial == 0)
    judged = action.decided.sides
    assert {step.key for look in looks for step in look.candidate} == {run.step.key for run in judged.candidate}
