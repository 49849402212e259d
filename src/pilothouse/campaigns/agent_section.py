"""The tables of a campaign file that name an agent, and what it may use."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pilothouse.campaigns.sections import Budget, Command, Seconds, Section

TELLING = frozenset({"claude", "opencode"})
"""Presets whose agents tell what they cost."""

Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,99}$")]
Base = Literal["one-axis", "random", "surrogate", "tpe", "cma-es", "gp"]


class AgentLimits(Section):
    """How much one run of the agent may use; what goes beyond is ended, and its answer is not taken.

    `memory_mb` bounds the data of each process and the resident memory of all together, `folder_mb` all that the run
    writes, `processes` processes and threads at one time, `output_bytes` what it prints.
    """

    time: Seconds = 900.0
    cpu_time: Seconds = 600.0
    memory_mb: int = Field(default=4096, ge=16)
    folder_mb: int = Field(default=512, ge=1)
    processes: int = Field(default=256, ge=1)
    output_bytes: int = Field(default=4_000_000, ge=1000)


class Unconfined(Section):
    """The recorded waiver for a machine that cannot confine an agent: who allows it, why, and until when (RFC 3339)."""

    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    until: str

    @field_validator("until")
    @classmethod
    def _names_its_zone(cls, text: str) -> str:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            time = None
        if time is None or time.tzinfo is None:
            raise ValueError(f"{text!r} is no time with a zone: write 2026-12-31T00:00:00Z, for example")
        return text


class Agent(Section):
    """Who is asked, with which command and model, what it may read, reach and use, and what it may cost.

    `share` and `base` belong to a hybrid: for which share of the proposals the agent is asked, and who makes the rest.
    `variables` pass to a `command`; the other presets have their own key's. Costs are in USD.
    """

    preset: Literal["command", "codex", "claude", "opencode", "aider"] = "command"
    command: Command | None = None
    model: str = ""
    share: float | None = Field(default=None, gt=0, lt=1)
    base: Base | None = None
    network: bool | None = None
    ports: list[Annotated[int, Field(ge=1, le=65535)]] | None = None
    readable: list[Annotated[str, Field(min_length=1)]] = Field(default=[])
    variables: list[Variable] = Field(default=[])
    cost_limit_usd: float | None = Field(default=None, gt=0)
    cost_estimate_usd: float | None = Field(default=None, ge=0)
    limits: AgentLimits = AgentLimits()
    unconfined: Unconfined | None = None

    @model_validator(mode="after")
    def _is_one_agent(self) -> Agent:
        own = self.preset == "command"
        if own and self.command is None:
            raise ValueError('preset "command" runs your own program: give command, or name another preset')
        if not own and self.command is not None:
            raise ValueError(f'preset {self.preset!r} has a command: take yours away, or write preset = "command"')
        if own and self.model:
            raise ValueError("model is for presets that know models: name it within command")
        if not own and self.variables:
            raise ValueError(f"preset {self.preset!r} gets the variables of its key and no others: take variables away")
        if any(name.startswith("PILOTHOUSE") for name in self.variables):
            raise ValueError("variables named PILOTHOUSE… are the platform's, and may hold its tokens: take them away")
        return self

    @model_validator(mode="after")
    def _reaches_what_it_says(self) -> Agent:
        if self.network is False and self.preset != "command":
            raise ValueError(f"preset {self.preset!r} talks to a model: take network = false away")
        if self.ports is not None and not self.reaches_network():
            raise ValueError("ports open nothing without a network: write network = true, or take them away")
        return self

    @model_validator(mode="after")
    def _knows_its_cost(self) -> Agent:
        if self.cost_limit_usd is not None and not self.tells_cost():
            raise ValueError(
                f"cost_limit_usd binds nothing while preset {self.preset!r} tells no cost: give cost_estimate_usd, "
                "what one run costs at most"
            )
        return self

    def tells_cost(self) -> bool:
        """Whether what a run costs is known: told by the agent, or estimated by the file."""
        return self.preset in TELLING or self.cost_estimate_usd is not None

    def reaches_network(self) -> bool:
        """Whether the agent may make connections: those that talk to a model must."""
        return self.preset != "command" or bool(self.network)

    def shares(self) -> bool:
        """Whether the table says what only a hybrid needs."""
        return self.share is not None or self.base is not None


class DraftLimits(AgentLimits):
    """The same for the agent of a ferry, who is asked once a day and may take less long."""

    time: Seconds = 600.0


class FerryAgent(Agent):
    """The agent of a ferry: who drafts its proposal, and who proposes a patch, as far as the file lets it."""

    limits: DraftLimits = DraftLimits()

    @model_validator(mode="after")
    def _shares_with_nobody(self) -> FerryAgent:
        if self.shares():
            raise ValueError("share and base are an autopilot's: take them away")
        return self


def refuse_unknown_cost(agent: Agent | None, budget: Budget, *, table: str) -> None:
    """Raise `ValueError` where a budget in USD could not be kept, since nobody tells what the agent costs."""
    if agent is not None and budget.usd is not None and not agent.tells_cost():
        raise ValueError(
            f"budget.usd counts what the agent costs, and this agent tells nobody: give {table}.cost_estimate_usd, "
            "0 for one that costs nothing"
        )


def agent_ceiling(agent: Agent | None) -> dict[str, float]:
    """Return what an agent may cost, as a part of the ceiling that an approval is bound to."""
    limit = None if agent is None else agent.cost_limit_usd
    return {} if limit is None else {"agent_usd": limit}
