"""How far from the best each search ends on every surface, and how often it was misled by noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from time import process_time

import numpy as np

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.ports.proposer import Proposer
from pilothouse.proposals.draws import Draws
from pilothouse.propose.hybrid import Hybrid
from pilothouse.propose.naming import proposer_named
from pilothouse.testing.loop_bench.night import Night, Trace, definition_of
from pilothouse.testing.loop_bench.rivals import random_rival, tpe_rival
from pilothouse.testing.loop_bench.surfaces import SHAPES, Surface, coco_surface

PROPOSALS = 50
EVALUATIONS = (50, 100, 300)
"""After so many evaluations the searches are compared as well; the last is what every one of them is given."""

RIVALS: dict[str, Callable[..., Trace]] = {"plain random": random_rival, "plain tpe": tpe_rival}
OURS = ("one-axis", "random", "surrogate", "tpe", "cma-es", "hybrid")
START_WITHIN = 4.0
RESAMPLES = 2000
LEAST = 1e-8
"""Regret below this counts as none: COCO's own target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One search by one system on one surface."""

    system: str
    shape: str
    dims: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a cell: its start, how it went, and the processor seconds that took."""

    cell: Cell
    start: float
    trace: Trace
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is measured.

    Every seed takes each shape in one of the `dims`, in turn, so that over the seeds each is met in all of them;
    `every` takes all of them with every seed.
    """

    systems: tuple[str, ...]
    shapes: tuple[str, ...]
    dims: tuple[int, ...]
    seeds: int
    every: bool = False
    evaluations: int = EVALUATIONS[-1]
    proposals: int = PROPOSALS

    def __post_init__(self) -> None:
        for system in self.systems:
            if system not in (*RIVALS, *OURS):
                known = ", ".join((*RIVALS, *OURS))
                raise BadValue(f"there is no system {system!r}", fix=f"name some of {known}")

    def cells(self) -> list[Cell]:
        """Return every search there is to be made."""
        return [
            Cell(system=system, shape=shape, dims=dims, seed=seed)
            for seed in range(1, self.seeds + 1)
            for place, shape in enumerate(self.shapes)
            for dims in (self.dims if self.every else (self.dims[(place + seed) % len(self.dims)],))
            for system in self.systems
        ]


def measure_regret(scope: Scope, *, workers: int, progress: Callable[[str], None]) -> list[Json]:
    """Return a row for each system: its regret with intervals over the loop seeds, and its false promotions."""
    results: list[Result] = []
    cells = scope.cells()
    for result in _searched(scope, cells, workers=workers):
        results.append(result)
        if len(results) % len(scope.systems) == 0:
            progress(f"searches: {len(results)} of {len(cells)}")
    return [_row(system, [each for each in results if each.cell.system == system], scope) for system in scope.systems]


def search(scope: Scope, cell: Cell, surface: Surface) -> Result:
    """Return one search on this surface."""
    draws, began = Draws(cell.seed, f"start/{cell.shape}/{cell.dims}"), process_time()
    start = [round(draws.between(-START_WITHIN, START_WITHIN), 3) for _ in range(cell.dims)]
    if cell.system in RIVALS:
        trace = RIVALS[cell.system](surface, start, seed=cell.seed * 1_000_000, evaluations=scope.evaluations)
    else:
        night = Night(
            definition=definition_of(start, seed=cell.seed * 1_000_000),
            surface=surface,
            proposer=_proposer(cell.system),
        )
        trace = night.run(proposals=scope.proposals, evaluations=scope.evaluations)
    return Result(cell=cell, start=surface.height(start), trace=trace, seconds=process_time() - began)


def _proposer(system: str) -> Proposer:
    if system == "hybrid":
        return Hybrid(base=proposer_named("tpe"), overriding=proposer_named("surrogate"), source="surrogate")
    return proposer_named(system)


def _search(job: tuple[Scope, Cell]) -> Result:
    scope, cell = job
    return search(scope, cell, coco_surface(cell.shape, dims=cell.dims, instance=cell.seed))


def _searched(scope: Scope, cells: Sequence[Cell], *, workers: int) -> Iterator[Result]:
    jobs = [(scope, cell) for cell in cells]
    with ExitStack() as stack:
        if workers == 1:
            yield from map(_search, jobs)
            return
        pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn")))
        yield from pool.map(_search, jobs)


def _row(system: str, results: Sequence[Result], scope: Scope) -> Json:
    traces = [result.trace for result in results]
    counts = (*(each for each in EVALUATIONS if each < scope.evaluations), scope.evaluations)
    points: dict[str, Callable[[Trace], float]] = {
        f"after_{scope.proposals}_proposals": partial(Trace.after_proposals, count=scope.proposals),
        **{f"after_{count}_evaluations": partial(Trace.after_evaluations, count=count) for count in counts},
    }
    found: dict[str, Json] = {name: _spread(results, chosen) for name, chosen in points.items()}
    return {
        "system": system,
        "judged": system not in RIVALS,
        "searches": len(results),
        "evaluations_a_proposal": _evaluations_a_proposal(traces, scope),
        "regret": found,
        "kept": sum(trace.kept for trace in traces),
        "kept_worse": sum(trace.worse for trace in traces),
        "rolled_back": sum(trace.rolled_back for trace in traces),
        "seconds_a_search": sum(result.seconds for result in results) / len(results),
        "by_surface": {
            shape: _middle([each for each in results if each.cell.shape == shape], points[next(iter(points))])
            for shape in scope.shapes
        },
    }


def _evaluations_a_proposal(traces: Sequence[Trace], scope: Scope) -> float:
    """Return the mean evaluations a proposal costs, those of the first baseline left out."""
    spent = [[stand for stand in trace.stands if stand.proposals <= scope.proposals] for trace in traces]
    return float(
        np.mean([stands[-1].evaluations / max(1, stands[-1].proposals) if len(stands) > 1 else 0.0 for stands in spent])
    )


def _shares(results: Sequence[Result], chosen: Callable[[Trace], float]) -> list[float]:
    """Return each search's regret as a share of the regret of its start: 1 is no progress, 0 the optimum."""
    return [max(chosen(result.trace), LEAST) / max(result.start, LEAST) for result in results]


def _middle(results: Sequence[Result], chosen: Callable[[Trace], float]) -> float:
    return float(np.exp(np.mean(np.log(_shares(results, chosen)))))


def _spread(results: Sequence[Result], chosen: Callable[[Trace], float]) -> Json:
    """Return the mean share and the geometric mean, with 95 % intervals by resampling whole loop seeds."""
    seeds = sorted({result.cell.seed for result in results})
    plain = np.array([np.mean(_shares([each for each in results if each.cell.seed == seed], chosen)) for seed in seeds])
    logs = np.array(
        [np.mean(np.log(_shares([each for each in results if each.cell.seed == seed], chosen))) for seed in seeds]
    )
    picks = np.random.default_rng(1).integers(0, len(seeds), (RESAMPLES, len(seeds)))
    low, high = np.quantile(plain[picks].mean(axis=1), (0.025, 0.975))
    log_low, log_high = np.quantile(logs[picks].mean(axis=1), (0.025, 0.975))
    return {
        "mean": float(plain.mean()),
        "mean_interval": [float(low), float(high)],
        "geometric": math.exp(float(logs.mean())),
        "geometric_interval": [math.exp(float(log_low)), math.exp(float(log_high))],
    }


def every_shape() -> tuple[str, ...]:
    """Return the names of the surfaces."""
    return tuple(SHAPES)
