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

    def send(
        self,
        *,
        delivery: str = DELIVERY,
        body: bytes = BODY,
        signature: str | None = None,
        secret: bytes = SECRET,
        event: str = "issue_comment",
        content_type: str = "application/json",
    ) -> int:
        """Return the status of a delivery."""
        signed = f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"
        headers = {
            "Content-Type": content_type,
            "X-GitHub-Delivery": delivery,
            "X-GitHub-Event": event,
            "X-Hub-Signature-256": signed if signature is None else signature,
        }
        return self.client.post(PATH, content=body, headers=headers).status_code


def hooks_of(world: World, secret: bytes = SECRET) -> Hooks:
    """Return a server with these secrets."""
    bell = Bell()
    parts = replace(world.parts, hook_secret=secret, ring=bell.ring)
    return Hooks(TestClient(build_app(parts, Face()), base_url="http://localhost", raise_server_exceptions=False), bell)


@pytest.fixture(name="hooks")
def _hooks(world: World) -> Hooks:
    return hooks_of(world)


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


@pytest.mark.parametrize("event", ["ping", "push", "check_run", "deployment_status", "", "no such event"])
def test_an_event_that_says_nothing_of_approvals_is_taken_and_not_heeded(hooks: Hooks, event: str) -> None:
    """A hook for everything that happens would otherwise be a storm of looks; unsigned it is refused like any other."""
    assert hooks.send(event=event) == 202
    assert not hooks.bell.heard()
    assert hooks.send(event=event, signature="sha256=" + "0" * 64) == 401


@pytest.mark.parametrize("event", ["issue_comment", "pull_request", "pull_request_review"])
def test_an_event_that_may_be_an_approval_is_heeded(hooks: Hooks, event: str) -> None:
    """Whatever it says, the forge is read."""
    assert hooks.send(event=event) == 202
    assert hooks.bell.heard()


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "x", ""])
def test_the_type_of_a_body_that_is_not_read_does_not_matter(hooks: Hooks, content_type: str) -> None:
    """GitHub sends forms where its owner has chosen so; what is signed are the bytes."""
    assert hooks.send(content_type=content_type, body=b"payload=%7B%7D") == 202
    assert hooks.bell.heard()


def test_a_delivery_that_comes_again_after_a_week_is_refused(hooks: Hooks, world: World) -> None:
    """By hand or by somebody who has kept it: the forge was looked at when it came."""
    assert hooks.send() == 202
    assert hooks.bell.heard()
    clock = world.clock
    assert isinstance(clock, FrozenClock)
    clock.advance(timedelta(days=7).total_seconds())

    assert hooks.send() == 409
    assert not hooks.bell.heard()


def test_while_a_secret_is_changed_both_are_good(world: World) -> None:
    """Each on a line of its own; an empty line is no secret, and neither are both together."""
    hooks = hooks_of(world, b"new-secret\n\n  old-secret\r\n")

    good = [hooks.send(secret=each) for each in (b"new-secret", b"old-secret")]
    bad = [hooks.send(secret=each) for each in (b"", b" ", b"new-secret\n\n  old-secret\r\n", b"new-secret\n")]

    assert good == [202, 409]
    assert bad == [401] * 4


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
    headers = {
        "X-GitHub-Delivery": DELIVERY,
        "X-GitHub-Event": "issue_comment",
        "X-Hub-Signature-256": signature,
    }

    assert world.ask("POST", PATH, content=BODY, headers=headers).status_code == 404


def test_deliveries_are_forgotten_when_the_forge_has_forgotten_them(hooks: Hooks, world: World) -> None:
    """The table does not grow for ever."""
    assert hooks.send() == 202
    clock = world.clock
    assert isinstance(clock, FrozenClock)
    clock.advance((KEPT_FOR + timedelta(days=1)).total_seconds())

    assert hooks.send(delivery="another-delivery") == 202
    assert hooks.send() == 202
