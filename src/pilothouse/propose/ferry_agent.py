"""An agent that drafts what a ferry changes."""

from __future__ import annotations

from dataclasses import dataclass

from pilothouse.ports.proposer import Answered, Stopped, never
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.propose import ferry_context
from pilothouse.propose.agent import answered, suggesting
from pilothouse.propose.asking import Agent, source_of


@dataclass(frozen=True, slots=True)
class AgentDrafter:
    """`ports.drafter.Drafter` by an agent."""

    agent: Agent

    @property
    def source(self) -> str:
        """How its suggestions are named."""
        return source_of(self.agent)

    def draft(self, question: FerryQuestion, stopped: Stopped = never) -> Answered:
        """Return what came of asking, from the folder where the same question was answered before."""
        return answered(self.agent, suggesting(self.agent, ferry_context.files(question)), stopped)
