"""Gather the configs that a campaign has applied, and record that one could not be committed."""

from __future__ import annotations

from datetime import datetime

from pilothouse.campaigns.applied import Applied, applications
from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.record import Campaign
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction

TROUBLE = "not_committed"
"""The evidence of an entry that tells why an applied config is in no commit yet."""


def applied_configs(tx: Transaction, campaign: Campaign, definition: Definition) -> list[Applied]:
    """Return every config that a promotion or a rollback has applied, oldest first."""
    product, name = campaign.product, campaign.name
    return applications(
        definition,
        campaign,
        trials=tx.campaigns.trials(product, name),
        promotions=tx.campaigns.promotions(product, name),
    )


def record_trouble(
    tx: Transaction, campaign: Campaign, applied: Applied, *, why: str, mend: str, now: datetime
) -> bool:
    """Append why the config is not committed; the same cause is told once for each config. Say whether it was new."""
    told = {"key": applied.key, "why": why}
    entries = tx.entries.thread(campaign.product, campaign.name)
    if any(entry.body.evidence.get(TROUBLE) == told for entry in entries):
        return False
    body = NewEntry(
        label=f"incident: the config of trial {applied.trial} is not committed",
        hypothesis="",
        command="",
        config="",
        result=why,
        interpretation="the loop goes on; the config is committed as soon as the repository takes it",
        next_action=mend,
        confidence="exploratory",
        evidence={TROUBLE: told},
    )
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)
    return True
