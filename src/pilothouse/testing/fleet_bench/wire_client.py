"""A lean HTTP/1.1 client over one kept connection, so that what is measured is the server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from pilothouse.errors import Unreachable

LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: Any


class WireClient:
    """One connection to a server; it is opened at the first request, and again after it broke."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, f"{url} names no host"
        assert parts.port is not None, f"{url} names no port"
        self._host, self._port = parts.hostname, parts.port
        bearer = f"Authorization: Bearer {token}\r\n" if token else ""
        self._head = f"Host: {parts.hostname}:{parts.port}\r\n{bearer}Content-Type: application/json\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()

    async def post(self, path: str, body: object, *, headers: str = "") -> Answer:
        """Return the answer to a request; `Unreachable` when the server is not there or hangs up."""
        return await self.send("POST", path, json.dumps(body).encode(), headers=headers)

    async def get(self, path: str) -> Answer:
        """Return the answer to a request without a body."""
        return await self.send("GET", path, b"")

    async def send(self, method: str, path: str, body: bytes, *, headers: str = "") -> Answer:
        """Return the answer to any request."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}{headers}Content-Length: {len(body)}\r\n\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port, limit=LIMIT_BYTES)
            reader, writer = self._streams
            writer.write(head.encode() + body)
            return await _read(reader)
        except (OSError, EOFError, ValueError, asyncio.IncompleteReadError) as error:
            await self.close()
            raise Unreachable(f"the server hung up: {error!r}", fix="look whether it runs") from error


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    status = int(head[0].split(" ", 2)[1])
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    return Answer(status, json.loads(body) if body and "json" in fields.get("content-type", "") else body.decode())
