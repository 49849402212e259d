"""Drafts that follow one another: ticks that nobody answered, the names of runs, what becomes of pull requests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import DAILY, START, TEXT, definition_of

from pilothouse.access.audit import Actor
from pilothouse.campaigns.action import Submit
from pilothouse.campaigns.ferry import ferry_step
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.ferry_schedule import Due
from pilothouse.campaigns.record import Campaign, Trial, TrialState
from pilothouse.errors import Conflict, NotApproved
from pilothouse.ids import CampaignName, ProductId, ProposalId
from pilothouse.logbook.letter import GITHUB, LOCAL, Kind
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.ferry_draft import DraftedFerry, Drafting, draft_ferry, request_of
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.ferry_launch import launch_ferry, underway
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.reject_proposal import Rejection, reject_proposal
from pilothouse.operations.waive_gate import WaiverRequest, waive_gate
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.proposals.ferry_request import request_text
from pilothouse.proposals.gate import OVERTAKEN
from pilothouse.proposals.proposal import State
from pilothouse.proposals.window import Commits
from pilothouse.store.sqlite.store import SqliteStore

PRODUCT, NAME = ProductId("default"), CampaignName("daily")
DEFINITION = definition_of(TEXT + DAILY)
DAY = timedelta(days=1)
WISH = Asked(overrides={"lr": 0.2})


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return a store with the campaign."""
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        open_campaign(tx, DEFINITION, now=START)
    yield store
    store.close()


def campaign_of(tx: Transaction) -> Campaign:
    """Return the campaign as it stands."""
    stored = tx.campaigns.get(PRODUCT, NAME)
    assert stored is not None
    return stored


def draft(
    store: SqliteStore,
    *,
    tick: datetime | None = None,
    missed: int = 0,
    commit: str = "c0",
    asked: Asked | None = None,
    now: datetime | None = None,
    number: int = 1,
) -> DraftedFerry:
    """Draft a ferry, for a tick or by hand."""
    now = now or tick or START
    with store.write() as tx:
        drafting = Drafting(
            number=number,
            due=Due(tick=tick, missed=missed) if tick is not None else None,
            material=Material(commits=Commits(head=commit), issues=(), issues_from="none"),
            asked=asked or Asked(),
            template=None,
            code_commit=commit,
            identity=ProposalId(f"proposal-{len(tx.proposals.listed(PRODUCT, NAME)) + 1}"),
            again=asked is None,
        )
        return draft_ferry(tx, drafting, definition=DEFINITION, campaign=campaign_of(tx), now=now)


def approve(store: SqliteStore, proposal: str, *, now: datetime) -> None:
    """Say yes as ada."""
    request = ApprovalRequest(proposal=proposal, approver=Actor(name="ada"), reason="", expires_in="30d")
    with store.write() as tx:
        approve_proposal(tx, request, product=PRODUCT, now=now)


def admit(store: SqliteStore, drafted: DraftedFerry, *, commit: str = "c0", now: datetime) -> Trial | None:
    """Bring a proposal to the gate."""
    with store.write() as tx:
        return admit_proposal(
            tx, drafted.proposal, definition=DEFINITION, campaign=campaign_of(tx), code_commit=commit, now=now
        )


def closings(store: SqliteStore) -> dict[str, str]:
    """Return what was posted to close pull requests, oldest first: texts and reasons by key."""
    with store.read() as tx:
        posted = tx.outbox.listed(LetterQuery(channel=GITHUB, limit=200))
    return {
        each.letter.key: str(each.letter.body.get("text") or each.letter.body.get("reason"))
        for each in reversed(posted)
        if each.letter.kind in {Kind.COMMENT, Kind.CLOSE}
    }


def test_the_next_tick_overtakes_what_nobody_answered_and_says_so(store: SqliteStore) -> None:
    """Rejected by name of the tick, closed outside with its reason, and told in the text of the one that follows."""
    first = draft(store, tick=START)
    second = draft(store, tick=START + DAY)

    with store.read() as tx:
        (older, newer) = tx.proposals.listed(PRODUCT, NAME)
        local = [each.letter.key for each in tx.outbox.listed(LetterQuery(channel=LOCAL, limit=99))]
        text = request_text(request_of(DEFINITION, campaign_of(tx), second))
    assert (older.state, newer.state) == (State.REJECTED, State.OPEN)
    assert older.refusal == f"{OVERTAKEN}2026-11-23 06:00Z, for which {newer.id} is proposed"
    request = f"{first.ferry.run}/proposal"
    assert closings(store) == {
        f"{request}/withdrawn": (
            f"Proposal `{older.id}` is closed, and a yes to it no longer counts: {older.refusal}.\n"
        ),
        f"{request}/close": "not_planned",
    }
    assert {f"github/{request}/withdrawn", f"github/{request}/close"} <= set(local)
    assert "- ticks before this one that it answers as well: 1 (" in text
    assert f"`{older.id}` of 2026-11-22 06:00Z, which nobody answered" in text


def test_a_run_carries_the_date_of_its_own_tick(store: SqliteStore) -> None:
    """Overtaken, rejected or drafted anew on the same day: in the schedule's zone, and a day's name is kept."""
    first = draft(store, tick=START)
    same_day = draft(store, tick=START + timedelta(hours=6))
    overtaken = draft(store, tick=START + DAY)
    with store.write() as tx:
        reject_proposal(
            tx,
            Rejection(proposal=overtaken.proposal.id, by=Actor(name="ada"), reason="not now"),
            product=PRODUCT,
            now=START + DAY,
        )
    after_no = draft(store, tick=START + 3 * DAY)
    drifted = draft(store, commit="c1", now=START + 4 * DAY)

    runs = [each.ferry.run for each in (first, same_day, overtaken, after_no, drifted)]
    assert [run.removeprefix("daily-125m-2026-11-") for run in runs] == ["22", "22", "23", "25", "25"]
    assert after_no.ferry.considered["missed_ticks"] == 0
    assert after_no.ferry.considered["unanswered"] == []


def test_each_draft_of_a_run_has_a_pull_request_of_its_own_and_only_the_last_stays_open(store: SqliteStore) -> None:
    """By hand, by drift, by a tick on the same day and on another."""
    drafts = [
        draft(store, tick=START),
        draft(store, asked=WISH),
        draft(store, tick=START + timedelta(hours=1)),
        draft(store, tick=START + DAY),
        draft(store, asked=WISH, now=START + DAY),
    ]

    with store.read() as tx:
        listed = tx.outbox.listed(LetterQuery(channel=GITHUB, kind=Kind.PULL_REQUEST, limit=99))
    opened = [each.letter.key for each in reversed(listed)]
    closed = [key.removesuffix("/close") for key, text in closings(store).items() if text == "not_planned"]
    day, next_day = "daily-125m-2026-11-22", "daily-125m-2026-11-23"
    assert opened == [
        f"{day}/proposal",
        *(f"{day}/proposal-{n}" for n in (2, 3)),
        *(f"{next_day}/{name}" for name in ("proposal", "proposal-2")),
    ]
    assert closed == opened[:-1]
    assert len({each.proposal.id for each in drafts}) == len(opened)


def test_a_person_s_no_closes_the_pull_request_at_once(store: SqliteStore) -> None:
    """With the reason, in the transaction of the no; the draft of the next tick closes nothing twice."""
    first = draft(store, tick=START)
    with store.write() as tx:
        rejection = Rejection(proposal=first.proposal.id, by=Actor(name="ada"), reason="not *today*")
        reject_proposal(tx, rejection, product=PRODUCT, now=START)
    told = closings(store)

    draft(store, tick=START + DAY)

    assert list(told) == [f"{first.ferry.run}/proposal/withdrawn", f"{first.ferry.run}/proposal/close"]
    assert "rejected by ada: not *today*" in next(iter(told.values()))
    assert closings(store) == told


def test_a_yes_to_what_was_overtaken_opens_no_gate(store: SqliteStore) -> None:
    """Neither one that was given before nor one that comes after, though both proposals are of the same subject."""
    first = draft(store, tick=START)
    approve(store, first.proposal.id, now=START)
    second = draft(store, tick=START + DAY)

    assert second.proposal.subject == first.proposal.subject
    with pytest.raises(Conflict, match=f"rejected already: superseded by the tick .* {second.proposal.id}"):
        approve(store, first.proposal.id, now=START + DAY)
    with pytest.raises(NotApproved):
        admit(store, second, now=START + DAY)
    approve(store, second.proposal.id, now=START + DAY)
    assert admit(store, second, now=START + DAY) is not None


def test_a_yes_launches_one_ferry_and_not_the_same_again(store: SqliteStore) -> None:
    """Each launch is asked for, though the ferry after it is a rerun of the same config on the same code."""
    first = draft(store)
    approve(store, first.proposal.id, now=START)
    trial = admit(store, first, now=START)
    assert trial is not None
    with store.write() as tx:
        tx.campaigns.put_trial(replace(trial, state=TrialState.JUDGED, ended_at=START))
    second = draft(store, number=2, now=START + DAY)

    assert second.proposal.subject == first.proposal.subject
    with pytest.raises(NotApproved, match="nobody has said yes"):
        admit(store, second, now=START + DAY)
    approve(store, second.proposal.id, now=START + DAY)
    assert admit(store, second, now=START + DAY) is not None


def test_what_a_person_asked_for_is_asked_for_again_at_the_tick_and_an_agent_is_asked_anew(store: SqliteStore) -> None:
    """A wish does not lapse with its proposal; what an agent chose it chose before it saw what came since."""
    wished = draft(store, asked=WISH)
    again = draft(store, tick=START + DAY)
    chosen = draft(store, asked=Asked(overrides={"lr": 0.05}, source="agent:tidy"), now=START + DAY)
    anew = draft(store, tick=START + 2 * DAY)

    assert (again.proposal.changes, again.proposal.source) == (wished.proposal.changes, "person")
    assert chosen.proposal.source == "agent:tidy"
    assert (anew.proposal.changes, anew.proposal.source) == ((), "rules")


def test_a_relaunch_keeps_the_tick_and_the_time_of_its_ferry_and_closes_the_request_before(store: SqliteStore) -> None:
    """The ticks that came while it waited for its patch are still to be answered."""
    first = draft(store, tick=START)
    approve(store, first.proposal.id, now=START)
    trial = admit(store, first, now=START)
    assert trial is not None
    with store.write() as tx:
        ferry = underway(tx, campaign_of(tx))
        assert ferry is not None
        step = ferry_step(DEFINITION, ferry.trial, ferry.ferry, 0)
        action = Submit(step=step, generation=0, beside=(step,))
        launch_ferry(tx, action, definition=DEFINITION, campaign=campaign_of(tx), watcher="ada", now=START)

    again = draft(store, asked=Asked(patch="relaunch 1 after a patch"), commit="c1", now=START + 3 * DAY)

    assert (again.ferry.run, again.ferry.tick, again.ferry.drafted_at) == (first.ferry.run, START, START)
    assert closings(store)[f"{first.ferry.run}/proposal/close"] == "not_planned"
    assert again.ferry.considered["revision"] == 2


def test_no_waiver_lets_through_what_a_person_refused_whatever_else_was_approved(store: SqliteStore) -> None:
    """A yes to another change says nothing of this one; only one to exactly this would."""
    wished = draft(store, asked=WISH)
    approve(store, wished.proposal.id, now=START)
    refused = draft(store, asked=Asked(identical="again"))
    grant = WaiverRequest(by="ada", reason="r", knobs=[], buckets=[], risk="high", proposals=9, expires_in="30d")
    with store.write() as tx:
        rejection = Rejection(proposal=refused.proposal.id, by=Actor(name="ada"), reason="no")
        reject_proposal(tx, rejection, product=PRODUCT, now=START)
        waive_gate(tx, grant, campaign=campaign_of(tx), identity="w-1", code_commit="c1", now=START)

    again = draft(store, tick=START + DAY, commit="c1")

    assert again.proposal.source == "rules"
    assert again.proposal.config == refused.proposal.config
    assert admit(store, again, commit="c1", now=START + DAY) is None
    with store.read() as tx:
        assert tx.proposals.listed(PRODUCT, NAME)[-1].refusal.startswith("no waiver covers what a person has refused")
