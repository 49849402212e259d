"""A session as it is kept: whose it is, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.fleet.factory import Session
from pilothouse.ids import ProductId


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSession:
    """A session of a factory of this product, open while `closed_at` is None; what was missed is not kept."""

    product: ProductId
    session: Session
    closed_at: datetime | None = None
    closed_why: str = ""
