"""One batch on its way: the transaction it needs, if any, and what is collected to be stored together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime

from pilothouse.engine.commands import Claim, Complete
from pilothouse.errors import LeaseLost, StorageFailed
from pilothouse.fleet.changed import Changed
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.job import Job
from pilothouse.fleet.ledger import Reservation, Settlement
from pilothouse.fleet.place import HeldJob, Place
from pilothouse.ids import Epoch, JobNumber
from pilothouse.ports.store import Store, Transaction


class Turn:
    """What a batch has collected. The transaction begins with the first command that needs one."""

    def __init__(self, store: Store, stack: ExitStack, *, now: datetime, now_us: int) -> None:
        self.now = now
        self.now_us = now_us
        self.picks: list[tuple[Claim, HeldJob]] = []
        self.reservations: list[Reservation] = []
        self.endings: list[tuple[Complete, int, Ending]] = []
        self.ending: set[JobNumber] = set()
        self.shipped: list[Ending] = []
        self.stored: list[HeldJob] = []
        self.new_places: list[Place] = []
        self._store = store
        self._stack = stack
        self._tx: Transaction | None = None

    @property
    def tx(self) -> Transaction:
        """The transaction, begun if it has not been."""
        if self._tx is None:
            try:
                self._tx = self._stack.enter_context(self._store.write())
            except LeaseLost as error:
                raise not_leading(error) from error
        return self._tx

    @property
    def begun(self) -> bool:
        """Whether there is a transaction."""
        return self._tx is not None

    @property
    def grants(self) -> Sequence[Grant]:
        """The picks as they are stored."""
        return [Grant(job.number, Epoch(job.epoch - 1), job.session) for _, job in self.picks]

    @property
    def touched(self) -> tuple[Job, ...]:
        """The jobs that commands have moved, each as the change left it, in order."""
        return () if self._tx is None else tuple(self._tx.touched)

    @property
    def settled(self) -> Sequence[Settlement]:
        """The attempts whose cost commands have settled."""
        return () if self._tx is None else self._tx.settled

    @property
    def changed(self) -> Sequence[Changed]:
        """What commands have changed of factories, sessions, settings and budgets."""
        return () if self._tx is None else self._tx.changed

    @property
    def ahead(self) -> bool:
        """Whether the board was told something that only the commit makes true."""
        return bool(self.stored or self.new_places or self.shipped)


def not_leading(error: LeaseLost) -> StorageFailed:
    """Return the refusal of a server that may not write any more; no asker has lost a lease by that."""
    return StorageFailed(error.message, fix="ask the server that leads now")
