"""`ports.leadership.Leadership` over a connection of either database."""

from __future__ import annotations

from pilothouse.errors import BadValue, LeaseLost
from pilothouse.ports.leadership import Leader, LeaderEpoch
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.turns import Turns

_MICROSECONDS = 1_000_000


class StoredLeadership:
    """The lead that a store has, or has had; `check` belongs at the beginning of each of its writing transactions."""

    def __init__(self, connection: Connection, turns: Turns) -> None:
        self._connection = connection
        self._turns = turns
        self._sql = connection.queries("leader")
        self._epoch: LeaderEpoch | None = None

    def lead(self, holder: str, *, seconds: float) -> LeaderEpoch | None:
        """Take the lead for some seconds under a new epoch; None while another holder has it."""
        if not holder:
            raise BadValue("a leader without a name cannot be told from none", fix="name the server and its boot")
        with self._turns.take(), self._connection.transaction():
            found = self._leader()
            if found is not None and found.holder != holder and found.seconds > 0:
                return None
            self._connection.rows(self._sql["await_writers"])
            parameters: Parameters = {"holder": holder, "microseconds": _microseconds(seconds)}
            if self._connection.run(self._sql["take_lead"], parameters) == 0:
                return None
            taken = self._leader()
        assert taken is not None, "the lead was just taken"
        self._epoch = taken.epoch
        return taken.epoch

    def renew_lead(self, *, seconds: float) -> bool:
        """Keep the lead for some seconds from now; False when it is lost."""
        if self._epoch is None:
            return False
        parameters: Parameters = {"epoch": self._epoch, "microseconds": _microseconds(seconds)}
        with self._turns.take(), self._connection.transaction():
            return self._connection.run(self._sql["renew_lead"], parameters) == 1

    def resign(self) -> None:
        """Give the lead up, if it is still ours; the next holder need not wait for its end."""
        if self._epoch is None:
            return
        with self._turns.take(), self._connection.transaction():
            self._connection.run(self._sql["resign"], {"epoch": self._epoch})

    def leader(self) -> Leader | None:
        """Return who leads, also when the time is over and nobody has taken the lead yet."""
        with self._turns.take(), self._connection.transaction():
            return self._leader()

    @property
    def epoch(self) -> LeaderEpoch | None:
        """The epoch under which this store has led last, if it ever has."""
        return self._epoch

    def check(self) -> None:
        """Refuse to write when the lead that was had is lost, and keep it from being taken until the commit."""
        if self._epoch is None:
            return
        self._connection.rows(self._sql["join_writers"])
        found = self._leader()
        if found is None or found.epoch != self._epoch:
            by = "nobody leads" if found is None else f"{found.holder} leads under epoch {found.epoch}"
            raise LeaseLost(
                f"this server led under epoch {self._epoch}, and now {by}",
                fix="stop writing, read the state again, and ask for the lead anew",
            )

    def _leader(self) -> Leader | None:
        row = self._connection.row(self._sql["leader"])
        if row is None:
            return None
        seconds = row["microseconds"] / _MICROSECONDS
        return Leader(holder=row["holder"], epoch=LeaderEpoch(row["epoch"]), seconds=seconds)


def _microseconds(seconds: float) -> int:
    if not seconds > 0:
        raise BadValue(f"a lead of {seconds:g} s cannot be held", fix="give more than zero seconds")
    return int(seconds * _MICROSECONDS)
