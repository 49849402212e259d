"""Draft a ferry's proposal now, for whoever asks: the material is gathered outside any transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from pilothouse.campaigns.definition import Definition
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.kinds import definition_of
from pilothouse.campaigns.record import Campaign
from pilothouse.errors import UsageError
from pilothouse.ids import ProposalId, mint
from pilothouse.operations.campaign_snapshot import find_campaign
from pilothouse.operations.ferry_answer import answer_to, money_refusal
from pilothouse.operations.ferry_draft import (
    DraftedFerry,
    Drafting,
    draft_ferry,
    next_number,
    question_for,
    request_of,
)
from pilothouse.operations.ferry_facts import material_of
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.ports.proposer import never
from pilothouse.proposals.ferry_request import Request
from pilothouse.wiring.conditions import code_commit
from pilothouse.wiring.ferry_agents import drafter_of, named_drafter
from pilothouse.wiring.ferry_repository import keep_in_repository
from pilothouse.wiring.ferry_sources import GitHistory, NoIssues
from pilothouse.wiring.publishing import issues_of
from pilothouse.wiring.workspace import Workspace


class Chooser(StrEnum):
    """Who chooses a change that nobody has asked for: whom the file names, or one of the two in any case."""

    FILE = "file"
    RULES = "rules"
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted:
    """A stored proposal, and the pull request that tells it."""

    ferry: DraftedFerry
    request: Request


def ferry_of(definition: Definition) -> FerryDefinition:
    """Return the definition of a ferry; one of another kind is a `UsageError`."""
    if not isinstance(definition, FerryDefinition):
        raise UsageError(
            f"campaign {definition.campaign.name} is of kind {definition.campaign.kind!r}, and not a ferry",
            fix='name a campaign of kind "ferry"; the other kinds draft their proposals while they run',
        )
    return definition


def draft_now(
    workspace: Workspace,
    *,
    name: str | None,
    definition: FerryDefinition | None,
    asked: Asked,
    guidance: str,
    chooser: Chooser = Chooser.FILE,
) -> Drafted:
    """Return the proposal of a campaign's next ferry, stored and posted; an open one of the same ferry gives way.

    The campaign is the stored one of that name, or is opened with the definition. `chooser` says who chooses the change
    where nobody has asked for one.
    """
    campaign, definition = _campaign(workspace, name=name, definition=definition)
    history, now = GitHistory(Path.cwd()), workspace.clock.now()
    material = material_of(
        workspace.store.read,
        campaign,
        history=history,
        issues=issues_of(workspace) or NoIssues(),
        label=definition.ferry.issue_label,
        guidance=guidance,
    )
    template = history.read(definition.ferry.template) if definition.ferry.template else None
    commit = code_commit(workspace.home)
    identity = ProposalId(mint("proposal", now=now, entropy=workspace.clock.entropy()))
    with workspace.store.read() as tx:
        drafting = Drafting(
            number=next_number(tx, campaign),
            due=None,
            material=material,
            asked=asked,
            template=template,
            code_commit=commit,
            identity=identity,
        )
    drafting = _answered(workspace, drafting, definition=definition, campaign=campaign, chooser=chooser)
    now = workspace.clock.now()
    with workspace.store.write() as tx:
        stored = tx.campaigns.get(campaign.product, campaign.name)
        assert stored is not None, f"campaign {campaign.name} was opened before"
        drafting = replace(drafting, number=next_number(tx, stored))
        drafted = draft_ferry(tx, drafting, definition=definition, campaign=stored, now=now)
    if definition.ferry.own_repository:
        keep_in_repository(workspace.store, campaign, Path.cwd())
    return Drafted(ferry=drafted, request=request_of(definition, campaign, drafted))


def _answered(
    workspace: Workspace, drafting: Drafting, *, definition: FerryDefinition, campaign: Campaign, chooser: Chooser
) -> Drafting:
    """Ask outside any transaction, since an agent takes its time."""
    always = chooser is Chooser.AGENT
    if chooser is Chooser.RULES:
        return drafting
    drafter = named_drafter(workspace, definition) if always else drafter_of(workspace, definition)
    if drafter is None:
        return drafting
    with workspace.store.read() as tx:
        question = question_for(tx, drafting, definition=definition, campaign=campaign, always=always)
        broke = money_refusal(tx, definition, campaign)
    if question is None and always:
        raise UsageError(
            f"campaign {campaign.name} leaves an agent nothing to choose",
            fix="name knobs in its file, or ask the rules",
        )
    if question is None:
        return drafting
    return replace(drafting, answered=answer_to(question, drafter, never, broke))


def _campaign(
    workspace: Workspace, *, name: str | None, definition: FerryDefinition | None
) -> tuple[Campaign, FerryDefinition]:
    if definition is not None:
        with workspace.store.write() as tx:
            return open_campaign(tx, definition, now=workspace.clock.now()), definition
    with workspace.store.read() as tx:
        campaign = find_campaign(tx, workspace.product, name)
    return campaign, ferry_of(definition_of(campaign.definition))
