"""`ports.store.Factories` over a connection of either database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilothouse.errors import LeaseLost, NotFound
from pilothouse.fleet.changed import Changed, FactoryGone, SessionClosed
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.session import KeptSession
from pilothouse.ids import BootId, FactoryName, ProductId, SessionNumber
from pilothouse.monitoring.quoted import storable
from pilothouse.store import fleet_rows
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.rows import instant


class StoredFactories:
    """Factories and their sessions within one transaction of the connection."""

    def __init__(self, connection: Connection, changed: list[Changed]) -> None:
        self._connection = connection
        self._sql = connection.queries("factories")
        self._changed = changed

    def put(self, factory: Factory, *, now: datetime) -> None:
        """Insert, or replace what the factory of that product and name offers, its state and its price."""
        self._connection.run(self._sql["put_factory"], {**fleet_rows.factory_columns(factory), "now": instant(now)})
        self._changed.append(factory)

    def remove(self, product: ProductId, name: FactoryName) -> None:
        """Delete a factory that is revoked and has no open session; its name is free again."""
        self._connection.run(self._sql["remove_factory"], {"product": product, "name": name})
        self._changed.append(FactoryGone(name))

    def get(self, product: ProductId, name: FactoryName) -> Factory | None:
        """Return the factory of that product and name."""
        row = self._connection.row(self._sql["factory_by_name"], {"product": product, "name": name})
        return None if row is None else fleet_rows.factory(row)

    def listed(self, product: ProductId | None) -> Sequence[Factory]:
        """Return the factories by product and name; None is every product."""
        if product is None:
            found = self._connection.rows(self._sql["all_factories"])
        else:
            found = self._connection.rows(self._sql["factories_of_product"], {"product": product})
        return [fleet_rows.factory(row) for row in found]

    # --- sessions

    def open_session(
        self, product: ProductId, factory: FactoryName, boot: BootId, *, now: datetime, expires: datetime
    ) -> SessionNumber:
        """Open the session of a boot, or renew the one it has; `LeaseLost` when that one is closed."""
        names: Parameters = {"product": product, "factory": factory, "boot": boot}
        row = self._connection.row(self._sql["session_of_boot"], names)
        if row is None:
            last = self._connection.row(self._sql["last_session_number"])
            assert last is not None, "a maximum has one row"
            number = SessionNumber(last["number"] + 1)
            times: Parameters = {"number": number, "now": instant(now), "expires_at": instant(expires)}
            self._connection.run(self._sql["open_session"], {**names, **times})
            return number
        number = SessionNumber(row["number"])
        if not self.beat(number, now=now, expires=expires):
            raise LeaseLost(
                f"this boot of factory {factory} was closed: {row['closed_why']}",
                fix="start the factory again; what it still runs belongs to others by now",
            )
        return number

    def beat(self, session: SessionNumber, *, now: datetime, expires: datetime) -> bool:
        """Renew an open session, and with it the lease of every job it holds; say whether it was open."""
        parameters: Parameters = {"number": session, "now": instant(now), "expires_at": instant(expires)}
        return self._connection.run(self._sql["beat"], parameters) == 1

    def close_session(self, session: SessionNumber, *, now: datetime, why: str) -> None:
        """End a session for good; one that is closed keeps its end."""
        parameters: Parameters = {"number": session, "now": instant(now), "why": storable(why)}
        if self._connection.run(self._sql["close_session"], parameters) == 0 and self.session(session) is None:
            raise NotFound(f"no session has the number {session}", fix="list the factories and take one of theirs")
        self._changed.append(SessionClosed(session))

    def session(self, number: SessionNumber) -> KeptSession | None:
        """Return the session of that number."""
        row = self._connection.row(self._sql["session_by_number"], {"number": number})
        return None if row is None else fleet_rows.session(row)

    def open_sessions(self) -> Sequence[KeptSession]:
        """Return the open sessions of every product, oldest first."""
        return [fleet_rows.session(row) for row in self._connection.rows(self._sql["open_sessions"])]

    def last_session(self, product: ProductId, factory: FactoryName) -> KeptSession | None:
        """Return the newest session of a factory, open or closed."""
        names: Parameters = {"product": product, "factory": factory}
        row = self._connection.row(self._sql["last_session_of_factory"], names)
        return None if row is None else fleet_rows.session(row)
