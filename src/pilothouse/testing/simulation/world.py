"""A server, factories, people, and what goes wrong between them: one seed decides all of it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

import numpy as np

from pilothouse.engine.scheduler import Scheduler
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.fleet.settings import FleetSettings
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ids import FactoryName, ProductId
from pilothouse.operations.factories import Revoked, revoke_factory, set_factory_state
from pilothouse.ports.store import Transaction
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.simulation.clients import Clients
from pilothouse.testing.simulation.factory import SimulatedFactory
from pilothouse.testing.simulation.faults import Rewrite, SimulatedStore
from pilothouse.testing.simulation.network import Network
from pilothouse.testing.simulation.people import CEILING_USD, PRODUCTS, SEATS, People
from pilothouse.testing.simulation.server import Server
from pilothouse.testing.simulation.watch import Watch

FACTORIES = 4
STEPS_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0)
JUMP_SECONDS = 300.0
STATEMENTS_MAX = 60
"""A crash comes at one of so many statements from now."""
BREAKS = 0.3
"""How likely something breaks when its turn comes; something broken is always mended then."""
BOOTS_AGAIN = 0.5
"""How likely a server that is down is up again after a step."""
CALM_STEP_SECONDS = 25.0
CALM_ROUNDS = 240
"""Rounds in which everything must come to an end: longer than any engine rests that has failed."""

EVENTS: Mapping[str, float] = {
    "pass_time": 25,
    "talk": 75,
    "submit": 25,
    "submit_family": 3,
    "cancel": 1,
    "operate": 8,
    "spend": 3,
    "drain": 2,
    "revoke": 2,
    "cut_off": 5,
    "power": 4,
    "jump_clock": 1,
    "kill_server": 1,
    "kill_within": 2,
}
"""How often each thing happens, relative to the others."""


class World:
    """One run. `step` does one thing that the seed chooses; `calm_down` ends all faults and waits for the rest."""

    def __init__(self, seed: int, *, rewrite: Rewrite | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.clock = FrozenClock()
        self.counts: Counter[str] = Counter()
        self.server = Server(SimulatedStore(rewrite=rewrite), self.clock)
        self.watch = Watch(seed=seed, products=PRODUCTS)
        self.network = Network(self.server, self.rng)
        self.clients = Clients(self.server, self.watch, self.rng)
        self.people = People(self.server, self.watch, self.rng)
        self.factories = [SimulatedFactory(_offer(number), self.rng) for number in range(FACTORIES)]
        self._changes = -1
        self._does = {name: getattr(self, name, None) or getattr(self.people, name) for name in EVENTS}
        self._shares = list(accumulate(EVENTS.values()))
        for product in PRODUCTS:
            self._configure(product)
        self.people.set_ceiling(CEILING_USD)
        for factory in self.factories:
            self._enrol(factory)

    def _configure(self, product: ProductId) -> None:
        settings = FleetSettings(preemption=True, min_running_seconds=20.0, stop_grace_seconds=15.0)

        def put(tx: Transaction) -> None:
            tx.fleet_settings.put(product, settings, who="the seed", now=self.clock.now())

        self.server.ask(put, then=lambda scheduler, _: scheduler.configure(product, settings))

    def _enrol(self, factory: SimulatedFactory) -> None:
        offer = replace(factory.offer, state=FactoryState.ACTIVE)
        self.server.ask(
            lambda tx: tx.factories.put(offer, now=self.clock.now()), then=lambda scheduler, _: scheduler.enrol(offer)
        )

    # --- a step

    def step(self) -> None:
        """Do one thing, let the server look after itself, and look whether all is as it must be."""
        name = list(EVENTS)[bisect_right(self._shares, self.rng.random() * self._shares[-1])]
        self.counts[name] += 1
        self._does[name]()
        self._look_after()

    def _look_after(self) -> None:
        self.network.bring(self.server.look_after())
        if not self.server.up:
            self.network.drop()
            if self.rng.random() < BOOTS_AGAIN:
                self.server.boot()
        changes = self.server.store.connection.changes
        if changes != self._changes:
            self._changes = changes
            with self.server.store.read() as tx:
                self.watch.look(tx, moves=self.server.store.moves(), now=self.clock.now())

    def _any_factory(self) -> SimulatedFactory:
        return self.factories[int(self.rng.integers(len(self.factories)))]

    # --- time

    def pass_time(self) -> None:
        """Let some seconds pass."""
        self._pass(float(self.rng.choice(STEPS_SECONDS)))

    def _pass(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for factory in self.factories:
            factory.pass_time(self.clock.monotonic())

    def jump_clock(self) -> None:
        """Change the server's wall clock by up to five minutes."""
        seconds = float(self.rng.uniform(-JUMP_SECONDS, JUMP_SECONDS))
        self.clock.set_wall(self.clock.now() + timedelta(seconds=seconds))

    # --- factories

    def talk(self) -> None:
        """Let some factories say something at the same time."""
        places = self.rng.permutation(len(self.factories))[: int(self.rng.integers(1, FACTORIES + 1))]
        heard = [factory for factory in (self.factories[int(place)] for place in places) if factory.reachable]
        requests = [self.clients.any_request(factory) for factory in heard]
        self.network.send([request for request in requests if request is not None])

    def _breaks(self) -> bool:
        """Whether something that is well breaks now; what is broken is mended, so that most of the fleet is at work."""
        return bool(self.rng.random() < BREAKS)

    def cut_off(self) -> None:
        """Take a factory's network away, or give it back."""
        factory = self._any_factory()
        factory.partitioned = not factory.partitioned and self._breaks()

    def power(self) -> None:
        """Take a factory's power away, or give it back."""
        factory = self._any_factory()
        if not factory.up:
            factory.begin_anew()
        elif self._breaks():
            factory.lose_power()

    def drain(self) -> None:
        """Let a factory drain, or resume."""
        offer = self._stored(self._any_factory())
        if offer is not None and (offer.state is FactoryState.DRAINING or self._breaks()):
            state = FactoryState.ACTIVE if offer.state is FactoryState.DRAINING else FactoryState.DRAINING
            self.people.ask(
                lambda tx: set_factory_state(tx, offer, state, now=self.clock.now()),
                then=lambda scheduler, changed: scheduler.enrol(changed),
            )

    def revoke(self) -> None:
        """Revoke a factory, or let one that was revoked enrol again."""
        factory = self._any_factory()
        offer = self._stored(factory)
        if offer is None:
            return
        if offer.state is FactoryState.REVOKED:
            self._enrol(factory)
        else:
            self.people.ask(lambda tx: revoke_factory(tx, offer, by="ada", now=self.clock.now()), then=_forget_revoked)

    def _stored(self, factory: SimulatedFactory) -> Factory | None:
        with self.server.store.read() as tx:
            return tx.factories.get(factory.offer.product, factory.name)

    # --- the server

    def kill_server(self) -> None:
        """Let the server crash between two commands."""
        if self.server.up:
            self.server.crash()

    def kill_within(self) -> None:
        """Let the server crash between two statements of one of its next transactions."""
        self.server.crash_within(int(self.rng.integers(1, STATEMENTS_MAX)))

    # --- the end

    def calm_down(self) -> None:
        """End all faults, let people decide what waits for them, and wait until nothing is left to run."""
        self.clients.calm = True
        self.network.calm()
        self.server.spare()
        if not self.server.up:
            self.network.drop()
            self.server.boot()
        self.people.set_ceiling(1e9, enforced=False)
        self.people.resume()
        for factory in self.factories:
            factory.partitioned = False
            self._enrol(factory)
            if not factory.up:
                factory.begin_anew()
        for _ in range(CALM_ROUNDS):
            self._calm_round()
            if all(job.stage in ENDS for job in self.watch.jobs.values()):
                break
        with self.server.store.read() as tx:
            self.watch.end(tx)
        for damage in self.server.store.damage():
            self.watch.complain("no damage", damage)

    def _calm_round(self) -> None:
        self._pass(CALM_STEP_SECONDS)
        for kind in (self.clients.beat, self.clients.report, self.clients.claim):
            requests = [kind(factory) for factory in self.factories]
            self.network.send([request for request in requests if request is not None])
        for job in list(self.watch.jobs.values()):
            if job.stage is Stage.REVIEW:
                self.people.review(job, approved=True)
            elif job.stage is Stage.TESTING:
                self.people.ship(job)
        self._look_after()


def _offer(number: int) -> Factory:
    """Return what a factory offers: the first has GPUs, and every second one an engine and a price."""
    return Factory(
        product=ProductId("*"),
        name=FactoryName(f"factory-{number}"),
        capabilities=("os:linux",),
        engines=("codex",) if number % 2 else (),
        seats=SEATS,
        gpus=0 if number else 2,
        usd_per_hour=0.5 if number % 2 else None,
    )


def _forget_revoked(scheduler: Scheduler, revoked: Revoked) -> None:
    name = revoked.factory.name
    for number in [number for number, session in scheduler.roster.sessions.items() if session.factory == name]:
        scheduler.roster.close(number)
    scheduler.enrol(revoked.factory)
