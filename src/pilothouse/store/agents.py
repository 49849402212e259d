"""`ports.gate.Agents` over a connection of either database."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pilothouse.ids import CampaignName, ProductId
from pilothouse.proposals.agent_run import AgentIncident, AgentRun, Spending
from pilothouse.store import rows
from pilothouse.store.connection import Connection
from pilothouse.store.rows import at, instant


class StoredAgents:
    """The runs of agents and what they were refused, within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("agents")

    def keep(self, run: AgentRun) -> None:
        """Keep what an agent did for a proposal; it is never changed again."""
        self._connection.run(
            self._sql["add_agent_run"],
            {
                "product": run.product,
                "campaign": run.campaign,
                "proposal": run.proposal,
                "at": instant(run.at),
                "charged_usd": run.charged_usd,
                "record": rows.strict_json(run.record),
                "about": run.about,
            },
        )

    def runs(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[AgentRun]:
        """Return the runs of a campaign's agents, oldest first, those for proposals of trials from a least one on."""
        parameters: dict[str, str | int] = {"product": product, "name": name, "least": least}
        found = self._connection.rows(self._sql["agent_runs_of_campaign"], parameters)
        return [
            AgentRun(
                product=row["product"],
                campaign=row["campaign"],
                proposal=row["proposal"],
                at=at(row["at"]),
                charged_usd=row["charged_usd"],
                record=json.loads(row["record"]),
                about=row["about"],
            )
            for row in found
        ]

    def spent(self, product: ProductId, name: CampaignName) -> Spending:
        """Return what a campaign's agents have cost."""
        row = self._connection.row(self._sql["spent_on_agents"], {"product": product, "name": name})
        assert row is not None, "a sum over no rows is a row as well"
        return Spending(usd=row["usd"], unknown=row["unknown"])

    def note(self, incident: AgentIncident) -> None:
        """Keep an incident; it is never changed again."""
        self._connection.run(
            self._sql["add_agent_incident"],
            {
                "product": incident.product,
                "campaign": incident.campaign,
                "proposal": incident.proposal,
                "at": instant(incident.at),
                "diagnosis": incident.diagnosis,
                "evidence": incident.evidence,
                "occurrences": incident.occurrences,
                "response": incident.response,
                "about": incident.about,
            },
        )

    def incidents(self, product: ProductId, name: CampaignName) -> Sequence[AgentIncident]:
        """Return the incidents of a campaign's agents, oldest first."""
        found = self._connection.rows(self._sql["agent_incidents_of_campaign"], {"product": product, "name": name})
        return [
            AgentIncident(
                product=row["product"],
                campaign=row["campaign"],
                proposal=row["proposal"],
                at=at(row["at"]),
                diagnosis=row["diagnosis"],
                evidence=row["evidence"],
                occurrences=row["occurrences"],
                response=row["response"],
                about=row["about"],
            )
            for row in found
        ]
