"""A source of proposals that asks an agent what to try next."""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.ports.proposer import Answered, AskingStopped, Stopped, never
from pilothouse.proposals.answer import read_answer, schema
from pilothouse.proposals.search import Search, Suggestion
from pilothouse.propose import agent_context
from pilothouse.propose.agent_record import AgentRecord, told_of
from pilothouse.propose.asking import Agent, Asked, Question, ask, source_of
from pilothouse.propose.sandbox.run import RunStopped


class AgentProposer:
    """A proposer that asks an agent; `last` is the record of the last run."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.last: AgentRecord | None = None

    def propose(self, search: Search) -> Suggestion:
        """Return the agent's suggestion; an answer that is not taken raises why, and `last` has the record."""
        asked = self.ask(search)
        if asked.refusal is not None:
            raise asked.refusal
        assert asked.answer is not None, "an answer that is not refused was read"
        return asked.answer

    def answer(self, search: Search, stopped: Stopped = never) -> Answered:
        """Return what came of asking, with what the campaign is charged for it."""
        return answered(self._agent, self._question(search), stopped)

    def ask(self, search: Search, stopped: Stopped = never) -> Asked[Suggestion]:
        """Return what came of asking, as `asking.ask` does."""
        asked = ask(self._agent, self._question(search), stopped)
        self.last = asked.record
        return asked

    @property
    def source(self) -> str:
        """How the suggestions' source is named."""
        return source_of(self._agent)

    def _question(self, search: Search) -> Question[Suggestion]:
        agent = self._agent
        return suggesting(agent, agent_context.files(search, agent.artefacts(), agent.best()))


def suggesting(agent: Agent, content: Mapping[str, bytes]) -> Question[Suggestion]:
    """Return the question for a change of the config, whose material these files are."""
    source = source_of(agent)
    return Question(content=content, form=schema(), read=lambda kept: read_answer(kept).suggestion(source))


def answered(agent: Agent, question: Question[Suggestion], stopped: Stopped) -> Answered:
    """Return what came of a question as a proposer tells it, with what the campaign is charged for it."""
    try:
        asked = ask(agent, question, stopped)
    except RunStopped:
        raise AskingStopped from None
    return Answered(
        source=source_of(agent),
        suggestion=asked.answer,
        refusal=asked.refusal,
        told=told_of(asked.record, agent.cost_estimate_usd),
    )
