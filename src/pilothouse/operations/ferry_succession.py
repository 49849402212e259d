"""How a draft follows the ones before it: which tick it answers, how its run is named, which pull request it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_letters import request_name
from pilothouse.campaigns.ferry_record import Ferry, day_of, numbered, run_name
from pilothouse.campaigns.ferry_schedule import Due
from pilothouse.campaigns.record import Campaign
from pilothouse.canonical import Json
from pilothouse.ids import JobId, RunId
from pilothouse.logbook.letter import GITHUB
from pilothouse.operations.ferry_launch import underway
from pilothouse.operations.ferry_withdraw import REVISION, revision_of
from pilothouse.ports.store import Transaction
from pilothouse.proposals.gate import DRIFTED, OVERTAKEN
from pilothouse.proposals.proposal import Proposal, State
from pilothouse.proposals.window import SHOWN_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was drafted for the same ferry before: its record, its newest proposal, and whether it sails already."""

    ferry: Ferry | None
    proposal: Proposal | None
    sails: bool

    @property
    def open(self) -> Proposal | None:
        """The proposal that waits for its answer; that of a ferry that sails is a relaunch, which no tick overtakes."""
        waits = self.proposal is not None and self.proposal.state is State.OPEN and not self.sails
        return self.proposal if waits else None

    @property
    def drifted(self) -> bool:
        """Whether the newest proposal is void by drift alone."""
        last = self.proposal
        return last is not None and last.state is State.REJECTED and last.refusal.startswith(DRIFTED)

    @property
    def continued(self) -> Ferry | None:
        """The ferry whose asking the next draft goes on with; None where there is none, or a no has ended it."""
        return self.ferry if self.sails or self.open is not None or self.drifted else None


def drafted_before(tx: Transaction, campaign: Campaign, number: int) -> Before:
    """Return what was drafted for the ferry of this number before."""
    ferries = {each.number: each for each in tx.ferries.listed(campaign.product, campaign.name, least=number)}
    listed = tx.proposals.listed(campaign.product, campaign.name, least=number)
    earlier = [each for each in listed if each.number == number]
    return Before(
        ferry=ferries.get(number),
        proposal=earlier[-1] if earlier else None,
        sails=underway(tx, campaign) is not None,
    )


def overtake(tx: Transaction, before: Before, due: Due | None, *, by: str) -> None:
    """Reject the proposal that nobody has answered when the next tick is due; a yes to it no longer counts."""
    unanswered = before.open
    if due is not None and unanswered is not None:
        refusal = f"{OVERTAKEN}{due.tick:%Y-%m-%d %H:%M}Z, for which {by} is proposed"
        tx.proposals.move(unanswered.product, unanswered.id, state=State.REJECTED, refusal=refusal)


def succeeding_ferry(
    tx: Transaction,
    definition: FerryDefinition,
    campaign: Campaign,
    before: Before,
    *,
    number: int,
    due: Due | None,
    considered: Mapping[str, Json],
    now: datetime,
) -> Ferry:
    """Return the ferry as it stands with its new draft; a relaunch changes neither its tick nor its time."""
    known = before.continued
    tick = due.tick if due is not None else None if known is None else known.tick
    run = known.run if known is not None and due is None else _name(tx, definition, campaign, before, at=tick or now)
    return Ferry(
        product=campaign.product,
        campaign=campaign.name,
        number=number,
        run=run,
        tick=tick,
        drafted_at=known.drafted_at if known is not None and before.sails else now,
        considered={**considered, **_ticks(before, due), REVISION: _revision(tx, campaign, before, run)},
    )


def _name(tx: Transaction, definition: FerryDefinition, campaign: Campaign, before: Before, *, at: datetime) -> RunId:
    """Return the name of the day's run: the one it has where it is of this day; another one of a day is numbered."""
    table = definition.ferry.schedule
    day = table.schedule().day(at) if table is not None else at.astimezone(UTC).date()
    if before.ferry is not None and day_of(before.ferry.run) == day:
        return before.ferry.run
    stem = run_name(campaign=campaign.name, size=definition.ferry.size, day=day)
    number = 1
    while (
        tx.ferries.by_run(campaign.product, RunId(name := numbered(stem, number))) is not None
        or tx.jobs.by_id(JobId(name)) is not None
    ):
        number += 1
    return RunId(name)


def _ticks(before: Before, due: Due | None) -> dict[str, Json]:
    """Return how many ticks the draft answers besides its own, and the proposals that nobody answered."""
    known = before.continued
    missed, unanswered = _kept(known)
    if due is not None:
        missed += due.missed + (known is not None and known.tick is not None)
        if known is not None and before.open is not None:
            asked = known.tick or known.drafted_at
            unanswered.append({"proposal": before.open.id, "tick": f"{asked:%Y-%m-%d %H:%M}Z"})
    return {"missed_ticks": missed, "unanswered": unanswered[-SHOWN_MAX:]}


def _kept(known: Ferry | None) -> tuple[int, list[Json]]:
    """Return what the draft before had counted."""
    considered = {} if known is None else known.considered
    missed, unanswered = considered.get("missed_ticks"), considered.get("unanswered")
    return missed if isinstance(missed, int) else 0, list(unanswered) if isinstance(unanswered, list) else []


def _revision(tx: Transaction, campaign: Campaign, before: Before, run: RunId) -> int:
    """Return which pull request of its run the draft is, from 1; a key that was posted is never used again."""
    revision = 1
    if before.ferry is not None and before.ferry.run == run:
        revision += revision_of(before.ferry)
    while tx.outbox.by_key(campaign.product, GITHUB, f"{run}/{request_name(revision)}") is not None:
        revision += 1
    return revision
