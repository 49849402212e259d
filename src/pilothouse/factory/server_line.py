"""The line of a factory to a server: HTTP with a time limit on everything, and the server's own errors raised here."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import httpx2

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, OperationFailed, PilothouseError, Unreachable, named

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
"""How long the server may be silent in an answer beyond what the question allows."""
TRANSFER_SECONDS = 60.0
"""How long the server may be silent in the middle of an artifact."""
CONNECTIONS_MAX = 32
_LATER = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Statuses that asking again may mend."""


class ServerLine:
    """Asks one server, from any thread, with whichever key is the present one.

    A line that is broken, an answer that does not come, and a server that is busy or away are all `Unreachable`: the
    factory goes on with its jobs while its lease lasts, and asks again.
    """

    def __init__(self, url: str, *, key: str | None) -> None:
        self.url = _checked(url)
        self._key = key
        self._lock = threading.Lock()
        self._client = httpx2.Client(
            base_url=self.url,
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX),
            # A proxy of this machine's environment knows no way to this machine itself.
            trust_env=not is_loopback(self.url),
        )

    def use_key(self, key: str) -> None:
        """Ask with this key from now on."""
        with self._lock:
            self._key = key

    def post(self, path: str, body: Mapping[str, Json], *, answer_seconds: float = ANSWER_SECONDS) -> Json:
        """Return the server's answer as JSON; what it refuses is raised as the error that it is."""
        timeout = httpx2.Timeout(answer_seconds, connect=CONNECT_SECONDS)
        content = json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
        headers = {**self._headers(), "Content-Type": "application/json"}
        with self._speaking():
            response = self._client.post(path, content=content, headers=headers, timeout=timeout)
        return _understood(response)

    def send(self, path: str, query: Mapping[str, str], chunks: Callable[[], Iterator[bytes]], *, length: int) -> Json:
        """Send a stream whose length is known, and return the server's answer."""
        headers = {**self._headers(), "Content-Type": "application/x-tar", "Content-Length": str(length)}
        timeout = httpx2.Timeout(TRANSFER_SECONDS, connect=CONNECT_SECONDS)
        with self._speaking():
            response = self._client.post(path, params=query, content=chunks(), headers=headers, timeout=timeout)
        return _understood(response)

    @contextmanager
    def receive(self, path: str) -> Iterator[Iterator[bytes]]:
        """Give the bytes of a stream as they come; what is raised in the block passes."""
        timeout = httpx2.Timeout(TRANSFER_SECONDS, connect=CONNECT_SECONDS)
        with (
            self._speaking(),
            self._client.stream("GET", path, headers=self._headers(), timeout=timeout) as response,
        ):
            if not response.is_success:
                response.read()
                _understood(response)
            yield response.iter_bytes()

    def close(self) -> None:
        """End the line."""
        self._client.close()

    def _headers(self) -> dict[str, str]:
        with self._lock:
            return {} if self._key is None else {"Authorization": f"Bearer {self._key}"}

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TransportError as error:
            raise Unreachable(
                f"The server at {self.url} does not answer: {(str(error) or type(error).__name__).rstrip('.')}.",
                fix="start it, or look at the network; the factory asks again by itself.",
            ) from error


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine itself."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(url: str) -> str:
    try:
        urlsplit(url)  # it is the stricter of the two about brackets
        read = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise BadValue(f"{url!r} is no URL: {error}", fix="write it as http://HOST:PORT") from error
    if read.scheme not in {"http", "https"} or not read.host:
        raise BadValue(f"{url!r} is no URL of a server", fix="write it as http://HOST:PORT")
    return url.rstrip("/")


def _understood(response: httpx2.Response) -> Json:
    try:
        value: Json = json.loads(response.content) if response.content else None
    except ValueError:
        value = None
        if response.is_success:
            raise _foreign(response) from None
    if response.is_success:
        return value
    raise _error_of(response, value)


def _error_of(response: httpx2.Response, value: Json) -> PilothouseError:
    if not isinstance(value, Mapping) or not all(isinstance(value.get(key), str) for key in ("title", "detail", "fix")):
        error: PilothouseError = _foreign(response)
    else:
        error = named(str(value["title"]), str(value["detail"]), fix=str(value["fix"]))
    if response.status_code in _LATER:
        return Unreachable(f"The server is not ready: {error.message}", fix=error.fix)
    return error


def _foreign(response: httpx2.Response) -> OperationFailed:
    return OperationFailed(
        f"{response.request.url} answered {response.status_code}, and not as a server of ours.",
        fix="check that --server names a Pilothouse server of this version.",
    )
