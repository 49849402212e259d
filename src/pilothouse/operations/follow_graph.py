"""What a job's move means for those that wait for it."""

from __future__ import annotations

from datetime import datetime

from pilothouse.fleet.claim import DEPENDED_ON
from pilothouse.fleet.graph import hopeless, met
from pilothouse.fleet.job import Edge, Job
from pilothouse.fleet.stages import ENDS, Stage
from pilothouse.ports.store import Transaction

_TOLD = ENDS | {Stage.TESTING}


def follow_graph(tx: Transaction, job: Job, *, now: datetime) -> None:
    """Let go whatever waited for the job and has nothing else to wait for, and fail what now waits in vain.

    The failures are followed as well, so that one end settles everything behind it in the same transaction.
    """
    moved = [job]
    while moved:
        other = moved.pop()
        if other.stage not in _TOLD or not other.marks & DEPENDED_ON:
            continue
        for edge in tx.jobs.edges(other):
            if edge.needs == other.number and not edge.met:
                waiting = _settle(tx, edge, other, now=now)
                if waiting is not None:
                    moved.append(waiting)


def _settle(tx: Transaction, edge: Edge, other: Job, *, now: datetime) -> Job | None:
    """Return the waiting job if this has moved it."""
    if met(edge.kind, other.stage):
        waiting = tx.jobs.meet(edge, now=now)
        if waiting is None or waiting.waiting or waiting.stage is not Stage.BLOCKED:
            return None
        return tx.jobs.move(waiting, stage=Stage.QUEUED, now=now, why="everything it waited for is there")
    if not hopeless(edge.kind, other.stage):
        return None
    waiting = tx.jobs.by_number(edge.job)
    if waiting is None or waiting.stage is not Stage.BLOCKED:
        return None
    why = f"it waited for {other.id}, which is {other.stage.value}"
    return tx.jobs.move(waiting, stage=Stage.FAILED, now=now, why=why)
