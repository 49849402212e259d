"""The line between a factory process and the engine: JSON messages over a socket pair, one per line.

    factory ─► engine   {"id": 3, "do": "beat", "factory": "…", "boot": "…", "held": [{"job": "job-…", "epoch": 2, …}]}
    engine ─► factory   {"id": 3, "answer": {"lease_seconds": 30, "commands": [], "draining": false}}
                        {"id": 3, "error": {"type": "LeaseLost", "message": "…", "fix": "…"}}

Answers are matched by id: a beat is answered while a claim still waits for a job, and a question whose asker gave up
does not shift the ones after it. Either end closing
the line is seen by the other at once: to the factory it means that the engine is gone.
"""

from __future__ import annotations

import json
import logging
import queue
import socket
import struct
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress

from pilothouse import errors
from pilothouse.canonical import Json
from pilothouse.errors import OperationFailed, PilothouseError, StillPending
from pilothouse.factory import messages
from pilothouse.fleet import wire
from pilothouse.fleet.job import Report
from pilothouse.fleet.wire import Fields
from pilothouse.ids import BootId, Epoch, FactoryName, JobId
from pilothouse.ports.dispatch import Beat, Dispatch, Held, Offer

ANSWER_SECONDS = 20.0
"""How long an answer may take beyond what the question itself allows."""
CLAIMS_MAX = 4
"""Claims of one factory that may wait for their answers: it asks one at a time, and gives up some."""
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
        seats: int,
        held: Collection[tuple[JobId, Epoch]] = (),
        pools: Collection[str] | None = None,
        jobs: int = 1,
    ) -> Sequence[Offer]:
        """Ask for jobs, waiting up to `wait_seconds` for the first."""
        question: dict[str, Json] = {
            "do": "claim",
            "factory": factory,
            "boot": boot,
            "wait_seconds": wait_seconds,
            "seats": seats,
            "held": [messages.name_as_json(job, epoch) for job, epoch in held],
            "pools": None if pools is None else sorted(pools),
            "jobs": jobs,
        }
        answer = self._ask(question, timeout_seconds=wait_seconds + ANSWER_SECONDS)
        return tuple(messages.offer_from_json(item) for item in Fields("answer", {"offers": answer}).listed("offers"))

    def start(self, job: JobId, *, epoch: Epoch, pid: int, pid_started: float, resume_step: int | None = None) -> None:
        """Tell that the attempt runs, as which process, and from which step on."""
        told = messages.start_as_json(job, epoch, pid=pid, pid_started=pid_started, resume_step=resume_step)
        self._ask({"do": "start", **told})

    def beat(self, *, factory: FactoryName, boot: BootId, held: Sequence[Held]) -> Beat:
        """Renew the session, tell what is held, and hear what is to be done."""
        told = [messages.held_as_json(each) for each in held]
        return messages.beat_from_json(self._ask({"do": "beat", "factory": factory, "boot": boot, "held": told}))

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

    A claim may wait long for a job, so claims are answered one after another in a thread of their own; beats and
    reports are answered at once. Claims that nobody could still be waiting for are refused.
    """
    answers = _Answers(line, dispatch)
    claims = _Claims(answers)
    try:
        for message in _messages(_bounded(line)):
            if Fields("question", message).text("do") == "claim":
                claims.put(message)
            else:
                answers.give(message)
    except (OSError, ValueError, PilothouseError) as error:
        log.warning("The line to a factory ended: %s", error, extra={"action": "factory_gone"})
    finally:
        _hang_up(line)
        claims.close()


class _Answers:
    """Answers questions on the line, from any thread."""

    def __init__(self, line: socket.socket, dispatch: Dispatch) -> None:
        self._line = line
        self._dispatch = dispatch
        self._sending = threading.Lock()

    def give(self, message: Json) -> None:
        """Answer one question, whatever comes of it."""
        number = Fields("question", message).whole("id")
        try:
            answer: dict[str, Json] = {"id": number, "answer": _answer(self._dispatch, Fields("question", message))}
        except PilothouseError as error:
            answer = {"id": number, "error": _error_as_json(error)}
        except Exception as error:  # the outermost edge: the factory must hear of it, whatever it is
            log.exception("A factory's question failed.", extra={"action": "engine_failed"})
            failure = OperationFailed(f"The engine failed: {error!r}.", fix="look at the engine's own log.")
            answer = {"id": number, "error": _error_as_json(failure)}
        self.send(answer)

    def refuse(self, message: Json, error: PilothouseError) -> None:
        """Answer one question with an error."""
        self.send({"id": Fields("question", message).whole("id"), "error": _error_as_json(error)})

    def send(self, answer: Mapping[str, Json]) -> None:
        """Send one answer, whole."""
        with self._sending:
            _send(self._line, answer)


class _Claims:
    """Answers claims in a thread of its own, in their order."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._waiting: queue.Queue[Json] = queue.Queue(CLAIMS_MAX)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)
        self._thread.start()

    def put(self, message: Json) -> None:
        """Let the claim be answered when those before it have been."""
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            busy = StillPending(f"{CLAIMS_MAX} claims of this factory wait already.", fix="wait for their answers.")
            self._answers.refuse(message, busy)

    def close(self) -> None:
        """Answer no more, and wait for the claim that is being answered: what it grants comes back with its boot."""
        self._closed.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(ANSWER_SECONDS)

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None and not self._closed.is_set():
            try:
                self._answers.give(message)
            except (OSError, ValueError, PilothouseError) as error:
                log.warning("A claim could not be answered: %s", error, extra={"action": "factory_gone"})


def _answer(dispatch: Dispatch, ask: Fields) -> Json:
    match ask.text("do"):
        case "claim":
            offers = dispatch.claim(
                factory=FactoryName(ask.text("factory")),
                boot=BootId(ask.text("boot")),
                wait_seconds=ask.number("wait_seconds"),
                seats=ask.whole("seats"),
                held=[messages.name_from_json(item) for item in ask.listed("held")],
                pools=ask.optional("pools", lambda: ask.texts("pools")),
                jobs=ask.whole("jobs"),
            )
            return [messages.offer_as_json(offer) for offer in offers]
        case "beat":
            held = [messages.held_from_json(item) for item in ask.listed("held")]
            factory, boot = FactoryName(ask.text("factory")), BootId(ask.text("boot"))
            return messages.beat_as_json(dispatch.beat(factory=factory, boot=boot, held=held))
        case "start":
            job, epoch = messages.name_from_json(ask.value)
            dispatch.start(
                job,
                epoch=epoch,
                pid=ask.whole("pid"),
                pid_started=ask.number("pid_started"),
                resume_step=ask.optional("resume_step", lambda: ask.whole("resume_step")),
            )
        case "complete":
            job, epoch = messages.name_from_json(ask.value)
            dispatch.complete(job, epoch=epoch, report=wire.report_from_json(ask.raw("report")))
        case verb:
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
