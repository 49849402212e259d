"""The simulation finds nothing in the engine, repeats itself exactly, and does find what was broken on purpose."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest

from pilothouse.engine.commands import Claim, Complete
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.stages import Stage
from pilothouse.operations.cancel import cancel
from pilothouse.operations.submit import submit
from pilothouse.testing import values
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.simulation.faults import SimulatedStore
from pilothouse.testing.simulation.run import simulate
from pilothouse.testing.simulation.server import Server

EVENTS = 220


def test_nothing_is_found_and_much_has_happened() -> None:
    found = simulate(seeds=4, events=EVENTS, first=10)

    assert found.violations == []
    assert found.counts["jobs"] == found.counts["ended"] > 100
    for name in ("crashes", "losses", "late", "twice", "lost", "unheard", "jump_clock", "cut_off", "preemptions"):
        assert found.counts[name] > 0, name


@pytest.mark.soak
def test_nothing_is_found_in_many_runs() -> None:
    assert simulate(seeds=300, events=600, first=5000).violations == []


def test_the_same_seed_gives_the_same_run_whatever_the_order_of_hashes() -> None:
    program = (
        "import json; from pilothouse.testing.simulation.world import World\n"
        "from pilothouse.testing.simulation.run import quiet\n"
        "world = World(3)\n"
        "with quiet():\n"
        "    for _ in range(150): world.step()\n"
        "with world.server.store.read() as tx:\n"
        "    events = [event for job in world.watch.jobs for event in tx.jobs.events(job)]\n"
        "print([(event.job, event.at.isoformat(), event.epoch, event.stage, event.why) for event in events])\n"
    )

    told = [
        subprocess.run([sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True)
        for seed in ("1", "2")
    ]

    digests = {hashlib.sha256(each.stdout).hexdigest() for each in told}
    assert len(told[0].stdout) > 1000
    assert len(digests) == 1


# What a careless change would do to a statement, and what the simulation must say of it. The last one is the bug that
# it found first: a job that waited no longer held up the end of what it had waited for.
PLANTED = {
    "a claim takes no new epoch": (
        "SET stage = 2, epoch = epoch + 1,",
        "SET stage = 2, epoch = epoch,",
        "every runnable job runs",
        40,
    ),
    "the first thing that is there is enough": (
        "SET waiting = waiting - 1",
        "SET waiting = 0",
        "parents after children",
        EVENTS,
    ),
    "what has ended still waits": (
        "AND waiting > 0 AND stage < 6",
        "AND waiting > 0",
        "every runnable job runs",
        EVENTS,
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_bug_that_was_planted_is_found(bug: str) -> None:
    right, wrong, what, events = PLANTED[bug]
    planted = []

    def rewrite(statement: str) -> str:
        planted.extend([statement] if right in statement else [])
        return statement.replace(right, wrong)

    found = simulate(seeds=12, events=events, first=5, rewrite=rewrite, until_found=True)

    assert planted, "the statement is not written like this any more"
    assert what in {violation.what for violation in found.violations}


def test_a_job_ships_although_one_that_waited_for_it_was_cancelled() -> None:
    """What has ended waits for nothing: its edge must not stand in the way of what it had waited for."""
    server = Server(SimulatedStore(), FrozenClock())
    needed, waiting = values.make_new_job(1), replace(values.make_new_job(2), deps=(values.make_new_job(1).id,))
    factory = Factory(product=values.PRODUCT, name=values.FACTORY)
    now = server.clock.now()

    server.ask(lambda tx: tx.factories.put(factory, now=now), then=lambda core, _: core.enrol(factory))
    for new in (needed, waiting):
        server.ask(partial(submit, new=new, now=now))
    server.ask(lambda tx: cancel(tx, waiting.id, now=now))
    claim = Claim(factory=factory.name, boot=values.BOOT, seats=1, deadline=0.0)
    server.run([claim])
    complete = Complete([(needed.id, claim.value()[0].epoch, values.make_report())])
    server.run([complete])

    assert complete.value() == [None]
    with server.store.read() as tx:
        stages = [job.stage for job in (tx.jobs.by_id(needed.id), tx.jobs.by_id(waiting.id)) if job is not None]
    assert stages == [Stage.SHIPPED, Stage.CANCELLED]


def test_a_crash_between_any_two_statements_keeps_all_or_nothing() -> None:
    """A claim is cut at each of its statements in turn; then its boot asks again, and gets the job at epoch 1."""
    crashed = [_claim_twice(crash_at=step) for step in range(1, 40)]

    assert crashed.index(False) >= 5, "a claim begins, opens a session, assigns, tells and commits"
    assert not any(crashed[crashed.index(False) :])


def _claim_twice(*, crash_at: int) -> bool:
    """Return whether the first claim crashed the server; the second one must have the job in either case."""
    server = Server(SimulatedStore(), FrozenClock())
    new, factory = values.make_new_job(1), Factory(product=values.PRODUCT, name=values.FACTORY)
    now = server.clock.now()
    server.ask(lambda tx: tx.factories.put(factory, now=now), then=lambda core, _: core.enrol(factory))
    server.ask(lambda tx: submit(tx, new, now=now))

    server.crash_within(crash_at)
    crashed = not server.run([Claim(factory=factory.name, boot=values.BOOT, seats=1, deadline=0.0)])
    assert server.up != crashed
    if crashed:
        server.boot()
    server.spare()
    again = Claim(factory=factory.name, boot=values.BOOT, seats=1, deadline=0.0)
    server.run([again])

    assert [handover.epoch for handover in again.value()] == [1]
    return crashed
