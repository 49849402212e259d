"""`pilothouse proposal draft`: what the next ferry should change, and why."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, open_existing, own_command, print_json, say, settings_of

if TYPE_CHECKING:
    from pilothouse.campaigns.ferry_definition import FerryDefinition
    from pilothouse.canonical import Json
    from pilothouse.wiring.ferry_drafting import Drafted


class Source(StrEnum):
    """Who asks for what is set, or who chooses where nothing is."""

    PERSON = "person"
    AGENT = "agent"
    RULES = "rules"


def draft(  # each option of the command is one argument
    ctx: typer.Context,
    campaign: Annotated[
        str | None, typer.Option("--campaign", help="The campaign; may be left out if there is one.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Open the campaign of this file first.")] = None,
    guidance: Annotated[
        str, typer.Option("--guidance", help="What today is about; KNOB=VALUE in it is proposed.")
    ] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KNOB=VALUE", help="Propose exactly this.")
    ] = None,
    identical: Annotated[
        str | None,
        typer.Option("--identical", metavar="REASON", help="Propose the same config again, for this reason."),
    ] = None,
    source: Annotated[
        Source | None, typer.Option("--source", help="Who asks for what is set, or who chooses where nothing is.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draft the proposal of a ferry's next run: what has happened since the last one, what could change, what does.

    It launches nothing. An open proposal of the same ferry gives way to it.
    """
    from pilothouse.campaigns.ferry_plan import Asked
    from pilothouse.knobs.assignment import read_assignments
    from pilothouse.wiring.ferry_drafting import Chooser, draft_now, ferry_of
    from pilothouse.wiring.workspace import open_workspace

    if settings and identical:
        raise typer.BadParameter("--set and --identical exclude each other", param_hint="--set")
    if identical is not None and not identical.strip():
        raise typer.BadParameter("the same config again needs a reason in words", param_hint="--identical")
    asks = bool(settings or identical)
    if asks and source is Source.RULES:
        raise typer.BadParameter("the rules ask for nothing: leave it out with --set and --identical")
    chooser = Chooser.FILE if asks or source in {None, Source.PERSON} else Chooser(source or "")
    definition = None
    if file is not None:
        from pilothouse.cli.campaign import read_file

        definition = ferry_of(read_file(file))
    workspace = open_workspace(settings_of(ctx), create=True) if file is not None else open_existing(ctx)
    overrides = None
    if settings:
        known = definition or _stored(ctx, campaign)
        overrides = read_assignments(tuple(settings), known.knob_rules())
    drafted = draft_now(
        workspace,
        name=campaign,
        definition=definition,
        asked=Asked(overrides=overrides, identical=identical or "", source=(source or Source.PERSON).value),
        guidance=guidance,
        chooser=chooser,
    )
    if as_json:
        print_json(_values(drafted))
        return
    from pilothouse.proposals.ferry_request import request_text, request_title

    say(f"# {request_title(drafted.request)}\n\n{request_text(drafted.request)}")
    own = own_command(settings_of(ctx))
    note(f"next: {own} proposal approve {drafted.ferry.proposal.id}, then {own} campaign run {file or 'FILE'} --once")


def _values(drafted: Drafted) -> dict[str, Json]:
    from pilothouse.proposals.ferry_request import request_text, request_title
    from pilothouse.proposals.window import changes_json

    proposal, ferry = drafted.ferry.proposal, drafted.ferry.ferry
    return {
        "proposal": proposal.id,
        "ferry": ferry.number,
        "run": ferry.run,
        "changes": changes_json(proposal.changes),
        "rationale": proposal.rationale,
        "why_not_identical": proposal.why_not_identical,
        "hypothesis": proposal.hypothesis,
        "risk": proposal.risk.value,
        "rollback": proposal.rollback,
        "source": proposal.source,
        "subject_digest": proposal.subject.digest(),
        "considered": dict(ferry.considered),
        "title": request_title(drafted.request),
        "text": request_text(drafted.request),
    }


def _stored(ctx: typer.Context, name: str | None) -> FerryDefinition:
    from pilothouse.campaigns.kinds import definition_of
    from pilothouse.operations.campaign_snapshot import find_campaign
    from pilothouse.wiring.ferry_drafting import ferry_of

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        return ferry_of(definition_of(find_campaign(tx, workspace.product, name).definition))
