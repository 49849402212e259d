"""Find a campaign and gather what its status is made from."""

from __future__ import annotations

from collections.abc import Callable

from pilothouse.campaigns.record import Campaign, Owner, TrialState
from pilothouse.campaigns.status import Current, Snapshot
from pilothouse.errors import NotFound
from pilothouse.fleet.stages import ENDS
from pilothouse.ids import CampaignName, ProductId
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import State

RECENT_JOBS = 20


def find_campaign(tx: Transaction, product: ProductId, name: str | None) -> Campaign:
    """Return the product's campaign of that name, or its only one."""
    known = [each for each in tx.campaigns.listed(product) if name is None or each.name == CampaignName(name)]
    if len(known) == 1:
        return known[0]
    if not known:
        what = f"no campaign {name!r}" if name is not None else "no campaign"
        raise NotFound(f"product {product} has {what}", fix="`pilothouse campaign list` shows what there is")
    names = ", ".join(each.name for each in known)
    raise NotFound(f"product {product} has several campaigns: {names}", fix="name one of them")


def campaign_snapshot(tx: Transaction, campaign: Campaign, *, is_alive: Callable[[Owner], bool]) -> Snapshot:
    """Return everything that the campaign's status is made from."""
    product, name = campaign.product, campaign.name
    trials = tx.campaigns.trials(product, name)
    # A trial that runs may wait for a yes as well: to be launched again after a patch.
    judged = {trial.number for trial in trials if trial.state is TrialState.JUDGED}
    waiting = [
        proposal.id
        for proposal in tx.proposals.listed(product, name)
        if proposal.state is State.OPEN and proposal.number not in judged
    ]
    return Snapshot(
        campaign=campaign,
        trials=trials,
        promotions=tx.campaigns.promotions(product, name),
        golden=tx.campaigns.golden_sets(product, name),
        current=_current(tx, campaign),
        awaiting_approval=waiting[-1] if waiting else None,
        owner_alive=campaign.owner is not None and is_alive(campaign.owner),
    )


def _current(tx: Transaction, campaign: Campaign) -> Current | None:
    """Return the campaign's newest job that has not ended."""
    for job in tx.jobs.listed(campaign.product, campaign=campaign.name, limit=RECENT_JOBS):
        if job.stage not in ENDS:
            attempts = tx.jobs.attempts(job.id)
            return Current(job=job, spec=tx.jobs.spec(job.id), attempt=attempts[-1] if attempts else None)
    return None
