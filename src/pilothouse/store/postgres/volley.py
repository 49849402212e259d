"""Statements that are sent together and answered together: a whole transaction for one round trip.

The driver's own pipeline waits for the socket at each statement, and lets go of the interpreter's lock for each wait;
beside a busy thread every one of these costs as much as a round trip. Here nothing waits before the last answer.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, pq

_POLL_READ = select.POLLIN
_POLL_BOTH = select.POLLIN | select.POLLOUT
_SEVERITY = pq.DiagnosticField.SEVERITY_NONLOCALIZED
_FAILED = {pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED}


class Step(NamedTuple):
    """One statement; one with a name is prepared when the connection sees it for the first time."""

    statement: bytes
    parameters: Sequence[bytes] = ()
    name: bytes = b""


class Volley:
    """What is sent at once on one connection, which is used for nothing else before it is answered."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._pg = raw.pgconn
        self._prepared: set[bytes] = set()
        self._fresh: set[bytes] = set()
        self._expected: list[bool] = []
        self._poll = select.poll()
        self._poll.register(self._pg.socket, _POLL_READ)
        self._dying = False
        self.unheard = False
        raw.add_notice_handler(self._hear)

    def is_alive(self) -> bool:
        """Return whether nothing is known against the connection; one that has died in idle times says so here."""
        try:
            self._pg.consume_input()
            self._pg.is_busy()
        except psycopg.OperationalError:
            return False
        return not self._dying and self._pg.status == pq.ConnStatus.OK

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        # The last word of a server to whom nobody was speaking comes as a notice.
        self._dying = self._dying or notice.severity_nonlocalized == "FATAL"

    def send(self, steps: Sequence[Step]) -> None:
        """Send the statements; the server works on them while nobody waits."""
        self._pg.enter_pipeline_mode()
        self._expected = []
        self._fresh = set()
        self.unheard = False
        for step in steps:
            self._send(step)
        self._pg.pipeline_sync()
        while self._pg.flush():
            # What the server says meanwhile has to be read, or both would wait for the other to listen.
            self._poll.modify(self._pg.socket, _POLL_BOTH)
            self._poll.poll()
            self._pg.consume_input()
            self._poll.modify(self._pg.socket, _POLL_READ)

    def _send(self, step: Step) -> None:
        if not step.name:
            self._pg.send_query_params(step.statement, step.parameters or None)
            self._expected.append(True)
            return
        if step.name not in self._prepared | self._fresh:
            self._pg.send_prepare(step.name, step.statement)
            self._expected.append(False)
            self._fresh.add(step.name)
        self._pg.send_query_prepared(step.name, step.parameters or None)
        self._expected.append(True)

    def answers(self) -> list[pq.abc.PGresult]:
        """Wait for the last answer and return one for each statement; raise the error of the first that failed.

        After an error the connection is usable, but the transaction that was begun on it may still be open. `unheard`
        then tells that the server has hung up before it began.
        """
        found: list[pq.abc.PGresult] = []
        failed: pq.abc.PGresult | None = None
        for position, wanted in enumerate(self._expected):
            result = self._next()
            if failed is None and result.status in _FAILED:
                failed = result
                # Answers come in their order, so a server whose first word is the last has carried out nothing.
                self.unheard = (
                    position == 0 and result.error_field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) == b"FATAL"
                )
            if self._pg.status == pq.ConnStatus.BAD:
                break
            if wanted:
                found.append(result)
        if self._pg.status == pq.ConnStatus.BAD:
            raise psycopg.OperationalError(self._pg.get_error_message()) if failed is None else error_of(failed)
        last = self._next()
        assert last.status == pq.ExecStatus.PIPELINE_SYNC, f"a volley ends with {last.status}"
        self._pg.exit_pipeline_mode()
        if failed is not None:
            raise error_of(failed)
        self._prepared |= self._fresh
        return found

    def _next(self) -> pq.abc.PGresult:
        """Return the next answer; each but that of the end is followed by a nothing."""
        while True:
            while self._pg.is_busy():
                self._poll.poll()
                self._pg.consume_input()
            result = self._pg.get_result()
            if result is not None:
                return result
            if self._pg.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError(self._pg.get_error_message())


def error_of(failed: pq.abc.PGresult) -> psycopg.Error:
    """Return the error that an answer stands for; without a code it is the connection's."""
    error = errors.error_from_result(failed)
    return error if error.sqlstate else psycopg.OperationalError(failed.get_error_message())
