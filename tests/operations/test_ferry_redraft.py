"""A ferry that is proposed anew keeps what was asked for, and one that sails keeps its config and its step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import START, TEXT, definition_of

from pilothouse.access.audit import Actor
from pilothouse.campaigns.action import Submit
from pilothouse.campaigns.ferry import ferry_step, relaunch_words
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.record import Campaign
from pilothouse.fleet.job import Job
from pilothouse.ids import CampaignName, ProductId, ProposalId, RunId
from pilothouse.logbook.letter import GITHUB
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.cancel import cancel
from pilothouse.operations.ferry_draft import Drafting, draft_ferry
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.ferry_launch import launch_ferry, tell_waiting, underway
from pilothouse.operations.ferry_watch import own_monitor
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.proposals.proposal import Proposal
from pilothouse.proposals.window import Commits
from pilothouse.store.sqlite.store import SqliteStore

PRODUCT, NAME = ProductId("default"), CampaignName("daily")
DEFINITION = definition_of()
CANARY = definition_of(TEXT.partition("[knobs")[0] + "[metrics" + TEXT.partition("[metrics")[2] + 'form = "canary"\n')
PATCH = f"{relaunch_words(1)} for this failure: NameError: batch"


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


def propose(store: SqliteStore, asked: Asked, *, commit: str, guidance: str = "", again: bool = True) -> Proposal:
    """Draft ferry 1."""
    with store.write() as tx:
        count = len(tx.proposals.listed(PRODUCT, NAME))
        drafting = Drafting(
            number=1,
            due=None,
            material=Material(commits=Commits(head=commit), issues=(), issues_from="none", guidance=guidance),
            asked=asked,
            template=None,
            code_commit=commit,
            identity=ProposalId(f"proposal-{count + 1}"),
            again=again,
        )
        return draft_ferry(tx, drafting, definition=DEFINITION, campaign=campaign_of(tx), now=START).proposal


def admit(store: SqliteStore, proposal: Proposal, *, commit: str) -> None:
    """Say yes to it, and bring it to the gate."""
    request = ApprovalRequest(proposal=proposal.id, approver=Actor(name="ada"), reason="", expires_in="1d")
    with store.write() as tx:
        approve_proposal(tx, request, product=PRODUCT, now=START)
        admit_proposal(tx, proposal, definition=DEFINITION, campaign=campaign_of(tx), code_commit=commit, now=START)


def launch(store: SqliteStore, *, generation: int = 0, definition: FerryDefinition = DEFINITION) -> Job:
    """Launch the ferry that is underway."""
    with store.write() as tx:
        ferry = underway(tx, campaign_of(tx))
        assert ferry is not None
        step = ferry_step(definition, ferry.trial, ferry.ferry, 0)
        action = Submit(step=step, generation=generation, beside=(step,))
        return launch_ferry(tx, action, definition=definition, campaign=campaign_of(tx), watcher="ada", now=START)


@pytest.mark.parametrize("patch", [PATCH, ""])
def test_a_relaunch_of_a_ferry_that_sails_proposes_the_very_change_that_was_approved(
    store: SqliteStore, patch: str
) -> None:
    """After a patch, and where code moved before an infrastructure relaunch: same config, same step, same run."""
    first = propose(store, Asked(overrides={"lr": 0.2}), commit="c0")
    admit(store, first, commit="c0")
    job = launch(store)
    with store.write() as tx:
        cancel(tx, job.id, now=START)

    again = propose(store, Asked(patch=patch), commit="c1")
    admit(store, again, commit="c1")
    relaunched = launch(store, generation=1)

    assert again.config == first.config
    assert again.changes == first.changes
    assert again.why_not_identical.startswith(patch)
    assert relaunched.id == f"{job.id}-r2"
    assert relaunched.key.rpartition("#")[0] == job.key.rpartition("#")[0]
    with store.write() as tx:
        taken = own_monitor(tx, PRODUCT, RunId(relaunched.id), owner="grace", given_by="ada", now=START)
    assert (str(taken.run), taken.owner) == (str(job.id), "grace")


def test_a_relaunch_whose_step_is_another_one_has_a_name_of_its_own(store: SqliteStore) -> None:
    """The patch may be in the file itself: another command is another step, and begins without a launch behind it."""
    admit(store, propose(store, Asked(), commit="c0"), commit="c0")
    job = launch(store)
    mended = definition_of(TEXT.replace('"train.py"', '"mended.py"'))

    relaunched = launch(store, definition=mended)
    same = launch(store, definition=mended)

    assert relaunched.id == same.id == f"{job.id}-r2"


@pytest.mark.parametrize(
    ("asked", "guidance"),
    [
        (Asked(overrides={"lr": 0.2}), ""),
        (Asked(overrides={"lr": 0.2}, source="agent"), ""),
        (Asked(identical="confirm the new driver"), ""),
        (Asked(), "try lr=0.2 today"),
    ],
)
def test_what_somebody_asked_for_is_still_asked_for_when_its_proposal_has_drifted(
    store: SqliteStore, asked: Asked, guidance: str
) -> None:
    """The yes is void, and the wish is not."""
    first = propose(store, asked, commit="c0", guidance=guidance)
    with store.write() as tx:
        admit_proposal(tx, first, definition=DEFINITION, campaign=campaign_of(tx), code_commit="c1", now=START)

    again = propose(store, Asked(), commit="c1")

    assert first.source != "rules"
    assert again.subject.code_commit == "c1"
    assert (again.changes, again.source) == (first.changes, first.source)
    assert again.why_not_identical == first.why_not_identical


def test_a_person_who_asks_for_something_else_gets_that(store: SqliteStore) -> None:
    """A wish is repeated only where nothing else is asked for."""
    first = propose(store, Asked(overrides={"lr": 0.2}), commit="c0")
    with store.write() as tx:
        admit_proposal(tx, first, definition=DEFINITION, campaign=campaign_of(tx), code_commit="c1", now=START)

    assert propose(store, Asked(), commit="c1", again=False).changes == ()
    assert propose(store, Asked(overrides={"lr": 0.05}), commit="c1").config["lr"] == 0.05


@pytest.mark.parametrize("definition", [DEFINITION, CANARY], ids=["daily", "canary"])
def test_a_failure_that_waits_for_somebody_is_told_before_anybody_answers(
    store: SqliteStore, definition: FerryDefinition
) -> None:
    """With its class and what it waits for, once; without a failure there is nothing to tell."""
    admit(store, propose(store, Asked(), commit="c0"), commit="c0")
    job = launch(store, definition=definition)

    def told() -> list[tuple[str, str]]:
        with store.write() as tx:
            tell_waiting(tx, definition=definition, campaign=campaign_of(tx), answer="waits for a patch", now=START)
            found = tx.outbox.listed(LetterQuery(product=PRODUCT, channel=GITHUB, limit=100))
        return [
            (each.letter.key, str(each.letter.body["text"]))
            for each in found
            if "waits for a patch" in str(each.letter.body.get("text"))
        ]

    assert told() == []
    with store.write() as tx:
        cancel(tx, job.id, now=START)

    assert told() == told()
    ((key, text),) = told()
    assert key == f"{job.id}/{'issue' if definition is CANARY else 'incident-1'}"
    assert "**cancelled**" in text
