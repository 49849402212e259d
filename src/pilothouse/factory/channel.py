"""The line between a factory process and the engine: JSON messages over a socket pair, one per line.

    factory ─► engine   {"id": 3, "do": "renew", "job": "job-…", "epoch": 2, "progress": {…}}
    engine ─► factory   {"id": 3, "answer": null}
                        {"id": 3, "error": {"type": "LeaseLost", "message": "…", "fix": "…"}}

Answers are matched by id, so that a question whose asker gave up does not shift the ones after it. Either end closing
the line is seen by the other at once: to the factory it means that the engine is gone.
"""

from __future__ import annotations

import json
import logging
import socket
import struct
import threading
from collections.abc import Collection, Iterator, Mapping

from pilothouse import errors
from pilothouse.canonical import Json
from pilothouse.errors import OperationFailed, PilothouseError
from pilothouse.fleet import wire
from pilothouse.fleet.job import Progress, Report
from pilothouse.fleet.wire import Fields
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Dispatch, Offer

ANSWER_SECONDS = 20.0
"""How long an answer may take beyond what the question itself allows."""
_LINE_BYTES_MAX = 64 << 20

log = logging.getLogger(__name__)

_ERRORS: Mapping[str, type[PilothouseError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, PilothouseError) and kind is not errors.ArtifactDamaged
}


class EngineGone(OperationFailed):
    """The engine has closed the line, or does not answer."""


class PipeDispatch:
    """The engine, seen from a factory process. Several threads may ask at once.

    `gone` is set as soon as the line ends.
    """

    def __init__(self, line: socket.socket) -> None:
        self.gone = threading.Event()
        self._line = _bounded(line)
        self._sending = threading.Lock()
        self._arrived = threading.Condition()
        self._answers: dict[int, Json] = {}
        self._waiting: set[int] = set()
        self._last_id = 0
        threading.Thread(target=self._listen, name="engine-answers", daemon=True).start()

    def claim(
        self,
        *,
        factory: FactoryName,
        boot: BootId,
        wait_seconds: float,
        pools: Collection[str] | None = None,
        seats: int | None = None,
    ) -> Offer | None:
        """Ask for a job, waiting up to `wait_seconds` for one."""
        question: dict[str, Json] = {
            "do": "claim",
            "factory": factory,
            "boot": boot,
            "wait_seconds": wait_seconds,
            "pools": None if pools is None else sorted(pools),
            "seats": seats,
        }
        answer = self._ask(question, timeout_seconds=wait_seconds + ANSWER_SECONDS)
        return None if answer is None else offer_from_json(answer)

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float) -> None:
        """Tell that the attempt runs, and as which process."""
        self._ask({"do": "start", "job": job, "epoch": epoch, "pid": pid, "pid_started": pid_started})

    def renew(self, job: JobId, *, epoch: Epoch, progress: Progress | None) -> None:
        """Renew the lease."""
        told = None if progress is None else wire.progress_as_json(progress)
        self._ask({"do": "renew", "job": job, "epoch": epoch, "progress": told})

    def complete(self, job: JobId, *, epoch: Epoch, report: Report) -> None:
        """Tell how the attempt ended."""
        self._ask({"do": "complete", "job": job, "epoch": epoch, "report": wire.report_as_json(report)})

    def close(self) -> None:
        """End the line."""
        _hang_up(self._line)

    def _ask(self, question: dict[str, Json], *, timeout_seconds: float = ANSWER_SECONDS) -> Json:
        with self._arrived:
            self._last_id += 1
            number = self._last_id
            self._waiting.add(number)
        try:
            with self._sending:
                _send(self._line, {"id": number, **question})
            with self._arrived:
                self._arrived.wait_for(lambda: number in self._answers or self.gone.is_set(), timeout=timeout_seconds)
                if number not in self._answers:
                    raise _no_answer(gone=self.gone.is_set(), seconds=timeout_seconds)
                return _unpack(self._answers.pop(number))
        except OSError as error:
            raise _no_answer(gone=True, seconds=timeout_seconds) from error
        finally:
            with self._arrived:
                self._waiting.discard(number)
                self._answers.pop(number, None)

    def _listen(self) -> None:
        try:
            for message in _messages(self._line):
                number = Fields("answer", message).whole("id")
                with self._arrived:
                    if number in self._waiting:
                        self._answers[number] = message
                        self._arrived.notify_all()
        except (OSError, ValueError, PilothouseError):
            log.exception("The engine's line is broken.", extra={"action": "engine_gone"})
        with self._arrived:
            self.gone.set()
            self._arrived.notify_all()


def serve(line: socket.socket, dispatch: Dispatch) -> None:
    """Answer a factory's questions until it closes the line.

    One at a time: a factory of one seat asks for a job only while it has none to renew.
    """
    try:
        for message in _messages(_bounded(line)):
            number = Fields("question", message).whole("id")
            try:
                answer: dict[str, Json] = {"id": number, "answer": _answer(dispatch, Fields("question", message))}
            except PilothouseError as error:
                answer = {"id": number, "error": _error_as_json(error)}
            except Exception as error:  # the outermost edge: the factory must hear of it, whatever it is
                log.exception("A factory's question failed.", extra={"action": "engine_failed"})
                failure = OperationFailed(f"The engine failed: {error!r}.", fix="look at the engine's own log.")
                answer = {"id": number, "error": _error_as_json(failure)}
            _send(line, answer)
    except (OSError, ValueError, PilothouseError) as error:
        log.warning("The line to a factory ended: %s", error, extra={"action": "factory_gone"})
    finally:
        _hang_up(line)


def offer_as_json(offer: Offer) -> dict[str, Json]:
    """Return an offer as JSON."""
    return {
        "job": wire.job_as_json(offer.job),
        "spec": offer.spec.as_json(),
        "folder": offer.folder,
        "resume_folder": offer.resume_folder,
        "lease_seconds": offer.lease_seconds,
        "earlier_folders": list(offer.earlier_folders),
    }


def offer_from_json(value: Json) -> Offer:
    """Read what `offer_as_json` wrote."""
    read = Fields("offer", value)
    return Offer(
        job=wire.job_from_json(read.raw("job")),
        spec=wire.spec_from_json(read.raw("spec")),
        folder=read.text("folder"),
        resume_folder=read.optional("resume_folder", lambda: read.text("resume_folder")),
        lease_seconds=read.number("lease_seconds"),
        earlier_folders=read.texts("earlier_folders"),
    )


def _answer(dispatch: Dispatch, ask: Fields) -> Json:
    verb = ask.text("do")
    if verb == "claim":
        offer = dispatch.claim(
            factory=FactoryName(ask.text("factory")),
            boot=BootId(ask.text("boot")),
            wait_seconds=ask.number("wait_seconds"),
            pools=ask.optional("pools", lambda: ask.texts("pools")),
            seats=ask.optional("seats", lambda: ask.whole("seats")),
        )
        return None if offer is None else offer_as_json(offer)
    job, epoch = JobId(ask.text("job")), Epoch(ask.whole("epoch"))
    match verb:
        case "start":
            dispatch.start(job, epoch=epoch, pid=ask.whole("pid"), pid_started=ask.number("pid_started"))
        case "renew":
            progress = ask.optional("progress", lambda: wire.progress_from_json(ask.raw("progress")))
            dispatch.renew(job, epoch=epoch, progress=progress)
        case "complete":
            dispatch.complete(job, epoch=epoch, report=wire.report_from_json(ask.raw("report")))
        case _:
            raise errors.BadValue(f"{verb!r} is no question.", fix="use the same version at both ends.")
    return None


def _error_as_json(error: PilothouseError) -> Json:
    return {"type": type(error).__name__, "message": error.message, "fix": error.fix}


def _unpack(message: Json) -> Json:
    read = Fields("answer", message)
    if not isinstance(message, Mapping) or "error" not in message:
        return read.raw("answer")
    told = Fields("error", read.raw("error"))
    kind = _ERRORS.get(told.text("type"), OperationFailed)
    raise kind(told.text("message"), fix=told.text("fix"))


def _no_answer(*, gone: bool, seconds: float) -> EngineGone:
    what = "is gone" if gone else f"has not answered for {seconds:g} s"
    return EngineGone(f"The engine {what}.", fix="start the campaign again; it goes on where it was.")


def _bounded(line: socket.socket) -> socket.socket:
    """Let a message that the other end does not take fail in the end; reading waits for the end of the line."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(ANSWER_SECONDS), 0))
    return line


def _send(line: socket.socket, message: Mapping[str, Json]) -> None:
    line.sendall(json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n")


def _messages(line: socket.socket) -> Iterator[Json]:
    with line.makefile("rb") as stream:
        while data := stream.readline(_LINE_BYTES_MAX):
            if not data.endswith(b"\n"):
                return  # the other end was killed in the middle of a message
            message: Json = json.loads(data)
            yield message


def _hang_up(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        line.close()
