"""What people run without a judge: a sampler, one evaluation a proposal, and the lowest number seen wins."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from pilothouse.testing.loop_bench.night import Stand, Trace
from pilothouse.testing.loop_bench.surfaces import HIGH, LOW, Surface


def random_rival(surface: Surface, start: Sequence[float], *, seed: int, evaluations: int) -> Trace:
    """Return how a search goes that draws every place evenly from the whole range."""
    rng = np.random.default_rng(seed)

    def places() -> Iterator[tuple[list[float], Callable[[float], None]]]:
        while True:
            yield [float(value) for value in rng.uniform(LOW, HIGH, surface.dims)], lambda _: None

    return _keep_lowest(surface, start, places(), seed=seed, evaluations=evaluations)


def tpe_rival(surface: Surface, start: Sequence[float], *, seed: int, evaluations: int) -> Trace:
    """Return how Optuna's TPE goes with its own defaults, asked and told, from the same start."""
    import optuna  # noqa: PLC0415  an extra

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names = [f"x{index}" for index in range(1, surface.dims + 1)]
    ranges: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(LOW, HIGH) for name in names
    }
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict(zip(names, start, strict=True)))

    def places() -> Iterator[tuple[list[float], Callable[[float], None]]]:
        while True:
            trial = study.ask(ranges)
            yield [float(trial.params[name]) for name in names], partial(_told, study, trial)

    ways = places()
    first, tell = next(ways)
    assert first == list(start), "the study begins where everybody does"
    tell(surface.measure(first, seed))
    return _keep_lowest(surface, start, ways, seed=seed, evaluations=evaluations)


def _told(study: object, trial: object, value: float) -> None:
    import optuna  # noqa: PLC0415  an extra

    assert isinstance(study, optuna.Study)
    assert isinstance(trial, optuna.Trial)
    study.tell(trial, value)


def _keep_lowest(
    surface: Surface,
    start: Sequence[float],
    places: Iterator[tuple[list[float], Callable[[float], None]]],
    *,
    seed: int,
    evaluations: int,
) -> Trace:
    """Evaluate place after place, each once with a luck of its own, and choose the lowest number."""
    height, lowest = surface.height(start), surface.measure(start, seed)
    stands, kept, worse = [Stand(proposals=0, evaluations=1, height=height)], 0, 0
    for number in range(1, evaluations):
        place, tell = next(places)
        value = surface.measure(place, seed + number)
        tell(value)
        if value < lowest and not math.isnan(value):
            there = surface.height(place)
            kept, worse = kept + 1, worse + (there > height)
            height, lowest = there, value
            stands.append(Stand(proposals=number, evaluations=number + 1, height=height))
    return Trace(stands=tuple(stands), kept=kept, worse=worse)
