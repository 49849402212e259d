"""Tell everything that is stored of a proposal, and exactly what it changes."""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.ids import CampaignName, ProductId
from pilothouse.knobs.config import config_digest
from pilothouse.knobs.delta import Change, effective_delta
from pilothouse.knobs.invariant import derive
from pilothouse.ports.store import Transaction
from pilothouse.proposals.agent_run import AgentIncident
from pilothouse.proposals.proposal import Approval, Proposal, State
from pilothouse.proposals.waiver import Standing


def proposal_row(proposal: Proposal) -> dict[str, Json]:
    """Return a proposal in one line's worth of values."""
    moved = ", ".join(f"{change.knob}: {change.before} → {change.after}" for change in proposal.changes)
    return {
        "id": proposal.id,
        "trial": proposal.number,
        "state": proposal.state.value,
        "changes": moved or "none",
        "why": proposal.why_not_identical,
        "risk": proposal.risk.value,
        "source": proposal.source,
    }


def proposal_json(tx: Transaction, proposal: Proposal) -> dict[str, Json]:
    """Return everything: its reasons, its subject, who opened the gate, and what an agent did for it."""
    product, campaign = proposal.product, proposal.campaign
    admission = tx.waivers.admission(product, proposal.id)
    runs = {
        each.about: each
        for each in tx.agents.runs(product, campaign, least=proposal.number)
        if each.proposal == proposal.id
    }
    run = runs.pop("", None)
    mine = [each for each in tx.agents.incidents(product, campaign) if each.proposal == proposal.id]
    return {
        **_listed(proposal),
        "rationale": proposal.rationale,
        "hypothesis": proposal.hypothesis,
        "rollback": proposal.rollback,
        "refusal": proposal.refusal,
        "config": dict(proposal.config),
        "parent_digest": proposal.parent_digest,
        "subject": proposal.subject.as_json(),
        "approvals": [
            _approval(each)
            for each in tx.proposals.approvals(product, campaign)
            if each.subject_digest == proposal.subject.digest()
        ],
        "admitted": None
        if admission is None
        else {"by": admission.approver, "waiver": admission.waiver, "at": admission.at.isoformat()},
        "agent": None if run is None else {**run.record, "charged_usd": run.charged_usd},
        "patches": [{"about": about, **each.record, "charged_usd": each.charged_usd} for about, each in runs.items()],
        "incidents": [incident_json(each) for each in mine],
    }


def proposal_page(
    tx: Transaction, product: ProductId, *, campaign: CampaignName | None, state: State | None, limit: int
) -> list[dict[str, Json]]:
    """Return a product's newest proposals with what each is bound to, at most so many; `None` is all of them."""
    return [_listed(each) for each in tx.proposals.newest(product, name=campaign, state=state, limit=limit)]


def _listed(proposal: Proposal) -> dict[str, Json]:
    return {
        **proposal_row(proposal),
        "campaign": proposal.campaign,
        "created_at": proposal.created_at.isoformat(),
        "subject_digest": proposal.subject.digest(),
    }


def _approval(approval: Approval) -> dict[str, Json]:
    until = approval.expires_at
    return {
        "by": approval.approver,
        "reason": approval.reason,
        "granted_at": approval.granted_at.isoformat(),
        "expires_at": None if until is None else until.isoformat(),
    }


def incident_json(incident: AgentIncident) -> dict[str, Json]:
    """Return what an agent was refused."""
    return {
        "at": incident.at.isoformat(),
        "about": incident.about,
        "diagnosis": incident.diagnosis,
        "occurrences": incident.occurrences,
        "evidence": incident.evidence,
        "response": incident.response,
    }


def diff_json(tx: Transaction, proposal: Proposal) -> dict[str, Json]:
    """Return the exact delta against the parent: what moves, and the derived values that follow from it.

    `parent_is_baseline` tells whether the parent is still what the campaign runs with.
    """
    campaign = tx.campaigns.get(proposal.product, proposal.campaign)
    assert campaign is not None, f"proposal {proposal.id} belongs to a stored campaign"
    definition = definition_of(campaign.definition)
    return {
        "proposal": proposal.id,
        "campaign": proposal.campaign,
        "trial": proposal.number,
        "state": proposal.state.value,
        "parent_digest": proposal.parent_digest,
        "parent_is_baseline": config_digest(campaign.config) == proposal.parent_digest,
        "config_digest": config_digest(proposal.config),
        "changes": [_change(definition, change) for change in proposal.changes],
        "followed": [
            {"name": each.knob, "before": each.before, "after": each.after}
            for each in _followed(definition, campaign, proposal)
        ],
    }


def waiver_json(standing: Standing) -> dict[str, Json]:
    """Return a waiver with what is left of it."""
    waiver = standing.waiver
    return {
        "waiver": waiver.id,
        "campaign": waiver.campaign,
        "granted_by": waiver.granted_by,
        "reason": waiver.reason,
        "knobs": list(waiver.knobs),
        "buckets": list(waiver.buckets),
        "risk": waiver.risk.value,
        "proposals": waiver.proposals,
        "used": standing.used,
        "granted_at": waiver.granted_at.isoformat(),
        "expires_at": waiver.expires_at.isoformat(),
        "ended_at": waiver.ended_at.isoformat() if waiver.ended_at is not None else None,
        "ended_by": waiver.ended_by or None,
        "terms": dict(waiver.terms),
    }


def _change(definition: Definition, change: Change) -> dict[str, Json]:
    table = definition.knobs.get(change.knob)
    return {
        "knob": change.knob,
        "before": change.before,
        "after": change.after,
        "bucket": None if table is None else table.bucket,
        "risk": None if table is None else table.risk,
        "max_step": None if table is None else table.max_step,
    }


def _followed(definition: Definition, campaign: Campaign, proposal: Proposal) -> tuple[Change, ...]:
    """Return the derived values that change with the proposal; none where the file has changed too much to tell."""
    before: dict[str, Json] = {**campaign.config, **proposal.config}
    before |= {change.knob: change.before for change in proposal.changes if change.before is not None}
    derived = definition.derived()

    def worked_out(config: Mapping[str, Json]) -> dict[str, Json]:
        whole = derive({name: config[name] for name in definition.knobs if name in config}, derived)
        return {name: whole[name] for name in derived if name in whole}

    try:
        return effective_delta(worked_out(before), worked_out(proposal.config))
    except BadValue:
        return ()
