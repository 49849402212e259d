"""What a transaction has changed of that which the engine keeps in memory beside the jobs."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from pilothouse.fleet.factory import Factory
from pilothouse.fleet.settings import FleetSettings
from pilothouse.ids import FactoryName, ProductId, SessionNumber


class SessionClosed(NamedTuple):
    """A boot of a factory is over."""

    session: SessionNumber


class FactoryGone(NamedTuple):
    """A factory was deregistered."""

    name: FactoryName


class SettingsPut(NamedTuple):
    """A product has other settings."""

    product: ProductId
    settings: FleetSettings


class BudgetPut(NamedTuple):
    """A product's budget has other ceilings, was paused, or goes on."""

    product: ProductId


Changed: TypeAlias = Factory | FactoryGone | SessionClosed | SettingsPut | BudgetPut
