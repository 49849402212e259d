"""The proposer that a campaign file names."""

from __future__ import annotations

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.ports.proposer import Proposer
from pilothouse.propose.naming import proposer_named


def proposer_of(definition: AutopilotDefinition) -> Proposer:
    """Return the source of the campaign's proposals; one whose packages are missing raises `UsageError`."""
    return proposer_named(definition.autopilot.proposer)
