"""The source of a campaign's proposals, as its file names it."""

from __future__ import annotations

from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.ports.proposer import Proposer
from pilothouse.propose.agent import AgentProposer
from pilothouse.propose.hybrid import SHARE, Hybrid
from pilothouse.propose.naming import proposer_named
from pilothouse.wiring.agents import Place, agent_of, with_folders
from pilothouse.wiring.workspace import Workspace

BASE = "one-axis"
"""Who makes a hybrid's other proposals, where the file names nobody."""


def proposer_of(workspace: Workspace, definition: AutopilotDefinition) -> Proposer:
    """Return the source of the campaign's proposals.

    One whose packages are missing raises `UsageError`, and an agent that could not be run here `Refused` or
    `OperationFailed`: both before any run of the campaign begins.
    """
    name, agent = definition.autopilot.proposer, definition.autopilot.agent
    if agent is None:
        return proposer_named(name)
    place = Place(section=agent, table="autopilot.agent")
    asked = AgentProposer(with_folders(agent_of(workspace, definition, place), workspace, definition))
    if name == "agent":
        return asked
    share = SHARE if agent.share is None else agent.share
    return Hybrid(base=proposer_named(agent.base or BASE), overriding=asked, share=share, source=asked.source)
