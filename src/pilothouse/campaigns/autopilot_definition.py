"""The campaign file of an autopilot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from pilothouse.campaigns.agent_section import Agent, agent_ceiling, refuse_unknown_cost
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.sections import RUNS_MOST, Seconds, Section
from pilothouse.canonical import digest


class Stop(Section):
    """When the autopilot ends by itself; what is absent never ends it.

    `without_improvement`, `failures` and `refusals` count proposals in a row; the last two go to a person. `after` is
    counted from the campaign's opening, and `file` ends the loop as soon as it is there.
    """

    proposals: int | None = Field(default=None, ge=1)
    without_improvement: int | None = Field(default=None, ge=1)
    failures: int = Field(default=3, ge=1)
    refusals: int = Field(default=10, ge=1)
    after: Seconds | None = None
    file: str | None = None


class Screen(Section):
    """A first look at a proposal in a cheaper mode of the trainer: whoever is worse there goes no further.

    It may only turn proposals away, so it spends nothing of the error rate.
    """

    mode: str
    runs: int = Field(default=2, ge=1, le=RUNS_MOST)
    baseline: int = Field(default=4, ge=2, le=RUNS_MOST)
    give_up: float = Field(default=0.7, gt=0, lt=1)


class Autopilot(Section):
    """The loop that proposes by itself: where proposals come from, from which seed runs count, when it ends."""

    proposer: Literal["one-axis", "random", "surrogate", "tpe", "cma-es", "gp", "agent", "hybrid"] = "one-axis"
    seed: int = Field(default=0, ge=0)
    stop_doomed: bool = True
    agent: Agent | None = None
    screen: Screen | None = None
    stop: Stop = Stop()

    @model_validator(mode="after")
    def _names_the_agent_that_it_asks(self) -> Autopilot:
        asks = self.proposer in {"agent", "hybrid"}
        if asks and self.agent is None:
            raise ValueError(f"proposer {self.proposer!r} asks an agent, and none is named: add [autopilot.agent]")
        if not asks and self.agent is not None:
            raise ValueError(
                f'[autopilot.agent] is never asked by proposer {self.proposer!r}: write proposer = "agent" or '
                '"hybrid", or take the table away'
            )
        if self.proposer == "agent" and self.agent is not None and self.agent.shares():
            raise ValueError('share and base are a hybrid\'s: write proposer = "hybrid", or take them away')
        return self


class AutopilotDefinition(Definition):
    """The file of an autopilot: the trainer evaluates its own runs."""

    autopilot: Autopilot = Autopilot()

    @model_validator(mode="after")
    def _screens_in_a_known_mode(self) -> AutopilotDefinition:
        screen = self.autopilot.screen
        if screen is not None and screen.mode not in self.trainer.modes:
            raise ValueError(f"autopilot.screen.mode {screen.mode!r} is none of the modes {sorted(self.trainer.modes)}")
        return self

    @model_validator(mode="after")
    def _knows_what_an_agent_costs(self) -> AutopilotDefinition:
        refuse_unknown_cost(self.autopilot.agent, self.budget, table="autopilot.agent")
        return self

    def ceilings(self) -> dict[str, float]:
        """Return the budget, and what the agent may cost besides."""
        return super().ceilings() | agent_ceiling(self.autopilot.agent)

    def evaluation(self, golden: Mapping[str, str]) -> str:
        """Return the digest of what the trainer promises to measure; `golden` sets it has none."""
        assert not golden, f"an autopilot locks no golden sets, found {sorted(golden)}"
        return digest({name: metric.model_dump(mode="json") for name, metric in self.metrics.items()})
