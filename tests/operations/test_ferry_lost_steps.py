"""A ferry that does steps again says so where its people read: on its issue and in the chat, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from tests.campaigns.ferry_world import START, TEXT, definition_of

from pilothouse.campaigns.action import Submit
from pilothouse.campaigns.ferry import steps_of
from pilothouse.campaigns.ferry_definition import FerryDefinition
from pilothouse.campaigns.ferry_plan import Asked
from pilothouse.campaigns.record import Campaign
from pilothouse.fleet.claim import Grant
from pilothouse.fleet.job import Job, Progress
from pilothouse.ids import BootId, Epoch, FactoryName, ProposalId
from pilothouse.logbook.letter import DISCORD, GITHUB
from pilothouse.operations.admit_proposal import admit_proposal
from pilothouse.operations.claim import assign
from pilothouse.operations.ferry_draft import Drafting, draft_ferry
from pilothouse.operations.ferry_facts import Material
from pilothouse.operations.ferry_launch import launch_ferry, underway
from pilothouse.operations.ferry_watch import look_at
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.rescue import rescue
from pilothouse.operations.start import start
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.proposals.window import Commits
from pilothouse.store.sqlite.connection import MEMORY
from pilothouse.store.sqlite.store import SqliteStore

WAIVED = TEXT + '\n[gate]\napproval = "waived"\nwaived_by = "ada"\nreason = "a test"\n'


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    with closing(SqliteStore(MEMORY)) as store, store.write() as tx:
        yield tx


def launched(tx: Transaction, definition: FerryDefinition) -> tuple[Campaign, Job]:
    """Return a ferry's run as the fleet has it, with its campaign."""
    campaign = open_campaign(tx, definition, now=START)
    drafting = Drafting(
        number=1,
        due=None,
        material=Material(commits=Commits(head="c0"), issues=(), issues_from="none"),
        asked=Asked(),
        template=None,
        code_commit="c0",
        identity=ProposalId("proposal-1"),
    )
    drafted = draft_ferry(tx, drafting, definition=definition, campaign=campaign, now=START)
    admit_proposal(tx, drafted.proposal, definition=definition, campaign=campaign, code_commit="c0", now=START)
    found = underway(tx, campaign)
    assert found is not None
    (step,) = steps_of(definition, found.trial, found.ferry)
    action = Submit(step=step, generation=0)
    return campaign, launch_ferry(tx, action, definition=definition, campaign=campaign, watcher="ada", now=START)


def attempt(tx: Transaction, job: Job) -> Epoch:
    """Claim the run and start it afresh."""
    found = tx.jobs.by_id(job.id)
    assert found is not None
    session = tx.factories.open_session(found.product, FactoryName("here"), BootId("b"), now=START, expires=START)
    ((handover,), _) = assign(tx, [Grant(found.number, found.epoch, session)], now=START)
    start(tx, job.id, epoch=handover.epoch, pid=1, pid_started=1.0, now=START)
    return handover.epoch


def told(tx: Transaction, channel: str) -> list[str]:
    """Return what was told of steps that are done again."""
    letters = [each.letter for each in tx.outbox.listed(LetterQuery(channel=channel, limit=200))]
    return [str(letter.body["text"]) for letter in letters if "/steps-lost-" in letter.key]


@pytest.mark.parametrize("form", ["daily", "canary"])
def test_steps_that_are_done_again_are_told_once(tx: Transaction, form: str) -> None:
    """With their number and the folder that has them; a canary that may still pass is silent."""
    text = WAIVED if form == "daily" else WAIVED.replace('size = "125m"', 'size = "125m"\nform = "canary"')
    text = text if form == "daily" else text[: text.index("[knobs.lr]")] + text[text.index("[metrics.loss]") :]
    definition = definition_of(text)
    campaign, job = launched(tx, definition)
    first = attempt(tx, job)
    saved = Progress(step=41, total=90, values={}, checkpoint_step=40)
    tx.jobs.observe(job.number, epoch=first, progress=saved, now=START)
    rescue(tx, job.id, epoch=first, why="gone", now=START)
    attempt(tx, job)
    for hours in (1, 2, 3):
        look_at(tx, job.id, definition=definition, campaign=campaign, now=START + timedelta(hours=hours))

    assert len(told(tx, GITHUB)) == len(told(tx, DISCORD)) == (form == "daily")
    assert all("40 steps are done again" in text and f"runs/{job.id}/attempt-1" in text for text in told(tx, GITHUB))
