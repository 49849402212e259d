"""`pilothouse proposal`: what is asked for, and the gate."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from pilothouse.cli.context import AsJson, note, open_existing, print_json, say

if TYPE_CHECKING:
    from pilothouse.canonical import Json

app = typer.Typer(help="What is asked for, and who says yes.", no_args_is_help=True)
CampaignOption = Annotated[
    str | None, typer.Option("--campaign", help="The campaign; may be left out if there is one.")
]
ProposalArgument = Annotated[str, typer.Argument(metavar="PROPOSAL", help="The proposal's id.")]
By = Annotated[str | None, typer.Option("--by", help="Who says so; you, if left out.")]


@app.command("list")
def list_proposals(ctx: typer.Context, campaign: CampaignOption = None, as_json: AsJson = False) -> None:
    """List a campaign's proposals."""
    from pilothouse.cli.table import print_table
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.operations.proposal_view import proposal_row

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = find_campaign(tx, workspace.product, campaign)
        rows = [proposal_row(each) for each in tx.proposals.listed(found.product, found.name)]
    if as_json:
        print_json(rows)
    else:
        print_table(("id", "trial", "state", "changes", "why", "risk", "source"), rows)


@app.command("show")
def show_proposal(ctx: typer.Context, proposal: ProposalArgument, as_json: AsJson = False) -> None:
    """Show one proposal: its delta and reasons, what an approval is bound to, and what an agent did for it."""
    from pilothouse.operations.approve_proposal import find_proposal
    from pilothouse.operations.proposal_view import proposal_json

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        values = proposal_json(tx, find_proposal(tx, workspace.product, proposal))
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        if name == "agent":
            _show_agent(cast("Mapping[str, Json] | None", value))
        elif name == "patches":
            _show_patches(cast("Sequence[Mapping[str, Json]]", value))
        elif name == "incidents":
            _show_incidents(cast("Sequence[Mapping[str, Json]]", value))
        else:
            say(f"{name:<18} {_plain(value)}")


@app.command("diff")
def diff(ctx: typer.Context, proposal: ProposalArgument, as_json: AsJson = False) -> None:
    """Show exactly what one proposal changes against its parent, before and after."""
    from pilothouse.operations.approve_proposal import find_proposal
    from pilothouse.operations.proposal_view import diff_json

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        values = diff_json(tx, find_proposal(tx, workspace.product, proposal))
    if as_json:
        print_json(values)
        return
    still = "the baseline" if values["parent_is_baseline"] else "no longer the baseline"
    say(f"--- parent {str(values['parent_digest'])[:12]} ({still})")
    say(f"+++ {values['proposal']} (trial {values['trial']}, {values['state']})")
    for change in cast("Sequence[Mapping[str, Json]]", values["changes"]):
        say(f"- {change['knob']} = {change['before']!r}")
        say(f"+ {change['knob']} = {change['after']!r}    # bucket {change['bucket']}, risk {change['risk']}")
    for each in cast("Sequence[Mapping[str, Json]]", values["followed"]):
        say(f"- {each['name']} = {each['before']!r}    # derived")
        say(f"+ {each['name']} = {each['after']!r}")
    if not values["changes"]:
        say("nothing changes: the parent's config runs again")


@app.command("approve")
def approve(
    ctx: typer.Context,
    proposal: ProposalArgument,
    approver: By = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    expires_in: Annotated[
        str, typer.Option("--expires-in", help="How long the approval holds, such as 12h or 2d.")
    ] = "1d",
) -> None:
    """Approve exactly this proposal: config, code commit, golden set, cost ceiling and pool; any drift voids it."""
    from pilothouse.access.audit import Actor
    from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal

    workspace = open_existing(ctx)
    request = ApprovalRequest(
        proposal=proposal, approver=Actor(name=approver or getpass.getuser()), reason=reason, expires_in=expires_in
    )
    with workspace.store.write() as tx:
        given = approve_proposal(tx, request, product=workspace.product, now=workspace.clock.now())
    say(f"approved {proposal} by {given.approver} for {given.subject_digest[:16]}…")


@app.command("reject")
def reject(
    ctx: typer.Context,
    proposal: ProposalArgument,
    reason: Annotated[str, typer.Option(help="Why; whoever proposes next is told.")],
    by: By = None,
) -> None:
    """Reject an open proposal with a reason, which is kept and taught: the loop asks for another."""
    from pilothouse.access.audit import Actor
    from pilothouse.operations.reject_proposal import Rejection, reject_proposal

    workspace = open_existing(ctx)
    rejection = Rejection(proposal=proposal, by=Actor(name=by or getpass.getuser()), reason=reason)
    with workspace.store.write() as tx:
        reject_proposal(tx, rejection, product=workspace.product, now=workspace.clock.now())
    say(f"rejected {proposal} by {rejection.by.name}")


@app.command("waive")
def waive(
    ctx: typer.Context,
    campaign: CampaignOption = None,
    proposals: Annotated[int | None, typer.Option(help="How many proposals it lets through.")] = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="When it ends at the latest, such as 12h or 2d.")
    ] = None,
    knob: Annotated[list[str] | None, typer.Option("--knob", help="A knob that may move; may be repeated.")] = None,
    bucket: Annotated[
        list[str] | None, typer.Option("--bucket", help="A bucket whose knobs may move; may be repeated.")
    ] = None,
    risk: Annotated[str, typer.Option(help="The highest risk that it covers.")] = "low",
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    by: By = None,
    end: Annotated[str | None, typer.Option("--end", metavar="WAIVER", help="End this waiver now.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show the waivers, and grant none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let so many proposals of a kind through until a time, on the record; or list waivers, or end one."""
    from pilothouse.errors import UsageError
    from pilothouse.ids import mint
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.operations.waive_gate import WaiverRequest, end_waiver, scope_words, waive_gate
    from pilothouse.wiring.conditions import code_commit

    workspace = open_existing(ctx)
    who, now = by or getpass.getuser(), workspace.clock.now()
    if end is not None:
        with workspace.store.write() as tx:
            end_waiver(tx, end, campaign=find_campaign(tx, workspace.product, campaign), by=who, now=now)
        note(f"ended {end} by {who}")
    elif not listed:
        if proposals is None or expires_in is None:
            raise UsageError(
                "a waiver says how many proposals it lets through, and when it ends",
                fix="give --proposals 20 --expires-in 12h, for example, or --list",
            )
        request = WaiverRequest(
            by=who,
            reason=reason,
            knobs=knob or [],
            buckets=bucket or [],
            risk=risk,
            proposals=proposals,
            expires_in=expires_in,
        )
        commit, identity = code_commit(workspace.home), mint("waiver", now=now, entropy=workspace.clock.entropy())
        with workspace.store.write() as tx:
            found = find_campaign(tx, workspace.product, campaign)
            given = waive_gate(tx, request, campaign=found, identity=identity, code_commit=commit, now=now)
        note(f"waived by {given.granted_by}: {scope_words(given)}")
    _show_waivers(ctx, campaign, as_json=as_json)


def _show_waivers(ctx: typer.Context, campaign: str | None, *, as_json: bool) -> None:
    from pilothouse.cli.table import print_table
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.operations.proposal_view import waiver_json

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = find_campaign(tx, workspace.product, campaign)
        rows = [waiver_json(each) for each in tx.waivers.standing(found.product, found.name)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        knobs, buckets = (cast("Sequence[str]", row[name]) for name in ("knobs", "buckets"))
        row["covers"] = ", ".join([*knobs, *(f"bucket {each}" for each in buckets)]) or "any knob"
    print_table(("waiver", "covers", "risk", "used", "proposals", "granted_by", "expires_at", "ended_at"), rows)


def _show_agent(record: Mapping[str, Json] | None) -> None:
    """Show how an agent was confined and what it used; what is not known is called so."""
    if record is None:
        say(f"{'agent':<18} none")
        return
    usage = cast("Mapping[str, Json]", record["usage"])
    waived = f", allowed by {record['waived_by']}" if record["waived_by"] else ""
    held = ", ".join(cast("Sequence[str]", record["held"]))
    say(f"{'agent':<18} {record['runner']} at level {record['level']}{waived}: {held or 'nothing held'}")
    told = [f"{name} {_known(usage[name])}" for name in ("turns", "tokens_in", "tokens_cached", "tokens_out")]
    say(f"{'agent used':<18} {', '.join(told)}, {float(str(record['seconds'])):.1f} s, attempt {record['attempt']}")
    say(f"{'agent cost':<18} USD {_known(record['charged_usd'])} ({record['cost_source']})")
    say(f"{'agent context':<18} {record['context_digest']}")


def _show_patches(patches: Sequence[Mapping[str, Json]]) -> None:
    for each in patches:
        came = each["refusal"] or each.get("branch") or "no branch"
        say(f"{each['about']}: {came}, USD {_known(each['charged_usd'])} ({each['cost_source']})")


def _show_incidents(incidents: Sequence[Mapping[str, Json]]) -> None:
    if not incidents:
        say(f"{'incidents':<18} none")
    for each in incidents:
        say(f"{'incident':<18} {each['diagnosis']} x {each['occurrences']}: {each['evidence']} ({each['response']})")


def _plain(value: Json) -> str:
    """Return a value as a person reads it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return "none" if value is None else str(value)


def _known(value: Json) -> str:
    return "unknown" if value is None else str(value)
