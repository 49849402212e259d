"""`ports.store.Access` over a connection of either database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilothouse.access.token import Token
from pilothouse.errors import NotFound
from pilothouse.ids import ProductId
from pilothouse.store import fleet_rows
from pilothouse.store.connection import Connection
from pilothouse.store.rows import instant


class StoredAccess:
    """Tokens within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("access")

    def add(self, token: Token) -> None:
        """Store a new token; only its use and its revocation are ever added."""
        self._connection.run(self._sql["add_token"], fleet_rows.token_columns(token))

    def by_id(self, token: str) -> Token | None:
        """Return the token of that id, good or not."""
        row = self._connection.row(self._sql["token_by_id"], {"id": token})
        return None if row is None else fleet_rows.token(row)

    def listed(self, product: ProductId | None) -> Sequence[Token]:
        """Return a product's own tokens, oldest first; None is every token of every product, and of all of them."""
        if product is None:
            found = self._connection.rows(self._sql["all_tokens"])
        else:
            found = self._connection.rows(self._sql["tokens_of_product"], {"product": product})
        return [fleet_rows.token(row) for row in found]

    def revoke(self, token: str, *, now: datetime) -> None:
        """Make a token worthless from that time on, which may be to come; it can be brought forward, never put off."""
        changed = self._connection.run(self._sql["revoke_token"], {"id": token, "now": instant(now)})
        if changed == 0 and self.by_id(token) is None:
            raise NotFound(f"there is no token {token!r}", fix="`pilothouse token list` shows what there is")

    def consume(self, token: str, *, now: datetime) -> bool:
        """Use up an enrolment token that is good; say whether this caller has it, which one caller ever does."""
        return self._connection.run(self._sql["consume_token"], {"id": token, "now": instant(now)}) == 1
