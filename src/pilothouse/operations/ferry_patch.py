"""Ask for a patch of a ferry's small bug, and keep what came of it.

A patch is kept in one transaction: what the agent did, the logbook's entry, and the letters from which its branch and
its pull request are made. A branch is made from the letters alone and may be made again, so a kill in between loses
nothing and pays for nothing twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pilothouse.campaigns.ferry import ProposePatch
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import SHA_CHARACTERS, patch_letters
from pilothouse.campaigns.ferry_trace import last_place
from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json
from pilothouse.errors import Refused
from pilothouse.logbook.entry import NewEntry
from pilothouse.operations.ferry_facts import admitted
from pilothouse.operations.ferry_patches import ABOUT
from pilothouse.operations.ferry_post import post_all, sender_of
from pilothouse.operations.ferry_runs import evidence_of
from pilothouse.operations.note_agent import note_agent
from pilothouse.operations.record_entry import record_entry
from pilothouse.ports.patcher import Patched
from pilothouse.ports.store import Transaction
from pilothouse.proposals.patch import Bounds, Patch, PatchQuestion, branch_of_patch


def patch_question(
    tx: Transaction, action: ProposePatch, *, definition: FerryDefinition, campaign: Campaign, kept: tuple[str, ...]
) -> PatchQuestion:
    """Return what an agent is asked after this failure; `kept` are files that no patch may change.

    A ferry whose code is in no commit is `Refused`: nobody could tell what the patch was made for.
    """
    table = definition.ferry.patch
    assert table is not None, "a patch is asked for where the file lets an agent make one"
    commit = admitted(tx, campaign, action.number).subject.code_commit
    if len(commit) != SHA_CHARACTERS:
        raise Refused(
            f"ferry {action.number} ran code that is in no commit ({commit[:60]})",
            fix="commit before a launch: a patch is made for one commit",
        )
    log = evidence_of(tx.campaigns.incidents(campaign.product, campaign.name), action.job)
    place = last_place(log)
    own = (definition.ferry.template, definition.ferry.recipe)
    return PatchQuestion(
        run=action.job,
        commit=commit,
        signature=action.failure.signature,
        detail=action.failure.detail,
        log=log,
        bounds=Bounds(paths=tuple(table.paths), lines=table.lines, kept=tuple(name for name in (*own, *kept) if name)),
        file="" if place is None else place.file,
        line=0 if place is None else place.line,
    )


def keep_patch(
    tx: Transaction,
    action: ProposePatch,
    patched: Patched,
    *,
    definition: FerryDefinition,
    campaign: Campaign,
    now: datetime,
) -> None:
    """Store what came of asking, record it, and post the patch where there is one; kept twice it is kept once."""
    about = f"{ABOUT}{action.job}"
    if any(each.about == about for each in tx.agents.runs(campaign.product, campaign.name)):
        return
    proposal, patch = admitted(tx, campaign, action.number), patched.patch
    refusal = "" if patched.refusal is None else f"{patched.refusal.message}; {patched.refusal.fix}"
    branch = "" if patch is None else branch_of_patch(action.job)
    told = replace(patched.told, record={**patched.told.record, **_about(patch, branch)})
    note_agent(tx, proposal, told, now=now, instead=refusal, about=about)
    entry = _entry(action, patch, branch, refusal)
    record_entry(tx, entry, product=campaign.product, thread=campaign.name, now=now)
    if patch is not None:
        sender = sender_of(definition, campaign, _run_of(tx, campaign, action))
        post_all(tx, patch_letters(sender, patch, job=action.job, signature=action.failure.signature), now=now)


def _about(patch: Patch | None, branch: str) -> dict[str, Json]:
    if patch is None:
        return {"branch": ""}
    files: list[Json] = [*sorted(patch.files)]
    return {"branch": branch, "base": patch.base, "files": files, "lines": patch.lines, "rationale": patch.rationale}


def _run_of(tx: Transaction, campaign: Campaign, action: ProposePatch) -> str:
    ferries = tx.ferries.listed(campaign.product, campaign.name)
    return next(each.run for each in ferries if each.number == action.number)


def _entry(action: ProposePatch, patch: Patch | None, branch: str, refusal: str) -> NewEntry:
    signature = action.failure.signature
    if patch is None:
        label, made, next_action = "the patch was not taken", "no patch", "a person mends it"
    else:
        label, made = "a patch is proposed", f"{branch}: {patch.lines} lines in {', '.join(sorted(patch.files))}"
        next_action = f"a person reads `git show {branch}` and merges it, or mends it otherwise"
    return NewEntry(
        label=f"{action.job}: {label}",
        hypothesis="none: a small bug",
        command="",
        config="",
        result=f"{signature}: {made}",
        interpretation=refusal if patch is None else patch.rationale,
        next_action=next_action,
        confidence="exploratory",
        evidence={"job": action.job, **_about(patch, branch)},
    )
