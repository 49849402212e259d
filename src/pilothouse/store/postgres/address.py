"""Where a PostgreSQL is, as the driver takes it and as a person may read it."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pilothouse.errors import UsageError

_PATIENCE: dict[str, int | str] = {
    "connect_timeout": 10,
    # A server that has vanished without a word is noticed in about half a minute, not in two hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
    "application_name": "pilothouse",
    "client_encoding": "UTF8",
}


class Address:
    """A connection string, taken apart; its password is never shown."""

    def __init__(self, dsn: str) -> None:
        try:
            given = conninfo_to_dict(dsn)
            # The library looks at these when it connects, and would quote a password that has slipped into one.
            [int(port) for port in str(given.get("port") or 0).split(",") if port]
        except (psycopg.Error, ValueError):
            # The driver's message quotes the text, and a password may be in it.
            raise UsageError(
                "the address of the PostgreSQL database cannot be read",
                fix="write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters as %XX",
            ) from None
        self.conninfo = make_conninfo("", **{**_PATIENCE, **given})
        self.shown = _shown(given)

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def _shown(given: dict[str, str | int | None]) -> str:
    """Return the address without its secrets, and without what only tunes the connection."""
    user = f"{given['user']}@" if given.get("user") else ""
    host = str(given.get("host") or given.get("hostaddr") or "")
    port = f":{given['port']}" if given.get("port") else ""
    name = given.get("dbname") or given.get("service") or ""
    if host.startswith("/"):
        return f"postgresql://{user}/{name}?host={host}{port.replace(':', '&port=')}"
    return f"postgresql://{user}{host}{port}/{name}"
