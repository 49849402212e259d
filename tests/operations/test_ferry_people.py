"""Who may do what to a ferry: approve it on a forge, own its monitor, cancel nobody's watch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import START, TEXT, definition_of

from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.ferry_record import Monitor
from pilothouse.errors import Conflict, NotApproved, NotFound, PilothouseError, Refused
from pilothouse.ids import ProductId, ProposalId, RunId
from pilothouse.logbook.letter import GITHUB
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.approve_from_forge import ForgeApproval, approve_from_forge
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.ferry_draft import DraftedFerry, Drafting, draft_ferry
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.ferry_watch import own_monitor
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.proposals.window import Commits
from pilothouse.store.sqlite.store import SqliteStore

PRODUCT = ProductId("default")
DEFINITION = definition_of(TEXT.replace('size = "125m"', 'size = "125m"\napprovers = ["@ada"]'))
RUN = RunId("daily-125m-2026-11-22")
YES = ForgeApproval(
    pull_request="7",
    head="a" * 40,
    approver="ada",
    permission="write",
    digest="",
    url="https://forge.test/7#review",
    at=START,
)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[SqliteStore]:
    """Return a store with one ferry that is proposed, and whose pull request has arrived as number 7."""
    store = SqliteStore(tmp_path / "pilothouse.db")
    with store.write() as tx:
        open_campaign(tx, DEFINITION, now=START)
    propose(store, "proposal-1")
    with store.write() as tx:
        for name, remote in (("proposal/commit", "c"), ("proposal", "7")):
            posted = tx.outbox.by_key(PRODUCT, GITHUB, f"{RUN}/{name}")
            assert posted is not None
            begun = tx.outbox.begin(posted)
            assert begun is not None
            tx.outbox.sent(begun, remote=remote, answer={"number": remote, "head": "a" * 40}, now=START)
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


def test_a_yes_on_the_forge_opens_the_gate_for_exactly_that_proposal(store: SqliteStore) -> None:
    """Given twice it is one approval; it names where it was given."""
    with store.write() as tx:
        first = approve_from_forge(tx, YES, product=PRODUCT, now=START)
        again = approve_from_forge(tx, YES, product=PRODUCT, now=START)
        campaign = tx.campaigns.listed(PRODUCT)[0]
        proposal = tx.proposals.listed(PRODUCT, campaign.name)[0]
        trial = admit_proposal(
            tx, proposal, definition=DEFINITION, campaign=campaign, code_commit="c0", now=START + timedelta(hours=1)
        )

        assert first == again
        assert len(tx.proposals.approvals(PRODUCT, campaign.name)) == 1
        assert first.reason == "on the forge: https://forge.test/7#review"
        assert trial is not None


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (replace(YES, approver="mallory"), Refused, "mallory is not among the approvers"),
        (replace(YES, permission="read"), Refused, "permission 'read'"),
        (replace(YES, head="b" * 40), Refused, "is for head bbbbbbbbbbbb"),
        (replace(YES, digest="0" * 64), Refused, "names subject 000000000000"),
        (replace(YES, pull_request="8"), NotFound, "pull request 8 tells no proposal"),
    ],
)
def test_a_yes_that_does_not_count_is_refused_by_name(
    store: SqliteStore, given: ForgeApproval, error: type[PilothouseError], said: str
) -> None:
    """Another person, another permission, another head, another digest, another pull request."""
    with pytest.raises(error, match=said), store.write() as tx:
        approve_from_forge(tx, given, product=PRODUCT, now=START)
    with store.read() as tx:
        assert tx.proposals.approvals(PRODUCT, tx.campaigns.listed(PRODUCT)[0].name) == []


def test_a_yes_to_a_proposal_that_gave_way_is_refused(store: SqliteStore) -> None:
    """The newer proposal has a pull request of its own."""
    propose(store, "proposal-2", commit="c1")

    with pytest.raises(Conflict, match="proposal-1 is rejected already"), store.write() as tx:
        approve_from_forge(tx, YES, product=PRODUCT, now=START)
    with store.read() as tx:
        assert tx.outbox.by_key(PRODUCT, GITHUB, f"{RUN}/proposal-2") is not None


@pytest.mark.parametrize("approver", ["mallory", "ada"])
def test_only_a_named_approver_s_yes_from_the_command_line_counts(store: SqliteStore, approver: str) -> None:
    """It is on record, and the gate stays shut for all but the people in the file."""
    request = ApprovalRequest(proposal="proposal-1", approver=approver, reason="", expires_in="1d")
    with store.write() as tx:
        approve_proposal(tx, request, product=PRODUCT, now=START)
        campaign = tx.campaigns.listed(PRODUCT)[0]
        proposal = tx.proposals.listed(PRODUCT, campaign.name)[0]
        refused = contextlib.nullcontext() if approver == "ada" else pytest.raises(NotApproved)
        with refused:
            admit_proposal(tx, proposal, definition=DEFINITION, campaign=campaign, code_commit="c0", now=START)


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
