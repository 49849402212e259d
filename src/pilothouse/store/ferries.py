"""`ports.ferries.Ferries` over a connection of either database."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pilothouse.campaigns.ferry_record import Ferry, Monitor
from pilothouse.ids import CampaignName, ProductId, RunId
from pilothouse.monitoring.quoted import storable
from pilothouse.store import rows
from pilothouse.store.connection import Connection
from pilothouse.store.rows import Row, at, instant, maybe_at


class StoredFerries:
    """Ferries and monitors within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("ferries")

    def put(self, ferry: Ferry) -> None:
        """Insert, or replace an open one of that number."""
        self._connection.run(
            self._sql["put_ferry"],
            {
                "product": ferry.product,
                "campaign": ferry.campaign,
                "number": ferry.number,
                "run": ferry.run,
                "tick": instant(ferry.tick),
                "drafted_at": instant(ferry.drafted_at),
                "considered": rows.strict_json(ferry.considered),
                "judged": None if ferry.judged is None else rows.strict_json(ferry.judged),
                "closed_at": instant(ferry.closed_at),
                "seal": ferry.seal,
            },
        )

    def listed(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[Ferry]:
        """Return the ferries by number, from a least one on."""
        parameters: dict[str, str | int] = {"product": product, "name": name, "least": least}
        found = self._connection.rows(self._sql["ferries_of_campaign"], parameters)
        return [_ferry(row) for row in found]

    def by_run(self, product: ProductId, run: RunId) -> Ferry | None:
        """Return the ferry of a run."""
        row = self._connection.row(self._sql["ferry_by_run"], {"product": product, "run": run})
        return None if row is None else _ferry(row)

    def put_monitor(self, monitor: Monitor) -> None:
        """Keep who watches a run, and what was seen of it."""
        self._connection.run(
            self._sql["put_monitor"],
            {
                "product": monitor.product,
                "run": monitor.run,
                "owner": storable(monitor.owner),
                "taken_at": instant(monitor.taken_at),
                "looked_at": instant(monitor.looked_at),
                "moved_at": instant(monitor.moved_at),
                "looks": monitor.looks,
                "state": monitor.state,
                "step": monitor.step,
                "total": monitor.total,
                "detail": storable(monitor.detail),
            },
        )

    def monitor(self, product: ProductId, run: RunId) -> Monitor | None:
        """Return who watches a run."""
        row = self._connection.row(self._sql["monitor_of_run"], {"product": product, "run": run})
        return None if row is None else _monitor(row)


def _ferry(row: Row) -> Ferry:
    return Ferry(
        product=row["product"],
        campaign=row["campaign"],
        number=row["number"],
        run=RunId(row["run"]),
        tick=maybe_at(row["tick"]),
        drafted_at=at(row["drafted_at"]),
        considered=json.loads(row["considered"]),
        judged=None if row["judged"] is None else json.loads(row["judged"]),
        closed_at=maybe_at(row["closed_at"]),
        seal=row["seal"],
    )


def _monitor(row: Row) -> Monitor:
    return Monitor(
        product=row["product"],
        run=RunId(row["run"]),
        owner=row["owner"],
        taken_at=at(row["taken_at"]),
        looked_at=maybe_at(row["looked_at"]),
        moved_at=maybe_at(row["moved_at"]),
        looks=row["looks"],
        state=row["state"],
        step=row["step"],
        total=row["total"],
        detail=row["detail"],
    )
