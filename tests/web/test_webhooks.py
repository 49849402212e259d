"""Webhooks of the forge: what is signed and new rings the bell, and nothing else does anything."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from pilothouse.engine.forge_watch import Bell
from pilothouse.testing.clock import FrozenClock
from pilothouse.web.app import Face, build_app
from pilothouse.web.webhooks import BODY_BYTES_MAX, KEPT_FOR, PATH
from tests.web.world import World

SECRET = b"hook-secret"
BODY = b'{"action": "created"}'
DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


@dataclass(frozen=True, slots=True)
class Hooks:
    """A server that takes webhooks, and the bell behind it."""

    client: TestClient
    bell: Bell

    def send(self, *, delivery: str = DELIVERY, body: bytes = BODY, signature: str | None = None) -> int:
        """Return the status of a delivery."""
        signed = f"sha256={hmac.new(SECRET, body, hashlib.sha256).hexdigest()}"
        headers = {"X-GitHub-Delivery": delivery, "X-Hub-Signature-256": signed if signature is None else signature}
        return self.client.post(PATH, content=body, headers=headers).status_code


@pytest.fixture(name="hooks")
def _hooks(world: World) -> Hooks:
    bell = Bell()
    parts = replace(world.parts, hook_secret=SECRET, ring=bell.ring)
    return Hooks(TestClient(build_app(parts, Face()), base_url="http://localhost", raise_server_exceptions=False), bell)


def test_a_signed_delivery_rings_the_bell_once(hooks: Hooks) -> None:
    """The same one again is refused, whatever its body says now."""
    assert hooks.send() == 202
    assert hooks.bell.heard()
    assert hooks.send() == 409
    assert hooks.send(body=b"{}") == 409
    assert not hooks.bell.heard()


def test_deliveries_may_come_in_any_order(hooks: Hooks) -> None:
    """Each only makes us look; what they say is not even read."""
    assert [hooks.send(delivery=f"delivery-{number}", body=b"not json") for number in (3, 1, 2)] == [202] * 3


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        f"sha256={'0' * 64}",
        f"sha256={hmac.new(b'other', BODY, hashlib.sha256).hexdigest()}",
        f"sha1={hmac.new(SECRET, BODY, hashlib.sha1).hexdigest()}",
        hmac.new(SECRET, BODY, hashlib.sha256).hexdigest(),
        f"sha256={hmac.new(SECRET, BODY + b' ', hashlib.sha256).hexdigest()}",
    ],
)
def test_a_delivery_that_is_not_signed_is_refused(hooks: Hooks, signature: str) -> None:
    """It is not remembered either, so it keeps the true one from nothing."""
    assert hooks.send(signature=signature) == 401
    assert not hooks.bell.heard()
    assert hooks.send() == 202


@pytest.mark.parametrize("delivery", ["", "short", "x" * 65, "a b c d e f g"])
def test_a_delivery_without_a_name_is_refused(hooks: Hooks, delivery: str) -> None:
    """Without one a replay could not be told."""
    assert hooks.send(delivery=delivery) == 422
    assert not hooks.bell.heard()


def test_a_body_that_is_too_long_is_refused(hooks: Hooks) -> None:
    """However well it is signed."""
    assert hooks.send(body=b"x" * (BODY_BYTES_MAX + 1)) == 413
    assert not hooks.bell.heard()


def test_a_server_without_a_secret_takes_none(world: World) -> None:
    """Not even those that are signed with nothing."""
    signature = f"sha256={hmac.new(b'', BODY, hashlib.sha256).hexdigest()}"
    headers = {"X-GitHub-Delivery": DELIVERY, "X-Hub-Signature-256": signature}

    assert world.ask("POST", PATH, content=BODY, headers=headers).status_code == 404


def test_deliveries_are_forgotten_when_the_forge_has_forgotten_them(hooks: Hooks, world: World) -> None:
    """The table does not grow for ever."""
    assert hooks.send() == 202
    clock = world.clock
    assert isinstance(clock, FrozenClock)
    clock.advance((KEPT_FOR + timedelta(days=1)).total_seconds())

    assert hooks.send(delivery="another-delivery") == 202
    assert hooks.send() == 202
