"""`ports.store.Campaigns` over a connection of either database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pilothouse.campaigns.record import Campaign, GoldenSet, Halt, Incident, Owner, Promotion, Run, Trial
from pilothouse.canonical import Json
from pilothouse.errors import NotFound
from pilothouse.ids import CampaignName, ProductId
from pilothouse.monitoring.quoted import storable
from pilothouse.store import rows
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.rows import instant


class StoredCampaigns:
    """Campaigns within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("campaigns")

    def _change(self, query: str, parameters: Parameters, *, what: str) -> None:
        """Change one row that must be there."""
        if self._connection.run(query, parameters) == 0:
            raise NotFound(f"no {what} is stored", fix="list the campaigns with `pilothouse campaign list`")

    def put(self, campaign: Campaign) -> None:
        """Insert, or replace the kind and definition of one that exists and leave its config, owner and halt."""
        self._connection.run(
            self._sql["put_campaign"],
            {
                "product": campaign.product,
                "name": campaign.name,
                "kind": campaign.kind,
                "definition": rows.strict_json(campaign.definition),
                "definition_digest": campaign.definition_digest,
                "config": rows.strict_json(campaign.config),
                "created_at": instant(campaign.created_at),
                "halt": None if campaign.halt is None else campaign.halt.value,
                "last_error": storable(campaign.last_error),
                "next_action": storable(campaign.next_action),
                **_owner(campaign.owner),
            },
        )

    def get(self, product: ProductId, name: CampaignName) -> Campaign | None:
        """Return the campaign of that name."""
        row = self._connection.row(self._sql["campaign_by_name"], {"product": product, "name": name})
        return None if row is None else rows.campaign(row)

    def listed(self, product: ProductId) -> Sequence[Campaign]:
        """Return the campaigns by name."""
        found = self._connection.rows(self._sql["campaigns_of_product"], {"product": product})
        return [rows.campaign(row) for row in found]

    def products(self) -> Sequence[ProductId]:
        """Return every product that has a campaign, by name."""
        return [ProductId(row["product"]) for row in self._connection.rows(self._sql["products_with_campaigns"], {})]

    def own(self, product: ProductId, name: CampaignName, *, owner: Owner | None) -> None:
        """Keep which process advances the campaign."""
        parameters: Parameters = {"product": product, "name": name, **_owner(owner)}
        self._change(self._sql["own_campaign"], parameters, what=f"campaign {name!r}")

    def halt(
        self, product: ProductId, name: CampaignName, *, halt: Halt | None, last_error: str, next_action: str
    ) -> None:
        """Keep why the loop stands still and what a person does next."""
        parameters: Parameters = {
            "product": product,
            "name": name,
            "halt": None if halt is None else halt.value,
            "last_error": storable(last_error),
            "next_action": storable(next_action),
        }
        self._change(self._sql["halt_campaign"], parameters, what=f"campaign {name!r}")

    def configure(self, product: ProductId, name: CampaignName, *, config: Mapping[str, Json]) -> None:
        """Move the config of the baseline."""
        parameters: Parameters = {"product": product, "name": name, "config": rows.strict_json(config)}
        self._change(self._sql["configure_campaign"], parameters, what=f"campaign {name!r}")

    def put_trial(self, trial: Trial) -> None:
        """Insert, or replace the trial of that number."""
        self._connection.run(
            self._sql["put_trial"],
            {
                "product": trial.product,
                "campaign": trial.campaign,
                "number": trial.number,
                "proposal": trial.proposal,
                "config": rows.strict_json(trial.config),
                "state": trial.state.value,
                "started_at": instant(trial.started_at),
                "ended_at": instant(trial.ended_at),
                "verdict": None if trial.verdict is None else rows.measured_json(trial.verdict.as_json()),
                "metrics": rows.measured_json(trial.metrics),
                "seconds": rows.measured_json(trial.seconds),
                "confirmation": None if trial.confirmation is None else rows.strict_json(trial.confirmation.as_json()),
                "failure": trial.failure,
            },
        )

    def trials(self, product: ProductId, name: CampaignName, *, least: int = 0) -> Sequence[Trial]:
        """Return the trials by number, from a least one on."""
        parameters: dict[str, str | int] = {"product": product, "name": name, "least": least}
        found = self._connection.rows(self._sql["trials_of_campaign"], parameters)
        return [rows.trial(row) for row in found]

    def add_run(self, run: Run) -> None:
        """Store one execution; its campaign and job are stored before it."""
        self._connection.run(
            self._sql["add_run"],
            {
                "id": run.id,
                "product": run.product,
                "campaign": run.campaign,
                "trial": run.trial,
                "seed": run.seed,
                "job": run.job,
            },
        )

    def runs(self, product: ProductId, *, campaign: CampaignName | None, limit: int) -> Sequence[Run]:
        """Return the newest runs first."""
        if campaign is None:
            found = self._connection.rows(self._sql["newest_runs"], {"product": product, "limit": limit})
        else:
            parameters: Parameters = {"product": product, "name": campaign, "limit": limit}
            found = self._connection.rows(self._sql["newest_runs_of_campaign"], parameters)
        return [rows.run(row) for row in found]

    def add_promotion(self, promotion: Promotion) -> None:
        """Keep a move of the baseline; it is never changed again."""
        self._connection.run(
            self._sql["add_promotion"],
            {
                "product": promotion.product,
                "campaign": promotion.campaign,
                "trial": promotion.trial,
                "checkpoint": promotion.checkpoint,
                "samples": promotion.samples,
                "config": rows.strict_json(promotion.config),
                "reason": promotion.reason,
                "at": instant(promotion.at),
            },
        )

    def promotions(self, product: ProductId, name: CampaignName) -> Sequence[Promotion]:
        """Return the promotions, oldest first; the last one is the baseline."""
        found = self._connection.rows(self._sql["promotions_of_campaign"], {"product": product, "name": name})
        return [rows.promotion(row) for row in found]

    def golden_sets(self, product: ProductId, name: CampaignName) -> Sequence[GoldenSet]:
        """Return the golden sets by name."""
        found = self._connection.rows(self._sql["golden_sets_of_campaign"], {"product": product, "name": name})
        return [rows.golden_set(row) for row in found]

    def lock_golden(self, golden: GoldenSet) -> None:
        """Store a golden set's digest; one that is locked already keeps its digest and its looks."""
        self._connection.run(
            self._sql["lock_golden_set"],
            {
                "product": golden.product,
                "campaign": golden.campaign,
                "name": golden.name,
                "digest": golden.digest,
                "looks": golden.looks,
                "published": golden.published,
            },
        )

    def count_look(
        self, product: ProductId, name: CampaignName, golden: str, *, published: float | None = None
    ) -> None:
        """Count one look at the golden set; `published` replaces the best score shown of it, None leaves that."""
        parameters: Parameters = {"product": product, "campaign": name, "name": golden, "published": published}
        self._change(self._sql["count_look"], parameters, what=f"golden set {golden!r} of campaign {name!r}")

    def add_incident(self, incident: Incident) -> None:
        """Keep a diagnosis."""
        self._connection.run(
            self._sql["add_incident"],
            {
                "product": incident.product,
                "campaign": incident.campaign,
                "job": incident.job,
                "epoch": incident.epoch,
                "at": instant(incident.at),
                "diagnosis": storable(incident.diagnosis),
                "evidence": storable(incident.evidence),
                "response": storable(incident.response),
            },
        )

    def incidents(self, product: ProductId, name: CampaignName) -> Sequence[Incident]:
        """Return the incidents, oldest first."""
        found = self._connection.rows(self._sql["incidents_of_campaign"], {"product": product, "name": name})
        return [rows.incident(row) for row in found]


def _owner(owner: Owner | None) -> Parameters:
    if owner is None:
        return {"owner_host": None, "owner_pid": None, "owner_started": None, "owner_boot": None}
    return {
        "owner_host": owner.host,
        "owner_pid": owner.pid,
        "owner_started": owner.started,
        "owner_boot": owner.boot,
    }
