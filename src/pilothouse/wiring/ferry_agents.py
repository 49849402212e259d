"""The agent that a ferry's file names: who drafts its proposal, and who proposes a patch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import PilothouseError, UsageError
from pilothouse.ports.drafter import Drafter
from pilothouse.ports.patcher import Patched
from pilothouse.ports.proposer import Answered, Stopped, never
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.proposals.patch import PatchQuestion
from pilothouse.propose.asking import Agent
from pilothouse.propose.ferry_agent import AgentDrafter
from pilothouse.propose.patch_agent import PatchAgent
from pilothouse.wiring.agents import Place, agent_of
from pilothouse.wiring.code_copy import CodeCopy
from pilothouse.wiring.conditions import code_commit
from pilothouse.wiring.ferry_repository import keep_in_repository
from pilothouse.wiring.repository import git
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FerryPatcher:
    """`ports.patcher.Patcher` by the agent of the file, on the repository of the working folder."""

    workspace: Workspace
    definition: FerryDefinition
    campaign: Campaign
    folder: Path
    kept: tuple[str, ...]

    def patch(self, question: PatchQuestion, stopped: Stopped = never) -> Patched:
        """Return what came of asking."""
        agent = ferry_agent(self.workspace, self.definition)
        return PatchAgent(agent, partial(CodeCopy, self.folder)).patch(question, stopped)

    def keep(self) -> tuple[str, ...]:
        """Return the branches that were made now; a patch of other code than the present one is wanted no more."""
        commit = code_commit(self.workspace.home)
        return keep_in_repository(self.workspace.store, self.campaign, self.folder, patch_of=commit)


def patcher_of(
    workspace: Workspace, definition: FerryDefinition, campaign: Campaign, file: Path | None
) -> FerryPatcher | None:
    """Return who proposes patches, None where the file lets nobody; `file` is where the definition was read."""
    if definition.ferry.patch is None:
        return None
    folder = Path.cwd()
    top = git("rev-parse", "--show-toplevel", folder=folder)
    own = () if file is None or top.code != 0 else (os.path.relpath(file.resolve(), Path(top.out).resolve()),)
    return FerryPatcher(workspace=workspace, definition=definition, campaign=campaign, folder=folder, kept=own)


def ferry_agent(workspace: Workspace, definition: FerryDefinition) -> Agent:
    """Return the agent of the file, ready to be asked; raises as `agents.agent_of` does."""
    section = definition.ferry.agent
    assert section is not None, "the file names an agent"
    return agent_of(workspace, definition, Place(section=section, table=TABLE))
