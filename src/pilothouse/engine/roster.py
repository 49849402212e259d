"""The factories that have enrolled and their open sessions, in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pilothouse.errors import LeaseLost, NotFound
from pilothouse.fleet.board import Board
from pilothouse.fleet.capability import Offer
from pilothouse.fleet.factory import Breaker, Factory, FactoryState, Session, admits, beat, end, health, sweep
from pilothouse.fleet.factory import begin as begin_attempt
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.place import Place
from pilothouse.ids import BootId, FactoryName, JobNumber, SessionNumber
from pilothouse.ports.store import Transaction


class Roster:
    """Who may take work. Places are opened and closed on the board."""

    def __init__(
        self, board: Board, *, lease_seconds: float, breakers: dict[tuple[FactoryName, str], Breaker] | None = None
    ) -> None:
        self.factories: dict[FactoryName, Factory] = {}
        self.sessions: dict[SessionNumber, Session] = {}
        self.lease_seconds = lease_seconds
        self._board = board
        self._by_boot: dict[tuple[FactoryName, BootId], SessionNumber] = {}
        self.breakers: dict[tuple[FactoryName, str], Breaker] = {} if breakers is None else breakers
        self._probes: dict[JobNumber, tuple[FactoryName, str]] = {}
        self._swept_at: datetime | None = None

    @property
    def sweep_seconds(self) -> float:
        """How far sweeps are apart: as beats are, so that each sweep could have heard everybody."""
        return self.lease_seconds / 3

    def load(self, tx: Transaction) -> None:
        """Read who has enrolled and who was alive; no engine waits for a job that an earlier roster tried it with."""
        for tried, breaker in self.breakers.items():
            self.breakers[tried] = replace(breaker, probe=None)
        for factory in tx.factories.listed(None):
            self.factories[factory.name] = factory
        for session in tx.factories.open_sessions():
            self.admit(session.session)

    def enrol(self, factory: Factory) -> None:
        """Take in a factory, or what has changed about it."""
        self.factories[factory.name] = factory
        for (name, _), number in self._by_boot.items():
            place = self._board.places.get(number)
            if name == factory.name and place is not None:
                self._describe(place, factory)

    def admit(self, session: Session) -> Place:
        """Open the place of a session; its factory must be known."""
        factory = self.factories[session.factory]
        self.sessions[session.number] = session
        self._by_boot[session.factory, session.boot] = session.number
        place = Place(
            session=session.number,
            factory=factory.name,
            product=factory.product,
            offer=Offer.read(factory.capabilities),
            engines=frozenset(factory.engines),
            seats=factory.seats,
            gpus=factory.gpus,
            health={
                engine: _health(breaker, now=session.opened_at)
                for (name, engine), breaker in self.breakers.items()
                if name == factory.name
            },
        )
        self._describe(place, factory)
        self._board.open_place(place)
        return place

    def _describe(self, place: Place, factory: Factory) -> None:
        place.product = factory.product
        place.offer = Offer.read(factory.capabilities)
        place.engines = frozenset(factory.engines)
        place.seats, place.gpus = factory.seats, factory.gpus
        place.usd_per_hour = factory.usd_per_hour
        place.open = factory.state is FactoryState.ACTIVE
        place.fits = {}

    def find(self, factory: FactoryName, boot: BootId) -> Place | None:
        """Return the open place of a boot."""
        number = self._by_boot.get((factory, boot))
        return None if number is None else self._board.places.get(number)

    def known(self, name: FactoryName) -> Factory:
        """Return an enrolled factory that may speak."""
        factory = self.factories.get(name)
        if factory is None:
            raise NotFound(f"no factory {name!r} has enrolled", fix="enrol it with `pilothouse factory enroll`")
        if factory.state is FactoryState.REVOKED:
            raise LeaseLost(f"the factory {name!r} was revoked", fix="enrol it again")
        return factory

    def others(self, name: FactoryName, boot: BootId) -> Sequence[SessionNumber]:
        """Return the open sessions of other boots of a factory: it is one machine, so they are over."""
        return [number for (other, its), number in self._by_boot.items() if other == name and its != boot]

    def heard(self, number: SessionNumber, *, now: datetime) -> None:
        """Note a sign of life; a claim is one as well as a beat, though only a beat is stored."""
        session = self.sessions[number]
        if now - session.beat_at < _OFTEN:
            return
        self.sessions[number] = beat(session, now=now, stale_seconds=self.lease_seconds)

    def close(self, number: SessionNumber) -> None:
        """Forget a session, once what it held was taken back."""
        session = self.sessions.pop(number, None)
        if session is not None:
            self._by_boot.pop((session.factory, session.boot), None)
        self._board.close_place(number)

    def sweep(self, *, now: datetime) -> Sequence[Session]:
        """Count missed beats, and return the sessions that are stale."""
        found = sweep(self.sessions.values(), now=now, before=self._swept_at, every_seconds=self.sweep_seconds)
        self._swept_at = found.at
        for session in found.changed:
            self.sessions[session.number] = session
        return found.stale

    # --- how far an engine is trusted

    def breaker(self, factory: FactoryName, engine: str) -> Breaker:
        """Return what the last attempts say of an engine on a factory."""
        return self.breakers.get((factory, engine), _FRESH)

    def assigned(self, place: Place, engine: str, number: JobNumber, *, now: datetime) -> None:
        """Note that an engine was given a job; one on probation gets no second one."""
        before = self.breaker(place.factory, engine)
        if before is not _FRESH and admits(before, now=now):
            self._keep(place, engine, begin_attempt(before, number, now=now), now=now)

    def ended(self, place: Place, engine: str, number: JobNumber, *, outcome: Outcome, now: datetime) -> None:
        """Note how an attempt of an engine ended."""
        before = self.breaker(place.factory, engine)
        if before is _FRESH and outcome is Outcome.SUCCEEDED:
            return
        self._keep(place, engine, end(before, number, outcome=outcome, now=now), now=now)

    def let_go(self, number: JobNumber, *, now: datetime) -> None:
        """Wait no longer for a job that was to try an engine out, and left without telling anything of it."""
        tried = self._probes.pop(number, None)
        if tried is None or self.breakers[tried].probe != number:
            return
        self.breakers[tried] = breaker = replace(self.breakers[tried], probe=None)
        factory, engine = tried
        for place in self._places(factory):
            place.health[engine] = _health(breaker, now=now)

    def probe(self, *, now: datetime) -> None:
        """Let engines try again whose time of rest is over."""
        for (factory, engine), breaker in self.breakers.items():
            for place in self._places(factory):
                place.health[engine] = _health(breaker, now=now)

    def _keep(self, place: Place, engine: str, breaker: Breaker, *, now: datetime) -> None:
        self.breakers[place.factory, engine] = breaker
        if breaker.probe is not None:
            self._probes[breaker.probe] = (place.factory, engine)
        place.health[engine] = _health(breaker, now=now)

    def _places(self, factory: FactoryName) -> Iterable[Place]:
        return (place for place in self._board.places.values() if place.factory == factory)


_FRESH = Breaker()
OFTEN_US = 1_000_000
_OFTEN = timedelta(microseconds=OFTEN_US)
"""Signs of life closer together than this tell nothing new."""


def _health(breaker: Breaker, *, now: datetime) -> float:
    """Return the health that the board sees: nothing while the engine may not be given a job."""
    return health(breaker, now=now) if admits(breaker, now=now) else 0.0
