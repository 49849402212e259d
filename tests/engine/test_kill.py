"""A process that commits is killed with SIGKILL, again and again; nothing that was answered is ever missing."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from pilothouse.fleet.job import Job, Outcome
from pilothouse.fleet.stages import LEASED, Stage
from pilothouse.ids import Epoch, JobId
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.values import PRODUCT

KILLS = 6
WORD_STAGES = {"submitted": Stage.QUEUED, "claimed": Stage.ASSIGNED, "started": Stage.BUILDING}


def commit_until_killed(database: Path, round_number: int, *, lines: int) -> list[tuple[str, JobId, Epoch]]:
    """Start the process, kill it after so many answers, and return every answer that it gave."""
    command = [sys.executable, str(Path(__file__).with_name("committer.py")), str(database), str(round_number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answers = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        answers += process.stdout.readlines()
    # The kill may have cut the last line, and only that one.
    whole = [line.split() for line in answers if line.endswith("\n")]
    assert len(whole) >= lines
    return [(word, JobId(job), Epoch(int(epoch))) for word, job, epoch in whole]


def check_job(tx: Transaction, job: Job, said: list[tuple[str, Epoch]]) -> None:
    """Compare one job with what was answered about it, and its history with itself."""
    events, attempts = tx.jobs.events(job.id), tx.jobs.attempts(job.id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.previous for event in events] == [None, *(event.stage for event in events[:-1])]
    epochs = [event.epoch for event in events]
    assert epochs == sorted(epochs)
    assert (events[-1].stage, events[-1].epoch) == (job.stage, job.epoch)
    assert [attempt.epoch for attempt in attempts] == [event.epoch for event in events if event.stage is Stage.ASSIGNED]
    held = [attempt.epoch for attempt in attempts if attempt.ended_at is None]
    assert held == ([job.epoch] if job.stage in LEASED else [])
    assert len(tx.jobs.artifacts(job.id)) == (1 if job.stage is Stage.SHIPPED else 0)
    assert tx.jobs.spec(job.id).seed == 7

    happened = {(event.stage, event.epoch) for event in events}
    outcomes = {attempt.epoch: attempt.outcome for attempt in attempts}
    for word, epoch in said:
        if word in WORD_STAGES:
            assert (WORD_STAGES[word], epoch) in happened
        else:
            assert outcomes[epoch] is not None
            assert outcomes[epoch] == Outcome(word)


def test_nothing_that_was_answered_is_lost(tmp_path: Path) -> None:
    """The database is sound after every kill, and every answer of every process is still true."""
    database, pick = tmp_path / "pilothouse.db", random.Random(42)
    said: defaultdict[JobId, list[tuple[str, Epoch]]] = defaultdict(list)
    stored: dict[JobId, Job] = {}
    for round_number in range(KILLS):
        for word, named, epoch in commit_until_killed(database, round_number, lines=pick.randint(1, 120)):
            said[named].append((word, epoch))
        store = SqliteStore(database)
        assert list(store.damage()) == []
        with store.read() as tx:
            stored = {job.id: job for job in tx.jobs.listed(PRODUCT, limit=10**6)}
            assert said.keys() <= stored.keys()
            for job in stored.values():
                check_job(tx, job, said[job.id])
        store.close()

    ends = {job.stage for job in stored.values()}
    assert Stage.SHIPPED in ends
    assert sum(job.losses for job in stored.values()) > 0
