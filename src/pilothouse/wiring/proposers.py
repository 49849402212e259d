"""The proposer that a campaign file names."""

from __future__ import annotations

from pilothouse.campaigns.definition import AutopilotDefinition
from pilothouse.ports.proposer import Proposer
from pilothouse.proposals.one_axis import OneAxis
from pilothouse.proposals.random_search import RandomSearch


def proposer_of(definition: AutopilotDefinition) -> Proposer:
    """Return the source of the campaign's proposals."""
    return OneAxis() if definition.autopilot.proposer == "one-axis" else RandomSearch()
