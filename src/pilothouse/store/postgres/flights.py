"""`ports.store.Flight` on PostgreSQL: claims and successes of a whole batch, and their commit, in one round trip."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import cache

from psycopg.pq.abc import PGresult

from pilothouse.errors import PilothouseError
from pilothouse.fleet.claim import Ending, Grant
from pilothouse.fleet.job import Handed
from pilothouse.ids import JobId, JobNumber, ProductId
from pilothouse.ports.store import Moved
from pilothouse.store import rows
from pilothouse.store.connection import Value, broken_text
from pilothouse.store.leadership import StoredLeadership
from pilothouse.store.named_sql import dialect_queries
from pilothouse.store.postgres.arrays import literal
from pilothouse.store.postgres.connection import PostgresConnection
from pilothouse.store.postgres.volley import Step
from pilothouse.store.rows import STAGE_NUMBERS, instant
from pilothouse.store.turns import Turns


class PostgresFlight:
    """Moves that were sent. The writer's turn ends with the landing, which therefore must not be left out."""

    def __init__(
        self,
        connection: PostgresConnection,
        grants: Sequence[Grant],
        endings: Sequence[Ending],
        *,
        now: datetime,
        turns: Turns,
        leadership: StoredLeadership,
    ) -> None:
        self._connection = connection
        self._leadership = leadership
        # What cannot be written is found before anything is sent.
        steps = {"guard": _guard(leadership), "assign": _assign(grants, now), "ship": _ship(endings, now)}
        self._sizes = {name: len(each) for name, each in steps.items()}
        with ExitStack() as stack:
            stack.enter_context(turns.take())
            connection.send([step for each in steps.values() for step in each])
            self._turn = stack.pop_all()

    def land(self) -> Moved:
        """Wait for the commit and return what was moved; `LeaseLost` when this server leads no more."""
        with self._turn:
            try:
                answers = iter(self._connection.receive())
            except PilothouseError:
                if self._connection.is_open:
                    with self._connection.transaction():
                        self._leadership.check()
                raise
        found = {name: [next(answers) for _ in range(size)] for name, size in self._sizes.items()}
        handed: Mapping[JobNumber, Handed] = _handed(found["assign"][0]) if found["assign"] else {}
        return Moved(handed, _numbers(found["ship"][0]) if found["ship"] else ())


def _guard(leadership: StoredLeadership) -> list[Step]:
    if leadership.epoch is None:
        return []
    # The second one sees what was committed before the first had its lock.
    return [Step(_statement("leader", "join_writers"), (), b"join"), _step("stand", str(leadership.epoch))]


def _assign(grants: Sequence[Grant], now: datetime) -> list[Step]:
    if not grants:
        return []
    return [_step("assign", str(instant(now)), *map(literal, zip(*grants, strict=True)))]


def _ship(endings: Sequence[Ending], now: datetime) -> list[Step]:
    if not endings:
        return []
    when = instant(now)
    ended: list[tuple[Value, ...]] = []
    for number, epoch, stage, report in endings:
        assert not report.artifacts, f"the artifacts of job {number} cannot be published by a flight"
        ended.append((number, epoch, STAGE_NUMBERS[stage], *rows.attempt_end(number, epoch, report, when)[3:]))
    return [_step("ship", str(when), *map(literal, zip(*ended, strict=True)))]


def _step(name: str, *parameters: str) -> Step:
    try:
        return Step(_statement("flights", name), [each.encode() for each in parameters], name.encode())
    except UnicodeEncodeError as error:
        raise broken_text(error) from error


@cache
def _statement(aggregate: str, name: str) -> bytes:
    """Return a statement with its parameters numbered, as the server itself takes it."""
    first, *rest = re.split("%s", dialect_queries("postgres", aggregate)[name])
    return "".join([first, *(f"${number}{text}" for number, text in enumerate(rest, start=1))]).encode()


def _handed(answer: PGresult) -> Mapping[JobNumber, Handed]:
    value = answer.get_value
    return {
        JobNumber(int(_text(value(row, 0)))): Handed(
            JobId(_text(value(row, 1))), ProductId(_text(value(row, 2))), _text(value(row, 3)), _text(value(row, 4))
        )
        for row in range(answer.ntuples)
    }


def _numbers(answer: PGresult) -> set[JobNumber]:
    return {JobNumber(int(_text(answer.get_value(row, 0)))) for row in range(answer.ntuples)}


def _text(value: bytes | None) -> str:
    assert value is not None, "no column of these may be empty"
    return value.decode()
