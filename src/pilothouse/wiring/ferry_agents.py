"""The agent that a ferry's file names: who drafts its proposal, and who proposes a patch."""

from __future__ import annotations

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.errors import PilothouseError, UsageError
from pilothouse.ports.drafter import Drafter
from pilothouse.ports.proposer import Answered, Stopped, never
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.propose.asking import Agent
from pilothouse.propose.ferry_agent import AgentDrafter
from pilothouse.wiring.agents import Place, agent_of
from pilothouse.wiring.workspace import Workspace

TABLE = "ferry.agent"


class Unable:
    """A drafter that cannot be asked here, and says why each time: the rules draft then, and the ferry sails."""

    def __init__(self, source: str, why: PilothouseError) -> None:
        self.source = source
        self._why = why

    def draft(self, question: FerryQuestion, stopped: Stopped = never) -> Answered:
        """Raise why."""
        del question, stopped
        raise self._why


def drafter_of(workspace: Workspace, definition: FerryDefinition) -> Drafter | None:
    """Return who chooses the ferry's change besides the rules, None where the file leaves it to them."""
    return named_drafter(workspace, definition) if definition.ferry.proposer == "agent" else None


def named_drafter(workspace: Workspace, definition: FerryDefinition) -> Drafter:
    """Return the agent of the file as a drafter; a file that names none is a `UsageError`."""
    section = definition.ferry.agent
    if section is None:
        raise UsageError(
            f"campaign {definition.campaign.name} names no agent that could be asked",
            fix=f"add [{TABLE}] to its file, or let the rules choose",
        )
    try:
        return AgentDrafter(ferry_agent(workspace, definition))
    except PilothouseError as error:
        return Unable(f"agent:{section.preset}", error)


def ferry_agent(workspace: Workspace, definition: FerryDefinition) -> Agent:
    """Return the agent of the file, ready to be asked; raises as `agents.agent_of` does."""
    section = definition.ferry.agent
    assert section is not None, "the file names an agent"
    return agent_of(workspace, definition, Place(section=section, table=TABLE))
