"""A small HTTP server for the fakes: one request at a time over real sockets, which it can cut."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pilothouse.canonical import Json

JOIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request; header names are in lower case, the path is not decoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def parts(self) -> tuple[str, ...]:
        """The decoded parts of the path."""
        return tuple(unquote(part) for part in self.path.strip("/").split("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An answer; one that is `cut` never arrives, since the connection ends instead."""

    status: int
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Answer = Callable[[Asked], Answered]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Give the URL of a server on the loopback that answers by this function, one request after the other."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            url = urlsplit(self.path)
            asked = Asked(
                method=self.command,
                path=url.path,
                query=dict(parse_qsl(url.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.rfile.read(length),
            )
            with lock:
                answered = answer(asked)
            if answered.cut:
                self.close_connection = True
                return
            self._send(answered)

        def _send(self, answered: Answered) -> None:
            empty = answered.status in {204, 304}
            content = b"" if empty else json.dumps(answered.body).encode()
            self.send_response(answered.status)
            for name, value in answered.headers.items():
                self.send_header(name, value)
            if not empty:
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815  the names that the library looks for

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's own name
            """Say nothing: the fake keeps a log of its own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(JOIN_SECONDS)
