"""The line between a factory process and its engine: what is asked arrives, and nothing blocks the heart."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from pilothouse.errors import LeaseLost, NotFound, OperationFailed, StillPending, StorageFailed
from pilothouse.factory.channel import CLAIMS_MAX, EngineGone, PipeDispatch, serve
from pilothouse.fleet.job import Outcome, Progress, Report
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Beat, Command, Held, Word
from pilothouse.testing.factory_bench import Asked, Bench, RecordingDispatch

NAME, BOOT = FactoryName("here"), BootId("boot-1")
REPORT = Report(
    outcome=Outcome.CRASHED, detail="d", exit_code=1, metrics={"loss": float("inf")}, artifacts=(), seconds=1.0
)


def beat(asking: PipeDispatch) -> Beat:
    """Beat while nothing is held."""
    return asking.beat(factory=NAME, boot=BOOT, held=())


@pytest.fixture(name="line")
def _line() -> Iterator[tuple[PipeDispatch, RecordingDispatch]]:
    """Give both ends: what a factory asks with, and what answers it."""
    ours, theirs = socket.socketpair()
    answering = RecordingDispatch()
    server = threading.Thread(target=serve, args=(theirs, answering), daemon=True)
    server.start()
    asking = PipeDispatch(ours)
    yield asking, answering
    asking.close()
    server.join(20)
    assert not server.is_alive()


def test_every_question_arrives_as_it_was_asked(bench: Bench, line: tuple[PipeDispatch, RecordingDispatch]) -> None:
    """With every argument, and the offer comes back whole."""
    asking, answering = line
    offer = bench.offer_for("pass", epoch=3, earlier=[2, 1])
    answering.offer(offer)
    progress = Progress(step=4, total=None, values={"loss": 0.5}, checkpoint_step=3)
    order = Command(job=offer.job, epoch=offer.epoch, word=Word.STOP, seconds=7.5, why="w")
    answering.order(order)
    name = (offer.job, offer.epoch)
    held = (Held(job=offer.job, epoch=offer.epoch, progress=progress), Held(job=JobId("j"), epoch=Epoch(1)))

    offers = asking.claim(factory=NAME, boot=BOOT, wait_seconds=1, pools=["b", "a"], seats=2, jobs=2)
    assert offers == (offer,)
    assert asking.claim(factory=NAME, boot=BOOT, wait_seconds=0, seats=1, held=[name]) == ()
    assert asking.beat(factory=NAME, boot=BOOT, held=held) == Beat(lease_seconds=30.0, commands=(order,))
    asking.start(JobId("job-1"), epoch=Epoch(3), pid=7, pid_started=1.5, resume_step=4)
    asking.complete(JobId("job-1"), epoch=Epoch(3), report=REPORT)

    assert answering.claims == [
        Asked(factory=NAME, boot=BOOT, seats=2, held=(), pools=("a", "b"), jobs=2),
        Asked(factory=NAME, boot=BOOT, seats=1, held=(name,), pools=None, jobs=1),
    ]
    assert answering.beats == [(NAME, BOOT, held)]
    assert answering.starts == [("job-1", 3, 7, 1.5)]
    assert answering.resume_steps == {("job-1", 3): 4}
    assert answering.reports == {("job-1", 3): REPORT}


@pytest.mark.parametrize("kind", [LeaseLost, NotFound, StorageFailed])
def test_an_error_crosses_with_its_type(
    kind: type[LeaseLost | NotFound | StorageFailed], line: tuple[PipeDispatch, RecordingDispatch]
) -> None:
    """With its message and its mend."""
    asking, answering = line
    answering.fails = lambda _: kind("what happened", fix="what to do")

    with pytest.raises(kind, match="what happened") as failure:
        beat(asking)

    assert type(failure.value) is kind
    assert failure.value.fix == "what to do"


def test_a_fault_of_the_engine_reaches_the_factory(line: tuple[PipeDispatch, RecordingDispatch]) -> None:
    """And the line goes on."""
    asking, answering = line

    def fault(_: str) -> None:
        raise ZeroDivisionError("a fault")

    answering.fails = fault
    with pytest.raises(OperationFailed, match="a fault"):
        beat(asking)

    answering.fails = lambda _: None
    beat(asking)


def test_a_long_claim_blocks_no_beat(bench: Bench, line: tuple[PipeDispatch, RecordingDispatch]) -> None:
    """The claim is still waiting when the beat is answered."""
    asking, answering = line
    claimed: list[object] = []
    waiting = threading.Thread(
        target=lambda: claimed.extend(asking.claim(factory=NAME, boot=BOOT, wait_seconds=60, seats=1)), daemon=True
    )
    waiting.start()
    answering.until(lambda: answering.claims)

    assert beat(asking).lease_seconds == 30.0
    assert claimed == []
    offer = bench.offer_for("pass")
    answering.offer(offer)
    waiting.join(20)
    assert claimed == [offer]


def test_claims_that_pile_up_are_refused(line: tuple[PipeDispatch, RecordingDispatch]) -> None:
    """One is being answered and a few wait; the rest hears so at once."""
    asking, answering = line
    refused = threading.Semaphore(0)

    def ask() -> None:
        try:
            asking.claim(factory=NAME, boot=BOOT, wait_seconds=1, seats=1)
        except StillPending:
            refused.release()
        except EngineGone:
            pass

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(CLAIMS_MAX + 3)]
    for asker in askers:
        asker.start()

    assert refused.acquire(timeout=20)
    assert beat(asking).lease_seconds == 30.0
    assert len(answering.claims) <= CLAIMS_MAX + 1


def test_the_end_of_the_line_is_seen_at_once() -> None:
    """Also by a question that waits for its answer."""
    ours, theirs = socket.socketpair()
    failures: list[str] = []
    with theirs, closing(PipeDispatch(ours)) as asking:

        def ask() -> None:
            with pytest.raises(EngineGone) as failure:
                asking.claim(factory=NAME, boot=BOOT, wait_seconds=60, seats=1)
            failures.append(failure.value.message)

        asker = threading.Thread(target=ask)
        asker.start()
        assert theirs.recv(1 << 16)
        theirs.close()
        asker.join(20)

        assert failures == ["The engine is gone."]
        assert asking.gone.is_set()
        with pytest.raises(EngineGone):
            asking.claim(factory=NAME, boot=BOOT, wait_seconds=0, seats=1)


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers carry the number of their question."""
    monkeypatch.setattr("pilothouse.factory.channel.ANSWER_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    with theirs, closing(PipeDispatch(ours)) as asking:
        with pytest.raises(EngineGone, match="not answered"):
            asking.claim(factory=NAME, boot=BOOT, wait_seconds=0, seats=1)
        assert not asking.gone.is_set()

        def answer_both() -> None:
            with theirs.makefile("rb") as questions:
                assert [json.loads(questions.readline())["id"] for _ in range(2)] == [1, 2]
            theirs.sendall(b'{"id":1,"error":{"type":"LeaseLost","message":"late","fix":""}}\n{"id":2,"answer":[]}\n')

        answerer = threading.Thread(target=answer_both)
        answerer.start()
        assert asking.claim(factory=NAME, boot=BOOT, wait_seconds=20, seats=1) == ()
        answerer.join(20)
