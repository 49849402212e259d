"""`ports.store.ProductSettings` over a connection of either database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pilothouse.fleet.changed import Changed, SettingsPut
from pilothouse.fleet.settings import FleetSettings
from pilothouse.ids import ProductId
from pilothouse.store import fleet_rows
from pilothouse.store.connection import Connection
from pilothouse.store.rows import instant, strict_json


class StoredFleetSettings:
    """Fleet settings within one transaction of the connection."""

    def __init__(self, connection: Connection, changed: list[Changed]) -> None:
        self._connection = connection
        self._sql = connection.queries("fleet_settings")
        self._changed = changed

    def get(self, product: ProductId) -> FleetSettings:
        """Return the product's settings, the defaults when it has none."""
        row = self._connection.row(self._sql["settings_of_product"], {"product": product})
        return FleetSettings() if row is None else fleet_rows.settings(row["settings"])

    def listed(self) -> Mapping[ProductId, FleetSettings]:
        """Return the settings of every product that has some."""
        found = self._connection.rows(self._sql["all_settings"])
        return {ProductId(row["product"]): fleet_rows.settings(row["settings"]) for row in found}

    def put(self, product: ProductId, settings: FleetSettings, *, who: str, now: datetime) -> None:
        """Store the product's settings in place of those it has."""
        self._connection.run(
            self._sql["put_settings"],
            {
                "product": product,
                "settings": strict_json(settings.as_json()),
                "who": who,
                "now": instant(now),
            },
        )
        self._changed.append(SettingsPut(product, settings))
