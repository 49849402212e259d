"""For whom a victim makes room: told in its history, and read from there when an engine starts."""

from __future__ import annotations

from pilothouse.fleet.board import Board
from pilothouse.fleet.place import HeldJob
from pilothouse.ids import JobId, JobNumber
from pilothouse.ports.store import Transaction

_MAKES_ROOM = "it makes room for "


def makes_room(job: JobId) -> str:
    """Return the reason that stands in a victim's history."""
    return f"{_MAKES_ROOM}{job}"


def restore_rooms(board: Board, tx: Transaction) -> None:
    """Let each victim stop for the job that waits for its seats, as it was before the engine was started anew."""
    for victim in list(board.held.values()):
        if victim.stop_us is None:
            continue
        wanted = _wanted(victim, tx)
        waiting = None if wanted is None else board.held.get(wanted)
        if waiting is None or waiting.building or waiting.session != victim.session:
            continue
        board.ask_to_stop(victim.number, by_us=victim.stop_us, stops_for=waiting.number)
        waiting.waits_for = (*waiting.waits_for, victim.number)


def _wanted(victim: HeldJob, tx: Transaction) -> JobNumber | None:
    assert victim.id is not None, f"job {victim.number} is held without an id"
    reasons = [event.why for event in tx.jobs.events(victim.id) if event.why.startswith(_MAKES_ROOM)]
    wanted = tx.jobs.by_id(JobId(reasons[-1].removeprefix(_MAKES_ROOM))) if reasons else None
    return None if wanted is None else wanted.number
