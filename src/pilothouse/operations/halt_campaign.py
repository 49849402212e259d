"""Let a campaign stand still, with its reason on the record, and let it go on again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pilothouse.campaigns.record import Campaign, Halt
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.store import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why the loop cannot go on, and what a person can do."""

    label: str
    error: str
    next_action: str


def fail_campaign(tx: Transaction, campaign: Campaign, trouble: Trouble, *, now: datetime) -> None:
    """Mark the campaign failed and write the failure into its logbook: failures are results too."""
    tx.campaigns.halt(
        campaign.product,
        campaign.name,
        halt=Halt.FAILED,
        last_error=trouble.error,
        next_action=trouble.next_action,
    )
    body = NewEntry(
        label=trouble.label,
        hypothesis="none: the loop was stopped by a failure",
        command="",
        config="",
        result=trouble.error,
        interpretation="no verdict can be given; the baseline stays",
        next_action=trouble.next_action,
        confidence="exploratory",
    )
    record_entry(tx, body, product=campaign.product, thread=campaign.name, now=now)


def finish_campaign(tx: Transaction, campaign: Campaign, *, reason: str) -> None:
    """Mark the campaign done."""
    tx.campaigns.halt(
        campaign.product, campaign.name, halt=Halt.DONE, last_error="", next_action=f"nothing to do: {reason}"
    )


def resume_campaign(tx: Transaction, campaign: Campaign) -> None:
    """Take the halt away: a person started the loop again."""
    tx.campaigns.halt(campaign.product, campaign.name, halt=None, last_error="", next_action="")
