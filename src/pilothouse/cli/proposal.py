"""`pilothouse proposal`: what is asked for, and the gate."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, open_existing, print_json, say

if TYPE_CHECKING:
    from pilothouse.canonical import Json
    from pilothouse.proposals.proposal import Proposal

app = typer.Typer(help="What is asked for, and who says yes.", no_args_is_help=True)
CampaignOption = Annotated[
    str | None, typer.Option("--campaign", help="The campaign; may be left out if there is one.")
]
ProposalArgument = Annotated[str, typer.Argument(metavar="PROPOSAL", help="The proposal's id.")]


@app.command("list")
def list_proposals(ctx: typer.Context, campaign: CampaignOption = None, as_json: AsJson = False) -> None:
    """List a campaign's proposals."""
    from pilothouse.cli.table import print_table
    from pilothouse.operations.campaign_snapshot import find_campaign

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = find_campaign(tx, workspace.product, campaign)
        rows = [_row(each) for each in tx.proposals.listed(found.product, found.name)]
    if as_json:
        print_json(rows)
    else:
        print_table(("id", "trial", "state", "changes", "why", "risk", "source"), rows)


@app.command("show")
def show_proposal(ctx: typer.Context, proposal: ProposalArgument, as_json: AsJson = False) -> None:
    """Show one proposal: its exact delta against the parent, its reasons, and the subject an approval is bound to."""
    from pilothouse.operations.approve_proposal import find_proposal

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = find_proposal(tx, workspace.product, proposal)
    values = _details(found)
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        say(f"{name:<18} {value}")


@app.command("approve")
def approve(
    ctx: typer.Context,
    proposal: ProposalArgument,
    approver: Annotated[str | None, typer.Option("--by", help="Who says yes; you, if left out.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    expires_in: Annotated[
        str, typer.Option("--expires-in", help="How long the approval holds, such as 12h or 2d.")
    ] = "1d",
) -> None:
    """Approve exactly this proposal: config, code commit, golden set, cost ceiling and pool; any drift voids it."""
    from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal

    workspace = open_existing(ctx)
    request = ApprovalRequest(
        proposal=proposal, approver=approver or getpass.getuser(), reason=reason, expires_in=expires_in
    )
    with workspace.store.write() as tx:
        given = approve_proposal(tx, request, product=workspace.product, now=workspace.clock.now())
    say(f"approved {proposal} by {given.approver} for {given.subject_digest[:16]}…")


def _row(proposal: Proposal) -> dict[str, Json]:
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


def _details(proposal: Proposal) -> dict[str, Json]:
    return {
        **_row(proposal),
        "campaign": proposal.campaign,
        "rationale": proposal.rationale,
        "hypothesis": proposal.hypothesis,
        "rollback": proposal.rollback,
        "refusal": proposal.refusal,
        "config": dict(proposal.config),
        "parent_digest": proposal.parent_digest,
        "subject": proposal.subject.as_json(),
        "subject_digest": proposal.subject.digest(),
        "created_at": proposal.created_at.isoformat(),
    }
