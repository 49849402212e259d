"""A ferry's loop that waits: what it reads, what it writes, when it asks git, and how it wakes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.campaigns.ferry_world import DAILY, START, TEXT, definition_of

from pilothouse.access.audit import Actor
from pilothouse.blobs.local import LocalBlobs
from pilothouse.campaigns.ferry import Action, DraftFerry, Rest
from pilothouse.campaigns.record import Campaign, TrialState
from pilothouse.engine.campaign_loop import LoopParts
from pilothouse.engine.engine import Engine
from pilothouse.engine.ferry_loop import COMMIT_SECONDS, FerryLoop
from pilothouse.engine.loop_events import FerryTold, LoopEvent
from pilothouse.errors import OperationFailed
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Outcome, Report
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.ids import BootId, CampaignName, FactoryName, JobId, ProductId
from pilothouse.logbook.letter import GITHUB, Kind
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.campaign_facts import Session
from pilothouse.operations.open_campaign import open_campaign
from pilothouse.operations.reject_proposal import Rejection, reject_proposal
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.proposer import Answered, Stopped, never
from pilothouse.proposals.agent_run import AgentTold, spending_of
from pilothouse.proposals.ferry_question import FerryQuestion
from pilothouse.proposals.proposal import Proposal, State
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import FrozenClock
from pilothouse.wiring.ferry_sources import GitHistory, NoIssues

PRODUCT, NAME = ProductId("default"), CampaignName("daily")
DEFINITION = definition_of(TEXT + DAILY)
TURNS = 200


@dataclass
class Quay:
    """A loop that is turned by hand; the store is written to by others as another process would."""

    store: SqliteStore
    clock: FrozenClock
    engine: Engine
    folder: Path
    commit: str = "c0"
    read: int = 0
    trouble: OperationFailed | None = None
    told: list[str] = field(default_factory=list)

    def loop(self, *, wait: bool = True) -> FerryLoop:
        """Return a loop as a start of the command makes it."""
        campaign = self.engine.apply(lambda tx: open_campaign(tx, DEFINITION, now=START - timedelta(minutes=1)))
        return FerryLoop(
            parts=LoopParts(
                engine=self.engine,
                blobs=LocalBlobs(self.folder / "blobs"),
                clock=self.clock,
                code_commit=self._code_commit,
                tell=self._tell,
            ),
            definition=DEFINITION,
            campaign=campaign,
            session=Session(since=START, trials_max=None, restore_golden=False),
            overrides={},
            history=GitHistory(self.folder),
            issues=NoIssues(),
            watcher="ada",
            wait=wait,
            keep=tuple,
        )

    def turn(self, loop: FerryLoop) -> Action:
        """Let it decide and act once, without waiting for news: what was seen is always older."""
        action = loop.decide()
        loop.act(action, self.engine.changes - 1)
        return action

    def proposals(self) -> list[Proposal]:
        """Return the campaign's proposals."""
        with self.store.read() as tx:
            return list(tx.proposals.listed(PRODUCT, NAME))

    def approve(self, proposal: Proposal) -> None:
        """Say yes, in a transaction of its own."""
        request = ApprovalRequest(proposal=proposal.id, approver=Actor(name="ada"), reason="", expires_in="1d")
        with self.store.write() as tx:
            approve_proposal(tx, request, product=PRODUCT, now=self.clock.now())

    def campaign(self) -> Campaign:
        """Return the campaign as it stands."""
        with self.store.read() as tx:
            stored = tx.campaigns.get(PRODUCT, NAME)
        assert stored is not None
        return stored

    def _code_commit(self) -> str:
        self.read += 1
        if self.trouble is not None:
            raise self.trouble
        return self.commit

    def _tell(self, event: LoopEvent) -> None:
        assert isinstance(event, FerryTold)
        self.told.append(event.line)


@pytest.fixture(name="quay")
def _quay(tmp_path: Path) -> Iterator[Quay]:
    """Return a quay at the time of the first tick."""
    clock, store = FrozenClock(START), SqliteStore(tmp_path / "pilothouse.db")
    with Engine(store, clock) as engine:
        yield Quay(store=store, clock=clock, engine=engine, folder=tmp_path)
    store.close()


def test_waiting_at_the_gate_writes_nothing_and_asks_git_at_a_bounded_pace(quay: Quay) -> None:
    """However often it looks: it reads, is told once, and the code is read once in so many seconds."""
    loop = quay.loop()
    assert isinstance(quay.turn(loop), DraftFerry)
    quay.turn(loop)
    writes, asked = quay.engine.changes, quay.read

    for _ in range(TURNS):
        quay.clock.advance(COMMIT_SECONDS / 20)
        quay.turn(loop)

    assert quay.engine.changes == writes
    assert quay.read - asked <= TURNS / 20
    assert len([line for line in quay.told if "is not approved" in line]) == 1


def test_a_yes_is_acted_on_at_the_next_look_and_for_the_code_of_that_moment(quay: Quay) -> None:
    """Another process writes it. Code that moved a second ago voids it, though the loop had not looked yet."""
    loop = quay.loop()
    quay.turn(loop)
    quay.turn(loop)
    quay.commit = "c1"
    quay.clock.advance(1)
    quay.approve(quay.proposals()[-1])

    quay.turn(loop)
    drifted = quay.proposals()[-1]
    quay.turn(loop)
    quay.approve(quay.proposals()[-1])
    quay.turn(loop)
    quay.turn(loop)

    assert drifted.refusal == "drifted since it was drafted: code_commit"
    assert [each.state for each in quay.proposals()] == [State.REJECTED, State.ADMITTED]
    with quay.store.read() as tx:
        job = tx.jobs.by_id(JobId("daily-125m-2026-11-22"))
        closed = [each.letter.key for each in tx.outbox.listed(LetterQuery(channel=GITHUB, kind=Kind.CLOSE))]
    assert job is not None
    assert closed == ["daily-125m-2026-11-22/proposal/close"]


def test_code_that_moves_between_the_yes_and_the_launch_is_seen_before_the_launch(quay: Quay) -> None:
    """Read just before it, however fresh what is known may be."""
    loop = quay.loop()
    quay.turn(loop)
    quay.approve(quay.proposals()[-1])
    quay.turn(loop)
    quay.commit = "c1"

    for _ in range(3):
        quay.turn(loop)

    with quay.store.read() as tx:
        assert tx.jobs.by_id(JobId("daily-125m-2026-11-22")) is None
    assert [each.subject.code_commit for each in quay.proposals()] == ["c0", "c1"]


def test_a_yes_that_comes_in_the_moment_of_the_tick_wins_fully(quay: Quay) -> None:
    """Decided to overtake it, and before that is written the yes arrives: what was approved sails, unchanged."""
    loop = quay.loop()
    quay.turn(loop)
    quay.clock.advance(86_400)
    decided = loop.decide()
    assert isinstance(decided, DraftFerry)
    quay.approve(quay.proposals()[-1])

    loop.act(decided, quay.engine.changes - 1)
    quay.turn(loop)

    (proposal,) = quay.proposals()
    assert proposal.state is State.ADMITTED


class Late:
    """An agent that is still being asked when somebody says yes to the proposal before."""

    source = "agent:command"

    def __init__(self, quay: Quay) -> None:
        self._quay = quay

    def draft(self, question: FerryQuestion, stopped: Stopped = never) -> Answered:
        """Answer nothing that counts, after the yes."""
        del question, stopped
        self._quay.approve(self._quay.proposals()[-1])
        told = AgentTold(record={"runner": "command"}, crossed=(), refusal="late", charged_usd=0.5)
        return Answered(source=self.source, refusal=OperationFailed("late", fix="be earlier"), told=told)


def test_a_yes_that_comes_while_an_agent_is_asked_wins_and_the_agent_is_paid(quay: Quay) -> None:
    """The run stands beside the proposal that sails, so that the budget counts it."""
    loop = quay.loop()
    quay.turn(loop)
    quay.approve(quay.proposals()[-1])
    quay.turn(loop)
    with quay.store.write() as tx:
        (trial,) = tx.campaigns.trials(PRODUCT, NAME)
        tx.campaigns.put_trial(replace(trial, state=TrialState.JUDGED, ended_at=START))
        (ferry,) = tx.ferries.listed(PRODUCT, NAME)
        tx.ferries.put(replace(ferry, judged={}, closed_at=START))
    quay.clock.advance(86_400)
    quay.turn(loop)
    quay.clock.advance(86_400)
    decided = loop.decide()
    loop.drafter = Late(quay)

    loop.act(decided, quay.engine.changes - 1)

    first, second = quay.proposals()
    with quay.store.read() as tx:
        (run,) = tx.agents.runs(PRODUCT, NAME)
    assert (first.number, second.number, run.proposal) == (1, 2, second.id)
    assert spending_of([run]).usd == 0.5


def test_a_loop_that_is_left_alone_for_a_month_has_one_open_proposal(quay: Quay) -> None:
    """Each day another, named by its day, and the one before is closed; a no in between changes nothing of that."""
    loop = quay.loop()
    for day in range(30):
        quay.turn(loop)
        quay.turn(loop)
        if day == 9:
            rejection = Rejection(proposal=quay.proposals()[-1].id, by=Actor(name="ada"), reason="not today")
            with quay.store.write() as tx:
                reject_proposal(tx, rejection, product=PRODUCT, now=quay.clock.now())
            assert isinstance(quay.turn(loop), Rest)
        quay.clock.advance(86_400)

    states = [each.state for each in quay.proposals()]
    with quay.store.read() as tx:
        (ferry,) = tx.ferries.listed(PRODUCT, NAME)
        requests = tx.outbox.listed(LetterQuery(channel=GITHUB, kind=Kind.PULL_REQUEST, limit=100))
        closed = tx.outbox.listed(LetterQuery(channel=GITHUB, kind=Kind.CLOSE, limit=100))
    assert states == [State.REJECTED] * 29 + [State.OPEN]
    assert ferry.run == "daily-125m-2026-12-21"
    assert ferry.considered["missed_ticks"] == 19
    assert {each.letter.about for each in closed} == {each.letter.key for each in requests[1:]}


def test_a_loop_that_stays_on_outlives_a_git_that_does_not_answer(quay: Quay) -> None:
    """On a busy disk, or with a lock that hangs: told once, and tried again; one that was asked for one ferry ends."""
    loop = quay.loop()
    quay.turn(loop)
    quay.approve(quay.proposals()[-1])
    quay.trouble = OperationFailed("git took longer than 60 s", fix="wait")
    for _ in range(3):
        quay.turn(loop)
        quay.clock.advance(COMMIT_SECONDS)
    unread = [line for line in quay.told if "git took longer" in line]

    with pytest.raises(OperationFailed, match="git took longer"):
        quay.turn(quay.loop(wait=False))
    quay.trouble = None
    quay.turn(loop)

    assert len(unread) == 1
    assert quay.proposals()[-1].state is State.ADMITTED


def crash(quay: Quay, evidence: str) -> JobId:
    """Let a factory run the job that waits, and fail it as often as its monitor starts it again."""
    factory, boot = FactoryName("one"), BootId("b")
    quay.engine.enrol(Factory(product=EVERY_PRODUCT, name=factory, seats=1))
    job = JobId("")
    while offers := quay.engine.claim(factory=factory, boot=boot, wait_seconds=0, seats=1):
        (offer,) = offers
        job = offer.job
        quay.engine.start(job, epoch=offer.epoch, pid=1, pid_started=0.0)
        report = Report(
            outcome=Outcome.CRASHED,
            detail="it left with 1",
            exit_code=1,
            metrics={},
            artifacts=(),
            seconds=1.0,
            evidence=evidence,
        )
        quay.engine.complete(job, epoch=offer.epoch, report=report)
        quay.clock.advance(600)
    return job


def test_on_a_schedule_a_small_bug_is_posted_once_and_its_patch_proposed_by_itself(quay: Quay) -> None:
    """The loop stays on; a commit is seen within the pace of its looks, and the same ferry goes on."""
    loop = quay.loop()
    quay.turn(loop)
    quay.approve(quay.proposals()[-1])
    quay.turn(loop)
    quay.turn(loop)
    job = crash(quay, "Traceback\n  File \"train.py\", line 3\nNameError: name 'batch' is not defined")
    for _ in range(20):
        quay.turn(loop)
    writes = quay.engine.changes
    for _ in range(20):
        assert isinstance(quay.turn(loop), Rest)
    with quay.store.read() as tx:
        posted = tx.outbox.by_key(PRODUCT, GITHUB, f"{job}/incident-1")

    quay.commit = "c1"
    quay.clock.advance(COMMIT_SECONDS)
    drafted = quay.turn(loop)
    quay.turn(loop)

    assert quay.engine.changes > writes
    assert isinstance(drafted, DraftFerry)
    assert posted is not None
    assert "waits for a patch: NameError" in str(posted.letter.body["text"])
    assert len([line for line in quay.told if "waits for a patch" in line]) == 1
    assert quay.proposals()[-1].why_not_identical.startswith("relaunch 1 after a patch")
    assert "is not approved" in quay.told[-1]


def test_a_loop_that_rests_is_woken_by_a_change_and_by_the_stop(quay: Quay) -> None:
    """A yes through the same engine is acted on without waiting for the next look."""
    loop, stop = quay.loop(), threading.Event()
    quay.turn(loop)
    thread = threading.Thread(target=loop.run, args=(stop,))
    thread.start()
    request = ApprovalRequest(proposal=quay.proposals()[-1].id, approver=Actor(name="ada"), reason="", expires_in="1d")

    quay.engine.apply(lambda tx: approve_proposal(tx, request, product=PRODUCT, now=quay.clock.now()))
    seen = quay.engine.changes
    while quay.proposals()[-1].state is State.OPEN:
        seen = quay.engine.wait_change(seen, timeout_seconds=10)
    stop.set()
    thread.join(10)

    assert not thread.is_alive()
    assert quay.proposals()[-1].state is State.ADMITTED
