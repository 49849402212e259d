"""A GitHub of one repository: strict about what it takes, with its limits and every fault that can be told or drawn.

It keeps a log of all that was asked, from which a test reads whether a limit was ever broken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from typing import assert_never
from urllib.parse import urlencode

from pilothouse.canonical import Json, canonical
from pilothouse.ports.clock import Clock
from pilothouse.testing.forge.faults import AFTER, Fault, Plan, no_faults
from pilothouse.testing.forge.http import Answered, Asked, serving
from pilothouse.testing.forge.routes import ROUTES, Call, Refusal, Route
from pilothouse.testing.forge.shapes import Shapes
from pilothouse.testing.forge.state import State

READS = frozenset({"GET", "HEAD"})
WRITES_PER_MINUTE = 80
WRITES_PER_HOUR = 500
APART_SECONDS = 1.0
BODY_BYTES_MAX = 1 << 20
RETRY_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request in the log, with the status that it was answered by and the fault that struck it."""

    at: datetime
    method: str
    path: str
    status: int
    fault: Fault

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change."""
        return self.method not in READS and self.path != "/graphql"


def _nothing_refused(asked: Asked) -> Answered | None:
    del asked
    return None


@dataclass(kw_only=True)
class FakeGithub:
    """The forge; set `plan` to let things go wrong. `limit_left` is what is left of the primary limit, None for all.

    `moved` says that the repository has another name now, `refuse` answers a request that is not carried out.
    """

    clock: Clock
    tokens: dict[str, str] = field(default_factory=lambda: {"t0k": "pilot"})
    plan: Plan = no_faults
    limit_left: int | None = None
    moved: bool = False
    refuse: Callable[[Asked], Answered | None] = _nothing_refused
    log: list[Line] = field(default_factory=list)
    url: str = ""

    def __post_init__(self) -> None:
        self.state = State(owner="octo", name="demo", now=self.clock.now())
        self.state.account("octo", permission="admin")
        for login in self.tokens.values():
            self.state.account(login, permission="write")
        self.shapes = Shapes(self.state, "")

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Listen on the loopback, and give the URL."""
        with serving(self.answer) as url:
            self.url = url
            self.shapes = Shapes(self.state, url)
            yield url

    def writes(self) -> Sequence[datetime]:
        """Return when changes were asked for, in order."""
        return [line.at for line in self.log if line.is_write]

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        fault = self.plan(asked.method, asked.path)
        answered = self._answer(asked, fault)
        self.log.append(
            Line(at=self.clock.now(), method=asked.method, path=asked.path, status=answered.status, fault=fault)
        )
        return answered

    def _answer(self, asked: Asked, fault: Fault) -> Answered:
        refused = self.refuse(asked)
        if refused is not None:
            return refused
        struck = self._struck(fault)
        if struck is not None and fault not in AFTER:
            return struck
        try:
            answered = self._let_in(asked)
        except Refusal as refusal:
            errors: list[Json] = [{"resource": "Issue", "field": refusal.field, "code": "invalid"}]
            body: dict[str, Json] = {"message": refusal.message, "documentation_url": "https://docs.github.test"}
            answered = Answered(status=refusal.status, body=body | ({"errors": errors} if refusal.field else {}))
        return struck if struck is not None else self._tagged(asked, self._paged(asked, answered))

    def _struck(self, fault: Fault) -> Answered | None:  # noqa: PLR0911  one answer for each fault
        date = {"Date": format_datetime(self.clock.now(), usegmt=True)}
        match fault:
            case Fault.NONE:
                return self._exhausted(date)
            case Fault.ERROR_BEFORE | Fault.ERROR_AFTER:
                return Answered(status=502, body={"message": "Server Error"})
            case Fault.CUT_BEFORE | Fault.CUT_AFTER:
                return Answered(status=0, cut=True)
            case Fault.UNAUTHORISED:
                return Answered(status=401, body={"message": "Bad credentials"})
            case Fault.FORBIDDEN:
                return Answered(status=403, body={"message": "Resource not accessible by integration"})
            case Fault.PRIMARY:
                return self._primary(date)
            case Fault.SECONDARY:
                said = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
                return Answered(status=403, body={"message": said}, headers={"Retry-After": str(RETRY_SECONDS)})
            case Fault.SECONDARY_BARE:
                return Answered(status=403, body={"message": "You have exceeded a secondary rate limit."})
            case Fault.TOO_MANY:
                return Answered(status=429, body={"message": "Too many requests"})
        assert_never(fault)

    def _exhausted(self, date: Mapping[str, str]) -> Answered | None:
        if self.limit_left is None:
            return None
        if self.limit_left <= 0:
            return self._primary(date)
        self.limit_left -= 1
        return None

    def _primary(self, date: Mapping[str, str]) -> Answered:
        reset = int(self.clock.now().timestamp()) + 2 * RETRY_SECONDS
        headers = {**date, "X-RateLimit-Limit": "5000", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
        return Answered(status=403, body={"message": "API rate limit exceeded for user ID 1."}, headers=headers)

    def _let_in(self, asked: Asked) -> Answered:
        login = self.tokens.get(asked.headers.get("authorization", "").removeprefix("Bearer "))
        if login is None:
            return Answered(status=401, body={"message": "Bad credentials"})
        if "user-agent" not in asked.headers:
            raise Refusal(403, "Request forbidden by administrative rules: no User-Agent")
        if self.moved:
            where = f"{self.url}/repositories/1"
            status = 301 if asked.method == "GET" else 307
            body: dict[str, Json] = {"message": "Moved Permanently", "url": where}
            return Answered(status=status, body=body, headers={"Location": where})
        route, at = self._route(asked)
        if at.get("owner", self.state.owner) != self.state.owner or at.get("repo", self.state.name) != self.state.name:
            raise Refusal(404, "Not Found")
        call = Call(
            state=self.state,
            shapes=self.shapes,
            who=self.state.account(login),
            at=at,
            query=asked.query,
            body=_body(asked, route),
            now=self.clock.now(),
        )
        return route.handler(call)

    def _route(self, asked: Asked) -> tuple[Route, Mapping[str, str]]:
        for route in ROUTES:
            at = route.match(asked.method, asked.parts)
            if at is not None:
                if unknown := asked.query.keys() - route.query:
                    raise Refusal(422, f"the query {sorted(unknown)} is not known here: {asked.path}")
                return route, at
        raise Refusal(404, "Not Found")

    def _paged(self, asked: Asked, answered: Answered) -> Answered:
        if "x-more" not in answered.headers:
            return answered
        page = int(asked.query.get("page", "1"))
        following = f"{self.url}{asked.path}?{urlencode({**asked.query, 'page': str(page + 1)})}"
        return replace(answered, headers={"Link": f'<{following}>; rel="next"'})

    def _tagged(self, asked: Asked, answered: Answered) -> Answered:
        """Give a read its ETag, and nothing more where the asker has it already."""
        if asked.method != "GET" or answered.status != 200:
            return answered
        etag = f'W/"{hashlib.sha256(canonical(answered.body).encode()).hexdigest()}"'
        headers = {**answered.headers, "ETag": etag}
        if asked.headers.get("if-none-match") == etag:
            return Answered(status=304, headers=headers)
        return replace(answered, headers=headers)


def _body(asked: Asked, route: Route) -> Mapping[str, Json]:
    """Return the body that a route takes; a field that it does not know is refused, where GitHub would overlook it."""
    if len(asked.body) > BODY_BYTES_MAX:
        raise Refusal(413, "Payload too large")
    if not asked.body:
        return {}
    try:
        body = json.loads(asked.body)
    except ValueError as error:
        raise Refusal(400, "Problems parsing JSON") from error
    if not isinstance(body, dict):
        raise Refusal(400, "Body should be a JSON object")
    if unknown := body.keys() - route.body:
        raise Refusal(422, f"the fields {sorted(unknown)} are not known here: {route.method} {route.path}")
    return body


def breaches(writes: Sequence[datetime]) -> Sequence[str]:
    """Return where these writes break a limit of GitHub, one sentence each."""
    found = []
    for most, seconds in ((WRITES_PER_MINUTE, 60.0), (WRITES_PER_HOUR, 3600.0), (1, APART_SECONDS)):
        for first, last in zip(writes, writes[most:], strict=False):
            if (last - first).total_seconds() < seconds:
                found.append(f"{most + 1} writes within {(last - first).total_seconds():.3f} s at {last}")
    return found
