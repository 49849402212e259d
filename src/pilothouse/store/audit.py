"""`ports.audit.Audit` over a connection of either database."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.access.audit import Actor, AuditLine, Deed
from pilothouse.ports.audit import Wanted
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.rows import Row, at, instant

AFTER_ALL = (1 << 63) - 1
"""Behind every position that there can be."""


class StoredAudit:
    """The audit log within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("audit")

    def append(self, deed: Deed) -> None:
        """Store a deed behind the last one."""
        self._connection.run(
            self._sql["append_audit"],
            {
                "at": instant(deed.at),
                "product": deed.product,
                "actor": deed.actor.name,
                "token": deed.actor.token,
                "act": deed.act,
                "object": deed.object,
                "detail": deed.detail,
                "before": deed.before,
                "after": deed.after,
            },
        )

    def listed(self, wanted: Wanted) -> Sequence[AuditLine]:
        """Return the lines that are wanted, newest first."""
        parameters: Parameters = {
            "actor": wanted.actor or "",
            "object": wanted.object or "",
            "earlier_than": AFTER_ALL if wanted.before is None else wanted.before,
            "limit": wanted.limit,
        }
        if wanted.product is None:
            found = self._connection.rows(self._sql["all_audit"], parameters)
        else:
            found = self._connection.rows(self._sql["audit_of_product"], {**parameters, "product": wanted.product})
        return [_line(row) for row in found]


def _line(row: Row) -> AuditLine:
    deed = Deed(
        at=at(row["at"]),
        product=row["product"],
        actor=Actor(name=row["actor"], token=row["token"]),
        act=row["act"],
        object=row["object"],
        detail=row["detail"],
        before=row["before"],
        after=row["after"],
    )
    return AuditLine(position=row["position"], deed=deed)
