"""Which schema a campaign file is held to: its kind says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition

KINDS: dict[str, type[Definition]] = {
    "flywheel": FlywheelDefinition,
    "autopilot": AutopilotDefinition,
    "ferry": FerryDefinition,
}


def definition_of(values: object) -> Definition:
    """Return the definition that these values make, by their kind; raise pydantic's `ValidationError` otherwise."""
    return schema_of(values).model_validate(values)


def schema_of(values: object) -> type[Definition]:
    """Return the schema that these values are to keep; values without a known kind are held to a flywheel's."""
    table = values.get("campaign") if isinstance(values, Mapping) else None
    kind = table.get("kind") if isinstance(table, Mapping) else None
    return KINDS.get(kind, FlywheelDefinition) if isinstance(kind, str) else FlywheelDefinition


def file_schema() -> dict[str, Any]:
    """Return the JSON Schema of campaign files of every kind."""
    return TypeAdapter(FlywheelDefinition | AutopilotDefinition | FerryDefinition).json_schema()
