"""Many runs, each of its own seed, and what they found."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pilothouse.canonical import Json
from pilothouse.testing.simulation.faults import Rewrite
from pilothouse.testing.simulation.watch import Violation
from pilothouse.testing.simulation.world import World

SHOWN = 20
"""Violations of one seed that are told; the first is the one to look at."""


@dataclass(slots=True)
class Found:
    """What all runs together did and found."""

    seeds: int
    events: int
    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Json]:
        """Return what was found as JSON values."""
        return {
            "seeds": self.seeds,
            "events": self.events,
            "violations": [violation.as_json() for violation in self.violations],
            "counts": dict(sorted(self.counts.items())),
        }


def simulate(
    *,
    seeds: int,
    events: int,
    first: int = 0,
    rewrite: Rewrite | None = None,
    progress: Callable[[int], None] | None = None,
    until_found: bool = False,
) -> Found:
    """Return what the runs of the seeds from `first` on found; the same seed gives the same run.

    A run ends with its first violation, and `until_found` ends the search with it.
    """
    found = Found(seeds=seeds, events=events)
    with quiet():
        for seed in range(first, first + seeds):
            _run(seed, events, found, rewrite)
            if progress is not None:
                progress(seed - first + 1)
            if until_found and found.violations:
                break
    return found


def _run(seed: int, events: int, found: Found, rewrite: Rewrite | None) -> None:
    world = World(seed, rewrite=rewrite)
    try:
        for event in range(events):
            world.watch.event = event
            world.step()
            if world.watch.found:
                break
        else:
            world.watch.event = events
            world.calm_down()
    except Exception as error:  # noqa: BLE001  whatever the core raises is a finding of this seed
        world.watch.complain("no error", f"{type(error).__name__}: {error}")
    finally:
        world.server.store.close()
    found.violations += world.watch.found[:SHOWN]
    found.counts.update(world.counts)
    found.counts.update(world.network.counts)
    found.counts.update(world.people.counts)
    found.counts.update({"jobs": len(world.watch.jobs), "crashes": world.server.crashes})
    found.counts.update(world.watch.counts())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the engine logs about every rescue off the screen: here thousands of them are meant to be."""
    log = logging.getLogger("pilothouse.engine")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)
