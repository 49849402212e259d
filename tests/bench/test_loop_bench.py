"""The loop's bench measures the product's own decisions, on surfaces whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.cli.bench_loop import dims_of, parts_of
from pilothouse.errors import BadValue
from pilothouse.proposals.random_search import RandomSearch
from pilothouse.testing.loop_bench.gap import gap_definition
from pilothouse.testing.loop_bench.night import Night, definition_of
from pilothouse.testing.loop_bench.regret import RIVALS, Cell, Scope, search
from pilothouse.testing.loop_bench.rivals import random_rival
from pilothouse.testing.loop_bench.surfaces import LEAST, Noise, Surface, noisy


def squares(place: Sequence[float]) -> float:
    """Return a bowl whose lowest point is the origin."""
    return sum(value * value for value in place)


BOWL = Surface(name="bowl", dims=2, height=squares, noise=Noise.MODERATE_GAUSSIAN)
START = [4.0, -4.0]


@pytest.mark.parametrize("noise", list(Noise))
def test_noise_follows_from_place_and_seed(noise: Noise) -> None:
    """The same run reports the same, another seed something else unless there is no noise or it rarely strikes."""
    surface = Surface(name="bowl", dims=2, height=squares, noise=noise)
    told = [surface.measure(START, seed) for seed in range(60)]

    assert told == [surface.measure(START, seed) for seed in range(60)]
    assert (len(set(told)) == 1) is (noise is Noise.NONE)


def test_gaussian_noise_has_the_height_as_its_middle() -> None:
    """As COCO defines it: the logarithm has a normal error of 1 or of a hundredth."""
    rng = np.random.default_rng(1)
    spread = {
        noise: np.std([math.log(noisy(7.0, noise, 2, rng) / 7.0) for _ in range(2000)])
        for noise in (Noise.SEVERE_GAUSSIAN, Noise.MODERATE_GAUSSIAN)
    }

    assert spread[Noise.SEVERE_GAUSSIAN] == pytest.approx(1.0, rel=0.1)
    assert spread[Noise.MODERATE_GAUSSIAN] == pytest.approx(0.01, rel=0.1)


def test_the_optimum_itself_can_be_reported() -> None:
    """Its logarithm is that of the height at which a function counts as solved."""
    assert BOWL.measure([0.0, 0.0], 1) == math.log10(LEAST)


def test_a_night_goes_down_and_counts_every_run() -> None:
    """What it chooses after each proposal is known, never truly worse here, and each evaluation was one run."""
    night = Night(definition=definition_of(START, seed=0), surface=BOWL, proposer=RandomSearch())

    trace = night.run(proposals=6, evaluations=0)

    assert trace.stands[0].height == squares(START)
    assert trace.stands[-1].evaluations == len(night.jobs) > 16
    assert trace.after_proposals(6) < squares(START)
    assert (trace.kept >= 1, trace.worse, trace.rolled_back) == (True, 0, 0)
    assert trace.after_evaluations(0) == squares(START)
    assert [trial.verdict is not None for trial in night.trials.values()] == [False, *[True] * 6]


def test_a_rival_keeps_the_lowest_number_that_it_saw() -> None:
    """Where noise is great, some of what it keeps is truly worse."""
    severe = Surface(name="bowl", dims=2, height=squares, noise=Noise.SEVERE_GAUSSIAN)
    traces = [random_rival(severe, START, seed=seed, evaluations=50) for seed in range(20)]

    assert all(len(trace.stands) == trace.kept + 1 for trace in traces)
    assert sum(trace.worse for trace in traces) > 0


def test_every_system_begins_at_the_same_place() -> None:
    """And a surface is met in another dimension with the next seed."""
    scope = Scope(
        systems=("plain random", "one-axis"), shapes=("bowl",), dims=(2, 3), seeds=2, proposals=1, evaluations=1
    )
    cells = scope.cells()
    first = [search(scope, cell, BOWL) for cell in cells[2:]]

    assert [cell.dims for cell in cells] == [3, 3, 2, 2]
    assert first[0].start == first[1].start
    assert set(RIVALS) == {"plain random", "plain tpe"}
    assert cells[0] == Cell(system="plain random", shape="bowl", dims=3, seed=1)


def test_what_is_not_there_is_refused_by_name() -> None:
    """With what there is instead."""
    with pytest.raises(BadValue, match="oracle") as refused:
        Scope(systems=("oracle",), shapes=("bowl",), dims=(2,), seeds=1)
    assert "surrogate" in refused.value.fix
    with pytest.raises(BadValue, match="dimensions"):
        dims_of("2,many")
    with pytest.raises(BadValue, match="speed"):
        parts_of("gap,speed")
    assert dims_of("2, 5") == (2, 5)
    assert parts_of("all") == ("regret", "gap", "faults")


def test_the_campaign_of_the_pauses_can_be_read(tmp_path: Path) -> None:
    """Its trainer is a file of its own that starts without site packages."""
    definition = gap_definition(tmp_path)

    assert isinstance(definition, AutopilotDefinition)
    assert definition.trainer.command[-1] == (tmp_path / "train.py").as_posix()
