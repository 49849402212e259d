"""Noise floor, ladder, confirmation and early stopping: each says what it knows and refuses what it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pilothouse.errors import BadValue, Refused
from pilothouse.evidence.arms import Floats, arm_of, joined, standing
from pilothouse.evidence.doomed import doomed_at, predictor
from pilothouse.evidence.interval import Comparison, Interval
from pilothouse.evidence.ladder import climb, expected_maximum
from pilothouse.evidence.noise_floor import Conditions, measure_floor
from pilothouse.evidence.power import detectable, power_of, seeds_for
from pilothouse.evidence.runs_file import grouped, read_runs, without_copies
from pilothouse.evidence.verdict import Direction
from pilothouse.knobs.delta import Change
from pilothouse.proposals.draft import refuse_seed_only
from pilothouse.proposals.promotion import Confirmation, before_and_after, confirm

HERE = Conditions(code="c1", hardware="h1", data="d1")
BEFORE = [3.280, 3.281, 3.279, 3.282, 3.278, 3.2805, 3.2795, 3.280]


def test_arms_join_as_if_they_had_been_one() -> None:
    values = np.random.default_rng(1).standard_normal((5, 9))

    whole, parts = arm_of(values), joined(arm_of(values[:, :4]), arm_of(values[:, 4:]))

    assert np.allclose(whole.mean, parts.mean)
    assert np.allclose(whole.squares, parts.squares)
    assert (whole.runs == parts.runs).all()


def test_swapping_arms_of_any_size_swaps_the_standing() -> None:
    rng = np.random.default_rng(2)
    few, many = arm_of(2 * rng.standard_normal((50, 3)) - 1), arm_of(rng.standard_normal((50, 17)))

    one, other = standing(many, few), standing(few, many)

    assert np.array_equal(one.t, -other.t)
    assert np.allclose(one.p, 1 - other.p)


def test_a_noise_floor_tells_sigma_and_what_can_be_seen() -> None:
    values = np.random.default_rng(1).normal(3.28, 0.0013, 200).tolist()

    floor = measure_floor("loss", [*values, math.nan], alpha=0.05, conditions=HERE)

    assert floor.sigma_low < 0.0013 < floor.sigma_high
    assert (floor.replicates, floor.failed) == (200, 1)
    assert power_of(floor.detectable / floor.sigma, seeds=8, alpha=0.05) == pytest.approx(0.8, abs=1e-6)
    assert floor.seeds_for(floor.detectable) == 8


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (HERE, ""),
        (Conditions(code="c2", hardware="h1", data="d1"), "the code changed"),
        (Conditions(code="c1", hardware="h2", data="d2"), "the hardware class and the data changed"),
    ],
)
def test_a_noise_floor_expires_with_what_it_was_measured_under(now: Conditions, named: str) -> None:
    floor = measure_floor("loss", [1.0, 1.1, 0.9], alpha=0.05, conditions=HERE)

    assert floor.expired(now).startswith(named)
    assert bool(floor.expired(now)) == bool(named)


def test_a_floor_of_too_few_replicates_says_how_many_are_missing() -> None:
    with pytest.raises(BadValue, match="1 finished replicates of loss; 2 are missing"):
        measure_floor("loss", [1.0, math.nan], alpha=0.05, conditions=HERE)


def test_seeds_and_detectable_effects_are_each_others_inverse() -> None:
    effect = detectable(sigma=1.0, seeds=10, power=0.8, alpha=0.05)

    assert seeds_for(effect * 1.0001, power=0.8, alpha=0.05) == 10
    assert seeds_for(effect * 0.99, power=0.8, alpha=0.05) == 11


def _compared(candidate: float) -> Comparison:
    return Comparison(
        baseline=1.0,
        candidate=candidate,
        difference=candidate - 1.0,
        standard_error=0.1,
        degrees_of_freedom=9.0,
        interval=Interval(low=-1.0, high=1.0),
        p=0.01,
        alpha=0.05,
        examples=100,
        clusters=10,
        method="by hand",
    )


def test_the_ladder_shows_a_new_best_only_a_step_below_the_last() -> None:
    near = climb(_compared(0.95), direction=Direction.MIN, looks=3)
    far = climb(_compared(0.85), direction=Direction.MIN, looks=3)
    after = climb(_compared(0.85), direction=Direction.MIN, looks=4, published=0.8)

    assert (near.published, near.shown) == (False, 1.0)
    assert (far.published, far.shown) == (True, 0.85)
    assert (after.published, after.shown) == (False, 0.8)


def test_optimism_grows_with_the_looks() -> None:
    """The expected maximum of n normal draws: 0 for one, 1/sqrt(pi) for two, 2.5076 for a hundred."""
    assert expected_maximum(1) == pytest.approx(0.0, abs=1e-6)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-4)
    assert expected_maximum(100) == pytest.approx(2.5076, abs=1e-3)
    assert climb(_compared(0.9), direction=Direction.MIN, looks=100).optimism == pytest.approx(0.25076, abs=1e-4)


def test_the_ladder_climbs_less_on_noise_than_the_best_so_far_does() -> None:
    """A hundred null candidates on one golden set: the ladder's value stays nearer the truth than the plain best."""
    rng = np.random.default_rng(8)
    shown, best = 1.0, 1.0
    for look, candidate in enumerate(1 + 0.1 * rng.standard_normal(100), start=1):
        rung = climb(_compared(float(candidate)), direction=Direction.MIN, looks=look, published=shown)
        shown, best = rung.shown, min(best, float(candidate))

    assert best < shown


def test_fresh_runs_confirm_or_roll_back() -> None:
    better = [value - 0.004 for value in BEFORE]

    assert confirm(BEFORE, better, direction=Direction.MIN).state is Confirmation.CONFIRMED
    assert confirm(BEFORE, better, direction=Direction.MAX).state is Confirmation.ROLLED_BACK
    assert (
        confirm(BEFORE, [value + 0.001 for value in BEFORE], direction=Direction.MIN).state is Confirmation.ROLLED_BACK
    )
    assert confirm(BEFORE, better[:5], direction=Direction.MIN).state is Confirmation.WAITING
    assert confirm(BEFORE, [*better, math.nan], direction=Direction.MIN).state is Confirmation.ROLLED_BACK


def test_a_true_gain_is_nearly_always_confirmed_and_luck_rarely() -> None:
    rng = np.random.default_rng(6)
    states = dict.fromkeys((0.0, 1.0, 2.0), 0)
    for gain in states:
        for _ in range(1000):
            found = confirm(
                rng.standard_normal(24).tolist(), (rng.standard_normal(8) - gain).tolist(), direction=Direction.MIN
            )
            states[gain] += found.state is Confirmation.CONFIRMED

    assert 0.15 <= states[0.0] / 1000 <= 0.25
    assert states[1.0] >= 920
    assert states[2.0] >= 990


def test_a_promotion_shows_each_metric_before_and_after() -> None:
    table = before_and_after({"loss": 3.28, "seconds": 60.0}, {"loss": 3.276})

    assert "| loss | 3.28 | 3.276 | -0.004 |" in table
    assert "| seconds | 60 | - | - |" in table


@pytest.mark.parametrize(
    ("changed", "refused"), [(["seed"], True), (["data_seed", "seed"], True), (["seed", "rate"], False), ([], False)]
)
def test_a_seed_is_no_knob(changed: list[str], refused: bool) -> None:
    changes = [Change(knob=name, before=1, after=2) for name in changed]
    if not refused:
        refuse_seed_only(changes)
        return

    with pytest.raises(Refused, match="nothing but"):
        refuse_seed_only(changes)


def _curves(rng: np.random.Generator, runs: int, *, behind: float = 0.0) -> Floats:
    steps = np.linspace(0.1, 1.0, 10)
    final = 3.28 + behind + 0.0015 * rng.standard_normal((runs, 1))
    return final + 2 * (1 - steps) ** 2 + 0.004 * (1 - steps) * rng.standard_normal((runs, 10))


def test_doomed_runs_are_stopped_and_winners_are_not() -> None:
    rng = np.random.default_rng(9)
    lost: list[int | None] = []
    won: list[int | None] = []
    for _ in range(40):
        known = predictor(_curves(rng, 12), np.arange(1.0, 11.0))
        lost += [doomed_at(known, curve) for curve in _curves(rng, 20, behind=0.012)]
        won += [doomed_at(known, curve) for curve in _curves(rng, 60) if curve[-1] < known.mean[-1]]

    assert sum(place is not None for place in lost) / len(lost) > 0.9
    assert sum(place is not None for place in won) / len(won) <= 0.01


def test_a_gap_that_closes_is_given_its_chance() -> None:
    """A schedule that trails to the end and then wins is not stopped on the way."""
    rng = np.random.default_rng(9)
    known = predictor(_curves(rng, 12), np.arange(1.0, 11.0))
    trailing = known.mean + np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.03, 0.01, 0.005, -0.002])

    assert doomed_at(known, trailing) is None


def test_a_run_that_is_no_number_is_stopped_there() -> None:
    known = predictor(_curves(np.random.default_rng(9), 12), np.arange(1.0, 11.0))
    broken = np.append(known.mean[:2], [math.nan, 1.0])

    assert doomed_at(known, broken) == 2
    with pytest.raises(BadValue, match="2 baseline curves"):
        predictor(_curves(np.random.default_rng(9), 2), np.arange(1.0, 11.0))


def test_logs_that_were_published_twice_count_once() -> None:
    text = "group,steps,run,val_loss\na,5,x,1.5\na,5,y,1.6\nb,5,x,1.5\nb,5,y,1.6\nb,6,x,1.5\n"

    kept, copies = without_copies(grouped(read_runs(text, file="f.csv"), file="f.csv"))

    assert [(group.name, group.steps) for group in kept] == [("a", 5), ("b", 6)]
    assert copies == ["b"]
