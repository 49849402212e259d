"""The audit log as the operations see it: it only grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pilothouse.access.audit import AuditLine, Deed
from pilothouse.ids import ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which lines are listed; a product, actor or object of None is any, and `before` goes on where a page ended."""

    product: ProductId | None = None
    actor: str | None = None
    object: str | None = None
    before: int | None = None
    limit: int = 100


class Audit(Protocol):
    """Who has used a privilege."""

    def append(self, deed: Deed) -> None: ...
    def listed(self, wanted: Wanted) -> Sequence[AuditLine]:
        """Return the lines that are wanted, newest first."""
        ...
