"""A whole server without its socket: a real store, a real engine, and the app that asks for tokens."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from pilothouse.access.roles import Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.blobs.local import LocalBlobs
from pilothouse.engine.engine import Engine
from pilothouse.ids import ProductId
from pilothouse.ports.clock import Clock
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing.clock import FrozenClock
from pilothouse.web.app import Face, build_app
from pilothouse.web.edge import Limits
from pilothouse.web.figures import Figures
from pilothouse.web.identity import Gate, Tokens
from pilothouse.web.parts import Parts
from pilothouse.web.rates import Rates

PRODUCT, OTHER = ProductId("demo"), ProductId("other")
JSON_BYTES = 64 << 10
ARTIFACT_BYTES = 1 << 20
SMALL = Limits(json_bytes=JSON_BYTES, artifact_bytes=ARTIFACT_BYTES)
REPORT: Mapping[str, Any] = {
    "outcome": "succeeded",
    "detail": "",
    "exit_code": 0,
    "metrics": {"loss": 0.5},
    "artifacts": [],
    "seconds": 1.5,
}
WORK: Mapping[str, Any] = {"command": ["true"]}


class World:
    """The server, and what a test says to it. `owner` is the text of a token that may do everything."""

    def __init__(
        self,
        home: Path,
        store: SqliteStore,
        *,
        open_loopback: bool,
        hosts: frozenset[str] | None,
        clock: Clock,
        limits: Limits,
        per_second: float,
    ) -> None:
        self.home = home
        self.store = store
        self.clock = clock
        self.engine = Engine(store, clock)
        self.blobs = LocalBlobs(home / "blobs")
        self._bytes = itertools.count(1)
        grant = Grant(kind=TokenKind.USER, name="owner", role=Role.ADMIN, product=None)
        self.owner, token = mint_token(grant, entropy=self.random(ENTROPY_BYTES), now=self.clock.now(), expires_at=None)
        self.parts = self._parts(token, open_loopback=open_loopback, per_second=per_second)
        self.app = build_app(self.parts, Face(hosts=hosts, limits=limits))
        self.client: TestClient = TestClient(self.app, base_url="http://localhost:8750", raise_server_exceptions=False)

    def random(self, count: int) -> bytes:
        """Return bytes that no earlier call has returned."""
        return hashlib.sha512(b"%d" % next(self._bytes)).digest()[:count]

    def _parts(self, owner: Token, *, open_loopback: bool, per_second: float) -> Parts:
        gate = Gate(
            tokens=Tokens(self._stored, self.clock, extra=[owner]),
            clock=self.clock,
            rates=Rates(self.clock, per_second=per_second),
            open_loopback=open_loopback,
            default_product=lambda: PRODUCT,
        )
        return Parts(
            engine=self.engine,
            blobs=self.blobs,
            clock=self.clock,
            gate=gate,
            figures=Figures(),
            entropy=self.random,
            home=self.home,
            scratch=self.home / "incoming",
        )

    def _stored(self, name: str) -> Token | None:
        with self.engine.read() as tx:
            return tx.access.by_id(name)

    def ask(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx2.Response:
        """Return the answer; without a token nobody is named."""
        headers = {**more.pop("headers", {})}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.request(method, path, headers=headers, **more)

    def do(self, method: str, path: str, *, token: str | None = None, **more: Any) -> Any:
        """Return what a request that must succeed answers; the owner asks if no token is given."""
        answer = self.ask(method, path, token=token or self.owner, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def token(self, role: str, *, product: str | None = PRODUCT, name: str = "ada", seconds: float = 3600) -> str:
        """Return the text of a new user's token."""
        body = {"name": name, "role": role, "product": product, "expires_seconds": seconds}
        return str(self.do("POST", "/fleet/tokens", json=body)["token"])

    def enrolment(self, *, product: str | None = PRODUCT, seconds: float = 3600) -> str:
        """Return the text of a new enrolment token."""
        body = {"product": product, "expires_seconds": seconds}
        return str(self.do("POST", "/fleet/enrolments", json=body)["token"])

    def factory(self, name: str = "f1", *, product: str | None = PRODUCT, **facts: Any) -> str:
        """Return the key of a factory that has just enrolled."""
        token = self.enrolment(product=product)
        return str(
            self.do("POST", "/fleet/factories/enroll", token=token, json={"name": name, "seats": 4} | facts)["token"]
        )

    def wait(self, seconds: float) -> None:
        """Let time pass, where it stands still."""
        assert isinstance(self.clock, FrozenClock), "this world's clock runs by itself"
        self.clock.advance(seconds)

    def submit(self, *, product: str = PRODUCT, **manifest: Any) -> dict[str, Any]:
        """Return a job that was submitted."""
        job: dict[str, Any] = self.do("POST", f"/fleet/jobs?product={product}", json={**WORK, **manifest})
        return job

    def claim(self, key: str, factory: str = "f1", boot: str = "b1", **more: Any) -> list[dict[str, Any]]:
        """Return what a factory is offered."""
        body = {"factory": factory, "boot": boot, "seats": 4, "jobs": 4, **more}
        offers: list[dict[str, Any]] = self.do("POST", "/fleet/claim", token=key, json=body)["offers"]
        return offers

    def complete(self, key: str, offer: Mapping[str, Any], *, factory: str = "f1", **report: Any) -> httpx2.Response:
        """Return the answer to one report."""
        ended = {"job": offer["job"], "epoch": offer["epoch"], "report": {**REPORT, **report}}
        body = {"factory": factory, "boot": "b1", "reports": [ended]}
        return self.ask("POST", "/fleet/complete", token=key, json=body)

    def change(
        self, job: str, action: str, *, token: str | None = None, epoch: int | None = None, **more: Any
    ) -> httpx2.Response:
        """Return the answer to a change of a job, meant for its present epoch if none is named."""
        seen = self.do("GET", f"/fleet/jobs/{job}")["epoch"] if epoch is None else epoch
        return self.ask(
            "PATCH",
            f"/fleet/jobs/{job}",
            token=token or self.owner,
            json={"action": action, **more},
            headers={"If-Match": f'"{seen}"'},
        )

    def stage(self, job: str) -> str:
        """Return where a job stands."""
        return str(self.do("GET", f"/fleet/jobs/{job}")["stage"])


@contextmanager
def running(
    home: Path,
    *,
    open_loopback: bool = False,
    hosts: frozenset[str] | None = None,
    clock: Clock | None = None,
    limits: Limits = SMALL,
    per_second: float = 0,
) -> Iterator[World]:
    """Yield a server at work; its time stands still unless a clock is given."""
    store = SqliteStore(home / "pilothouse.db")
    try:
        world = World(
            home,
            store,
            open_loopback=open_loopback,
            hosts=hosts,
            clock=clock or FrozenClock(),
            limits=limits,
            per_second=per_second,
        )
        with world.engine, world.client:
            yield world
    finally:
        store.close()


def refused(answer: httpx2.Response, status: int, title: str | None = None) -> dict[str, Any]:
    """Return the problem that an answer is, after a look at its form."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "fix"} <= problem.keys()
    assert problem["fix"]
    assert problem["type"].startswith("urn:pilothouse:error:")
    assert title in {None, problem["title"]}, problem
    return problem
