"""Register a campaign from its definition, or meet the one that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.flywheel import seeds_of
from pilothouse.campaigns.flywheel_definition import FlywheelDefinition
from pilothouse.campaigns.record import Campaign
from pilothouse.campaigns.seed_range import parse_seed_range
from pilothouse.canonical import Json, digest
from pilothouse.errors import GoldenSetChanged
from pilothouse.ids import CampaignName, ProductId
from pilothouse.knobs.config import apply
from pilothouse.ports.store import Transaction
from pilothouse.proposals.draft import Draft, draft


def open_campaign(tx: Transaction, definition: Definition, *, now: datetime) -> Campaign:
    """Return the stored campaign, created or brought to this definition.

    The config of a campaign that exists is never reset to the file's defaults: it moves by proposals only. A knob that
    is new in the file joins with its default.
    """
    product = ProductId(definition.campaign.product)
    name = CampaignName(definition.campaign.name)
    stored = tx.campaigns.get(product, name)
    knobs = definition.knob_rules()
    kept = stored.config if stored is not None else {}
    parent = {knob: kept.get(knob, rule.default) for knob, rule in knobs.items()}
    values: dict[str, Json] = definition.model_dump(mode="json")
    campaign = Campaign(
        product=product,
        name=name,
        kind=definition.campaign.kind,
        definition=values,
        definition_digest=digest(values),
        config=apply(parent, {}, knobs),
        created_at=stored.created_at if stored is not None else now,
        owner=stored.owner if stored is not None else None,
        halt=stored.halt if stored is not None else None,
        last_error=stored.last_error if stored is not None else "",
        next_action=stored.next_action if stored is not None else "",
    )
    tx.campaigns.put(campaign)
    tx.campaigns.configure(product, name, config=campaign.config)
    return campaign


def check_seeds(tx: Transaction, definition: FlywheelDefinition, campaign: Campaign) -> None:
    """Refuse a definition under which seeds that have trained would be golden, or iterations would have other data."""
    reserved = definition.reserved_ranges()
    for job in tx.jobs.keys_like(campaign.product, f"{campaign.name}/generate/"):
        spec = tx.jobs.spec(job.id)
        trained = parse_seed_range(str(spec.config["seeds"]))
        if any(trained.overlaps(held) for held in reserved) or trained != seeds_of(definition, spec.trial):
            raise GoldenSetChanged(
                f"iteration {spec.trial} has trained on the seeds {trained}, which the file now gives another use",
                fix="keep [golden] and [flywheel] seeds apart from what has trained, or name a new campaign",
            )


def check_overrides(definition: Definition, campaign: Campaign, overrides: Mapping[str, Json]) -> None:
    """Refuse knob values that could not be proposed now: out of range, a step too far, too many at once."""
    draft(
        Draft(
            parent=campaign.config,
            overrides=overrides,
            knobs=definition.knob_rules(),
            budget=definition.change_budget.budget(),
            invariants=definition.invariants(),
            derived=definition.derived(),
            identical_reason="nothing is moved",
        )
    )


def unheeded_defaults(definition: Definition, campaign: Campaign) -> tuple[str, ...]:
    """Return a sentence for each knob whose default in the file is not what the campaign runs with."""
    return tuple(
        f"knob {name}: the file's default is {rule.default!r}, the campaign runs with {campaign.config[name]!r}; "
        f"propose the change with --set {name}={rule.default}"
        for name, rule in definition.knob_rules().items()
        if campaign.config[name] != rule.default
    )
