"""The engine as a factory of another machine sees it: `ports.dispatch.Dispatch` over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

from pilothouse.canonical import Json
from pilothouse.factory import messages
from pilothouse.factory.discover import Facts
from pilothouse.factory.server_line import ANSWER_SECONDS, ServerLine
from pilothouse.fleet import wire
from pilothouse.fleet.job import Report
from pilothouse.fleet.wire import Fields
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Beat, Held, Offer

BEAT_SECONDS_MAX = 10.0
"""A beat that is not answered by then is asked again; a short lease makes this shorter still."""
BEATS_IN_LEASE = 6.0


class HttpDispatch:
    """Asks the server as one boot of one factory; several threads may ask at once.

    The first beat of the boot tells what the factory is and can.
    """

    def __init__(self, line: ServerLine, *, factory: FactoryName, boot: BootId, facts: Facts) -> None:
        self._line = line
        self._who: dict[str, Json] = {"factory": factory, "boot": boot}
        self._facts = facts
        self._lock = threading.Lock()
        self._facts_told = False
        self._lease_seconds = float("inf")

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        seats: int,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
    ) -> Sequence[Offer]:
        """Ask for jobs, waiting up to `wait_seconds` for the first."""
        body: dict[str, Json] = {
            **self._who,
            "factory": factory,
            "boot": boot,
            "wait_seconds": wait_seconds,
            "seats": seats,
            "held": [messages.name_as_json(job, epoch) for job, epoch in held],
            "pools": None if pools is None else sorted(pools),
            "jobs": jobs,
        }
        answer = self._line.post("/fleet/claim", body, answer_seconds=wait_seconds + ANSWER_SECONDS)
        return tuple(messages.offer_from_json(item) for item in Fields("answer", answer).listed("offers"))

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, resume_step: int | None = None) -> None:
        """Tell that the attempt runs, as which process, and from which step on."""
        told = messages.start_as_json(job, epoch, pid=pid, pid_started=pid_started, resume_step=resume_step)
        self._line.post("/fleet/leases/start", {**self._who, **told})

    def beat(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Beat:
        """Renew the session, tell what is held, and hear what is to be done."""
        with self._lock:
            facts = None if self._facts_told else self._facts.as_json()
            seconds = min(BEAT_SECONDS_MAX, self._lease_seconds / BEATS_IN_LEASE)
        told: list[Json] = [messages.held_as_json(each) for each in held]
        body: dict[str, Json] = {"factory": factory, "boot": boot, "held": told, "facts": facts}
        beat = messages.beat_from_json(self._line.post("/fleet/factories/heartbeat", body, answer_seconds=seconds))
        with self._lock:
            self._facts_told, self._lease_seconds = True, beat.lease_seconds
        return beat

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Tell how the attempt ended; a report that is refused is raised as the error that it is."""
        ended: dict[str, Json] = {**messages.name_as_json(job, epoch), "report": wire.report_as_json(report)}
        self._line.post("/fleet/complete", {**self._who, "reports": [ended]})
