"""Who may do what to a ferry: approve it, and own its monitor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import START, TEXT, definition_of

from pilothouse.access.audit import Actor
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.ferry_record import Monitor
from pilothouse.errors import Conflict, NotApproved, NotFound, Refused
from pilothouse.ids import ProductId, ProposalId, RunId
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.ferry_draft import DraftedFerry, Drafting, draft_ferry
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.ferry_watch import own_monitor
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.waive_gate import WaiverRequest, waive_gate
from pilothouse.proposals.window import Commits
from pilothouse.store.sqlite.store import SqliteStore

PRODUCT = ProductId("default")
DEFINITION = definition_of(TEXT.replace('size = "125m"', 'size = "125m"\napprovers = ["@ada"]'))
RUN = RunId("daily-125m-2026-11-22")


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return a store with one ferry that is proposed."""
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        open_campaign(tx, DEFINITION, now=START)
    propose(store, "proposal-1")
    yield store
    store.close()


def propose(store: SqliteStore, identity: str, *, commit: str = "c0") -> DraftedFerry:
    """Draft ferry 1."""
    drafting = Drafting(
        number=1,
        due=None,
        material=Material(commits=Commits(head=commit), issues=(), issues_from="none"),
        asked=Asked(),
        template=None,
        code_commit=commit,
        identity=ProposalId(identity),
    )
    with store.write() as tx:
        campaign = tx.campaigns.get(PRODUCT, open_campaign(tx, DEFINITION, now=START).name)
        assert campaign is not None
        return draft_ferry(tx, drafting, definition=DEFINITION, campaign=campaign, now=START)


@pytest.mark.parametrize("approver", ["mallory", "ada", "@ada", "ada@github", "mallory@github"])
def test_only_a_named_approver_s_yes_counts(store: SqliteStore, approver: str) -> None:
    """From the command line, the web or a forge: only those in the file say yes, for as long as they stand in it."""
    request = ApprovalRequest(proposal="proposal-1", approver=Actor(name=approver), reason="", expires_in="1d")
    with store.write() as tx:
        campaign = tx.campaigns.listed(PRODUCT)[0]
        proposal = tx.proposals.listed(PRODUCT, campaign.name)[0]
        if "ada" not in approver:
            with pytest.raises(Refused, match="none of those"):
                approve_proposal(tx, request, product=PRODUCT, now=START)
            assert tx.proposals.approvals(PRODUCT, campaign.name) == []
            return
        approve_proposal(tx, request, product=PRODUCT, now=START)
        others = definition_of(TEXT.replace('size = "125m"', 'size = "125m"\napprovers = ["grace"]'))
        with pytest.raises(NotApproved):
            admit_proposal(tx, proposal, definition=others, campaign=campaign, code_commit="c0", now=START)
        admit_proposal(tx, proposal, definition=DEFINITION, campaign=campaign, code_commit="c0", now=START)


def test_only_a_named_approver_s_waiver_opens_the_gate(store: SqliteStore) -> None:
    """Nobody else may grant one, and one of a person whom the file names no more opens nothing."""
    request = WaiverRequest(by="ada", reason="r", knobs=[], buckets=[], risk="high", proposals=9, expires_in="1d")
    others = definition_of(TEXT.replace('size = "125m"', 'size = "125m"\napprovers = ["grace"]'))
    with store.write() as tx:
        campaign = tx.campaigns.listed(PRODUCT)[0]
        proposal = tx.proposals.listed(PRODUCT, campaign.name)[0]
        with pytest.raises(Refused, match="mallory is none of those"):
            waive_gate(
                tx, replace(request, by="mallory"), campaign=campaign, identity="w-0", code_commit="c0", now=START
            )
        waive_gate(tx, request, campaign=campaign, identity="w-1", code_commit="c0", now=START)
        with pytest.raises(NotApproved):
            admit_proposal(tx, proposal, definition=others, campaign=campaign, code_commit="c0", now=START)
        assert admit_proposal(tx, proposal, definition=DEFINITION, campaign=campaign, code_commit="c0", now=START)


def test_a_monitor_is_handed_over_by_name_and_on_record(store: SqliteStore) -> None:
    """Refused to whoever does not name its owner; taken from nobody once it is stale; the logbook has both names."""
    monitor = Monitor(product=PRODUCT, run=RUN, owner="ada", taken_at=START)
    soon, late = START + timedelta(minutes=5), START + timedelta(hours=2)
    with store.write() as tx:
        tx.ferries.put_monitor(monitor)

    with pytest.raises(Conflict, match="watched by ada"), store.write() as tx:
        own_monitor(tx, PRODUCT, RUN, owner="grace", given_by=None, now=soon)
    with pytest.raises(Conflict, match="watched by ada"), store.write() as tx:
        own_monitor(tx, PRODUCT, RUN, owner="grace", given_by="mallory", now=soon)
    with store.write() as tx:
        same = own_monitor(tx, PRODUCT, RUN, owner="ada", given_by=None, now=soon)
        named = own_monitor(tx, PRODUCT, RUN, owner="grace", given_by="ada", now=soon)
        stale = own_monitor(tx, PRODUCT, RUN, owner="lin", given_by=None, now=late)
        entries = tx.entries.thread(PRODUCT, "daily")

    assert same == monitor
    assert (named.owner, stale.owner) == ("grace", "lin")
    assert [entry.body.result.partition(";")[0] for entry in entries] == ["from ada to grace", "from grace to lin"]
    assert "gone stale" in entries[-1].body.result


def test_a_run_of_no_ferry_has_no_monitor(store: SqliteStore) -> None:
    """Named, with the command that shows what there is."""
    with pytest.raises(NotFound, match="no ferry's run"), store.write() as tx:
        own_monitor(tx, PRODUCT, RunId("another"), owner="ada", given_by=None, now=START)
