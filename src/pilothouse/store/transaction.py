"""`ports.store.Transaction` over a connection of either database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pilothouse.fleet.changed import Changed
from pilothouse.fleet.job import Job, Shape
from pilothouse.fleet.ledger import Settlement
from pilothouse.ids import ShapeNumber
from pilothouse.store.access import StoredAccess
from pilothouse.store.agents import StoredAgents
from pilothouse.store.audit import StoredAudit
from pilothouse.store.budgets import StoredBudgets
from pilothouse.store.campaigns import StoredCampaigns
from pilothouse.store.connection import Connection
from pilothouse.store.entries import StoredEntries
from pilothouse.store.factories import StoredFactories
from pilothouse.store.ferries import StoredFerries
from pilothouse.store.fleet_settings import StoredFleetSettings
from pilothouse.store.jobs import StoredJobs
from pilothouse.store.outbox import StoredOutbox
from pilothouse.store.proposals import StoredProposals
from pilothouse.store.waivers import StoredWaivers


class StoredTransaction:
    """The aggregates over one connection while a transaction is open on it.

    `shapes` are the scheduling classes known from committed transactions, by which a new job needs no look-up.
    """

    def __init__(self, connection: Connection, *, shapes: dict[Shape, ShapeNumber]) -> None:
        self._connection = connection
        self._changed: list[Changed] = []
        self.jobs = StoredJobs(connection, shapes)
        self.campaigns = StoredCampaigns(connection)
        self.proposals = StoredProposals(connection)
        self.waivers = StoredWaivers(connection)
        self.agents = StoredAgents(connection)
        self.ferries = StoredFerries(connection)
        self.entries = StoredEntries(connection)
        self.factories = StoredFactories(connection, self._changed)
        self.budgets = StoredBudgets(connection, self._changed)
        self.access = StoredAccess(connection)
        self.audit = StoredAudit(connection)
        self.outbox = StoredOutbox(connection)
        self.fleet_settings = StoredFleetSettings(connection, self._changed)

    @property
    def touched(self) -> Sequence[Job]:
        """The jobs that this transaction has changed so far, each as the change left it, in order."""
        return tuple(self.jobs.touched)

    @property
    def settled(self) -> Sequence[Settlement]:
        """The attempts whose cost this transaction has settled so far."""
        return tuple(self.budgets.settled)

    @property
    def changed(self) -> Sequence[Changed]:
        """What this transaction has changed so far of factories, sessions, settings and budgets, in order."""
        return tuple(self._changed)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo the inner writes when the block raises, and keep the outer ones."""
        touched, shapes, settled = len(self.jobs.touched), dict(self.jobs.new_shapes), len(self.budgets.settled)
        changed = len(self._changed)
        try:
            with self._connection.savepoint():
                yield
        except BaseException:
            del self.jobs.touched[touched:]
            del self.budgets.settled[settled:]
            del self._changed[changed:]
            self.jobs.new_shapes = shapes
            raise
