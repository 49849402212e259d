"""Ferries and their monitors, as the operations see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pilothouse.campaigns.ferry_record import Ferry, Monitor
from pilothouse.ids import CampaignName, ProductId, RunId


class Ferries(Protocol):
    """What is stored of ferries besides their trials; a closed one is never changed."""

    def put(self, ferry: Ferry) -> None:
        """Insert, or replace an open one of that number; `Conflict` for a closed one, and for a run that is taken."""
        ...

    def listed(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[Ferry]:
        """Return the ferries by number, from a least one on."""
        ...

    def by_run(self, product: ProductId, run: RunId) -> Ferry | None: ...
    def put_monitor(self, monitor: Monitor) -> None: ...
    def monitor(self, product: ProductId, run: RunId) -> Monitor | None: ...
