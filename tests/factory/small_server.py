"""A server in this process that speaks the fleet's routes to a factory, and writes down what it hears.

It is the contract seen from a factory: what the fleet's own server does is tested with that server.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import LeaseLost, NotAuthenticated, NotFound, PilothouseError, Refused, StorageFailed
from pilothouse.factory import messages
from pilothouse.factory.tar import tar_length, tar_stream, untar
from pilothouse.fleet import wire
from pilothouse.ids import ArtifactDigest, BootId, FactoryName
from pilothouse.testing.factory_bench import RecordingDispatch

STATUSES = {LeaseLost: 409, NotAuthenticated: 401, NotFound: 404, Refused: 403, StorageFailed: 503}
SPOILED_BYTES = 500
"""How far before the end of an artifact's last file a byte is changed; the file fills less than a block more."""


@dataclass(frozen=True)
class Heard:
    """One request."""

    path: str
    bearer: str | None
    body: Mapping[str, Any]


class SmallServer:
    """Answers from a `RecordingDispatch`, with blobs of its own; `keys` are those it takes, None for all.

    `breaks` cuts the line after so many bytes of the next artifacts, `spoils` changes a byte of them.
    """

    def __init__(self, folder: Path) -> None:
        self.dispatch = RecordingDispatch()
        self.blobs = LocalBlobs(folder / "server-blobs")
        self.folder = folder
        self.heard: list[Heard] = []
        self.keys: set[str] | None = None
        self.next_key = "ph_worker_one"
        self.expires_at: str | None = None
        self.breaks: list[int] = []
        self.spoils = False
        self.raw: tuple[int, bytes] | None = None
        self.raw_given = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fleet = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def serving(self) -> Iterator[SmallServer]:
        """Serve beside the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(20)

    def bodies(self, path: str) -> list[Mapping[str, Any]]:
        """Return what was posted to a path."""
        return [heard.body for heard in self.heard if heard.path == path]

    def answer(self, path: str, bearer: str | None, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Return status and JSON for one request with a JSON body."""
        self.heard.append(Heard(path, bearer, body))
        if self.keys is not None and bearer not in self.keys:
            raise NotAuthenticated("no such key", fix="enrol")
        who = (FactoryName(body.get("factory", "")), BootId(body.get("boot", "")))
        match path.split("/")[2:]:
            case ["factories", "enroll"] | ["factories", _, "token", "rotate"]:
                name = body.get("name", path.split("/")[3])
                return 201, {"factory": name, "token": self.next_key, "expires_at": self.expires_at, "product": None}
            case ["factories", "heartbeat"]:
                held = [messages.held_from_json(item) for item in body["held"]]
                beat = self.dispatch.beat(factory=who[0], boot=who[1], held=held)
                return 200, {**messages.beat_as_json(beat), "token": None}
            case ["claim"]:
                return 200, {"offers": self._claim(who, body)}
            case ["leases", "start"]:
                job, epoch = messages.name_from_json(body)
                self.dispatch.start(
                    job, epoch=epoch, pid=body["pid"], pid_started=body["pid_started"], resume_step=body["resume_step"]
                )
                return 204, None
            case ["complete"]:
                for each in body["reports"]:
                    job, epoch = messages.name_from_json(each)
                    self.dispatch.complete(job, epoch=epoch, report=wire.report_from_json(each["report"]))
                return 200, {"results": []}
        raise NotFound(f"no route {path}", fix="none")

    def _claim(self, who: tuple[FactoryName, BootId], body: Mapping[str, Any]) -> list[Any]:
        offers = self.dispatch.claim(
            factory=who[0],
            boot=who[1],
            wait_seconds=body["wait_seconds"],
            seats=body["seats"],
            held=[messages.name_from_json(item) for item in body["held"]],
            pools=body["pools"],
            jobs=body["jobs"],
        )
        return [messages.offer_as_json(offer) for offer in offers]

    def take(self, path: str, query: Mapping[str, list[str]], data: bytes) -> tuple[int, Any]:
        """Take in an artifact."""
        self.heard.append(Heard(path, None, {name: values[0] for name, values in query.items()}))
        into = self.folder / f"in-{len(self.heard)}"
        into.mkdir()
        untar([data], into)
        stored = self.blobs.put(into)
        return 201, {"name": path.rsplit("/", 1)[1], "digest": stored.digest, "size_bytes": stored.size_bytes}

    def artifact(self, digest: str) -> tuple[int, Iterator[bytes]]:
        """Return length and bytes of an artifact."""
        folder = self.blobs.folder(ArtifactDigest(digest))
        if not folder.exists():
            raise NotFound(f"no artifact {digest}", fix="none")
        return tar_length(folder), tar_stream(folder)


class _Server(ThreadingHTTPServer):
    """Knows for whom it serves."""

    daemon_threads = True
    fleet: SmallServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        url = urlsplit(self.path)
        if self.headers["Content-Type"] == "application/x-tar":
            self.tell(lambda: self.server.fleet.take(url.path, parse_qs(url.query), data))
        else:
            self.tell(lambda: self.server.fleet.answer(url.path, self.bearer, json.loads(data)))

    def do_GET(self) -> None:
        fleet = self.server.fleet
        fleet.heard.append(Heard(self.path, self.bearer, {}))
        try:
            length, chunks = fleet.artifact(self.path.rsplit("/", 1)[1])
        except PilothouseError as error:
            self.refuse(error)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        whole = bytearray(b"".join(chunks))
        if fleet.spoils:
            whole[-1025 - SPOILED_BYTES] ^= 1
        self.close_connection = bool(fleet.breaks)
        self.wfile.write(whole[: fleet.breaks.pop(0)] if fleet.breaks else whole)

    @property
    def bearer(self) -> str | None:
        value = self.headers["Authorization"]
        return None if value is None else str(value).removeprefix("Bearer ")

    def tell(self, act: Callable[[], tuple[int, Any]]) -> None:
        if self.server.fleet.raw is not None:
            self.give(*self.server.fleet.raw)
            self.server.fleet.raw_given += 1
            return
        try:
            status, value = act()
        except PilothouseError as error:
            self.refuse(error)
            return
        self.give(status, b"" if value is None else json.dumps(value).encode())

    def refuse(self, error: PilothouseError) -> None:
        status = STATUSES.get(type(error), 422)
        problem = {"title": type(error).__name__, "detail": error.message, "fix": error.fix, "status": status}
        self.give(status, json.dumps(problem).encode())

    def give(self, status: int, content: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
