"""Asks GitHub over HTTP: a time limit on everything, no redirects, unchanged answers from memory, pages one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus

import httpx2

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.ports.channel import Gate
from pilothouse.ports.clock import Clock
from pilothouse.publish import fields
from pilothouse.publish.github.auth import Auth
from pilothouse.publish.github.faults import GithubFault, Silent, Strange, Unauthorised, fault
from pilothouse.publish.github.kept_answers import Kept, KeptAnswers
from pilothouse.publish.web_address import checked, is_loopback, trust

API = "https://api.github.com"
API_VERSION = "2022-11-28"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
REQUEST_SECONDS = 25.0
"""The longest that one request may take altogether; shorter than the slack of the pace."""
PAGE = 100
PAGES_MAX = 50
ANSWER_BYTES_MAX = 16 << 20


class GithubClient:
    """Asks one GitHub as one account, from any thread; writes go through a gate."""

    def __init__(self, url: str, auth: Auth, clock: Clock) -> None:
        self.url = checked(url)
        self._auth = auth
        self._clock = clock
        self._kept = KeptAnswers()
        self._login = ""
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=False,
            headers={
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": API_VERSION,
                "User-Agent": "pilothouse",
            },
            trust_env=not is_loopback(self.url),
            verify=trust(self.url),
        )

    def login(self) -> str:
        """Return the login under which our words stand."""
        if not self._login:
            self._login = self._auth.login(self._ask_as, now=self._clock.now())
        return self._login

    def read(self, path: str, **query: str) -> Json:
        """Return what stands there now."""
        body, _ = self._read(self._address(path, query))
        return body

    def pages(self, path: str, **query: str) -> Iterator[Mapping[str, Json]]:
        """Give the tables of a listing, page by page, as long as they are asked for."""
        address = self._address(path, {"per_page": str(PAGE), **query})
        for _ in range(PAGES_MAX):
            body, following = self._read(address)
            yield from fields.rows(body)
            if not following:
                return
            address = following
        raise Strange(
            f"GET {path} has more than {PAGES_MAX} pages of {PAGE}", fix="ask for less: a newer `since`, a label"
        )

    def query(self, text: str, variables: Mapping[str, Json]) -> Json:
        """Return the answer to a question in GitHub's query language, which changes nothing."""
        # An enterprise server has it beside its other interface, at /api/graphql and /api/v3.
        address = f"{self.url.removesuffix('/v3')}/graphql"
        body: Json = {"query": text, "variables": dict(variables)}
        answer = self._send("POST", address, body=body, headers={"Authorization": self._header()})
        told = self._heeded(answer, what="POST /graphql")
        errors = [fields.text(each, "message") for each in fields.rows(fields.table(told).get("errors"))]
        if any("rate limit" in each.lower() for each in errors):
            # Here a limit is told with the status of a success.
            raise self._fault(HTTPStatus.TOO_MANY_REQUESTS, answer, {"message": errors[0]}, what="POST /graphql")
        return told

    def write(self, method: str, path: str, body: Json, gate: Gate) -> Json:
        """Change something, once the gate lets it pass, and return the answer."""
        header = self._header()
        gate.pass_one()
        try:
            answer = self._send(method, self._address(path, {}), body=body, headers={"Authorization": header})
        finally:
            gate.passed()
        return self._heeded(answer, what=f"{method} {path}")

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    # --- one request

    def _read(self, address: str) -> tuple[Json, str]:
        """Return the answer and the address of the following page."""
        headers = {"Authorization": self._header()}
        kept = self._kept.get(address)
        if kept is not None:
            headers["If-None-Match"] = kept.etag
        answer = self._send("GET", address, headers=headers)
        if answer.status_code == HTTPStatus.NOT_MODIFIED and kept is not None:
            body: Json = json.loads(kept.content)
            return body, kept.following
        body = self._heeded(answer, what=f"GET {httpx2.URL(address).path}")
        following = self._following(answer)
        # Of a last page that is full, nothing tells later whether another one is behind it: its content stays the same.
        may_grow = not following and len(fields.rows(body)) >= PAGE
        if (etag := answer.headers.get("etag")) and not may_grow:
            self._kept.keep(address, Kept(etag=etag, content=answer.content, following=following))
        return body, following

    def _following(self, answer: httpx2.Response) -> str:
        """Return the address of the next page; one of another server never sees our token."""
        following = answer.links.get("next", {}).get("url", "")
        if following and not following.startswith(f"{self.url}/"):
            raise Strange(
                f"the next page is said to be at {following:.100}, and not at {self.url}",
                fix="check github_url in the settings",
            )
        return following

    def _heeded(self, answer: httpx2.Response, *, what: str) -> Json:
        """Return the body of an answer; a token that was refused is forgotten where another one can be had."""
        try:
            return self._understood(answer, what=what)
        except Unauthorised as fault:
            fault.renewed = self._auth.refused(now=self._clock.now())
            raise

    def _header(self) -> str:
        return self._auth.header(self._ask_as, now=self._clock.now())

    def _ask_as(self, method: str, path: str, header: str) -> Json:
        answer = self._send(method, self._address(path, {}), headers={"Authorization": header})
        return self._understood(answer, what=f"{method} {path}")

    def _address(self, path: str, query: Mapping[str, str]) -> str:
        return str(httpx2.URL(f"{self.url}{path}", params=query)) if query else f"{self.url}{path}"

    def _send(self, method: str, address: str, *, headers: Mapping[str, str], body: Json = None) -> httpx2.Response:
        content = None if body is None else json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        more = {} if content is None else {"Content-Type": "application/json"}
        try:
            with self._client.stream(method, address, content=content, headers={**headers, **more}) as answer:
                _read_all(answer, until=self._clock.monotonic() + REQUEST_SECONDS, clock=self._clock)
                return answer
        except httpx2.TransportError as error:
            told = (str(error) or type(error).__name__).rstrip(".")
            raise Silent(
                f"{self.url} does not answer {method} {httpx2.URL(address).path}: {told}",
                fix="look at the network; it is tried again by itself",
            ) from error

    def _understood(self, answer: httpx2.Response, *, what: str) -> Json:
        try:
            body: Json = json.loads(answer.content) if answer.content else None
        except ValueError:
            body = None
            if answer.is_success:
                raise Strange(f"the answer to {what} is no JSON", fix="check github_url in the settings") from None
        if answer.is_success:
            return body
        raise self._fault(answer.status_code, answer, body, what=what)

    def _fault(self, status: int, answer: httpx2.Response, body: Json, *, what: str) -> GithubFault:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return fault(status, headers, body, what=what, now=self._clock.now())


def _read_all(answer: httpx2.Response, *, until: float, clock: Clock) -> None:
    """Read an answer whole, unless it is endless or trickles."""
    taken, parts = 0, []
    for part in answer.iter_bytes():
        parts.append(part)
        taken += len(part)
        if taken > ANSWER_BYTES_MAX or clock.monotonic() > until:
            raise httpx2.ReadError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes or {REQUEST_SECONDS:g} s")
    answer._content = b"".join(parts)  # noqa: SLF001  what `read` keeps, had it a limit


def checked_repository(name: str) -> str:
    """Return `owner/name` when it is one; anything else would become part of a path."""
    owner, slash, short = name.partition("/")
    allowed = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    if not slash or not owner or short in {"", ".", ".."} or not allowed.issuperset(owner + short):
        raise BadValue(f"{name!r:.100} is no repository", fix="write it as OWNER/NAME in github_repository")
    return name
