"""Who opened the gate, and what agents did to reach it, as the operations see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.proposals.agent_run import AgentIncident, AgentRun, Spending
from pilothouse.proposals.waiver import Admission, Standing, Waiver


class Waivers(Protocol):
    """Waivers with their scope and end, and who opened the gate for which proposal."""

    def grant(self, waiver: Waiver) -> None: ...
    def end(self, product: ProductId, waiver: str, *, by: str, now: datetime) -> None:
        """End a waiver before its time; one that has been ended is refused with `Conflict`."""
        ...

    def standing(self, product: ProductId, name: CampaignName) -> Sequence[Standing]: ...
    def admit(self, admission: Admission) -> None:
        """Keep who opened the gate; a waiver that is used up is refused with `Conflict`."""
        ...

    def admission(self, product: ProductId, proposal: ProposalId) -> Admission | None: ...


class Agents(Protocol):
    """What agents did for proposals, and what they were refused; nothing of it is ever changed."""

    def keep(self, run: AgentRun) -> None: ...
    def runs(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[AgentRun]: ...
    def spent(self, product: ProductId, name: CampaignName) -> Spending: ...
    def note(self, incident: AgentIncident) -> None: ...
    def incidents(self, product: ProductId, name: CampaignName) -> Sequence[AgentIncident]: ...
