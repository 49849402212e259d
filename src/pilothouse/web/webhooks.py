"""Webhooks of the forge: proof that the forge sent it, once, and nothing of it is believed.

A hook only rings a bell: whoever waits for news reads the forge anew. So a hook that is late, double, out of order or
forged by somebody who has the secret can do no more than make us look. The body is not even read as JSON. What tells of
nothing that we would look for is taken and not heeded, so that a hook for every event is no storm of looks.

While a secret is changed, the file holds the new one and the old one, each on a line of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import timedelta

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from pilothouse.errors import BadValue, Conflict, NotAuthenticated, NotFound, TooLarge
from pilothouse.web.parts import parts_of, told

router = APIRouter()
PATH = "/hooks/github"
SOURCE = "github"
BODY_BYTES_MAX = 1 << 20
"""GitHub sends up to 25 MiB; nothing that we ask to hear of comes near this."""
KEPT_FOR = timedelta(days=30)
"""GitHub delivers again, under the same name, for three days."""
HEEDED = frozenset({"issue_comment", "pull_request", "pull_request_review"})
"""The events after which there may be another approval to read."""
_SIGNATURE = re.compile(r"^sha256=([0-9a-f]{64})$")
_DELIVERY = re.compile(r"^[A-Za-z0-9-]{8,64}$")


@router.post(PATH, include_in_schema=False)
async def take_hook(request: Request) -> Response:
    """Take a delivery that the forge has signed, unless it came before."""
    parts = parts_of(request)
    if parts.hook_secret is None:
        raise NotFound("this server takes no webhooks", fix="set github_webhook_secret_file, and start it again")
    body = await _body(request)
    _check_signature(request.headers.get("x-hub-signature-256", ""), body, secret=parts.hook_secret)
    if request.headers.get("x-github-event", "") not in HEEDED:
        return told({"status": "ignored"}, status=202)
    delivery = request.headers.get("x-github-delivery", "")
    if not _DELIVERY.match(delivery):
        raise BadValue(f"X-GitHub-Delivery is {delivery!r:.80}", fix="send the hook as GitHub does")
    now = parts.clock.now()
    is_new = await parts.engine.apply_async(
        lambda tx: tx.outbox.receive(SOURCE, delivery, now=now, forget_before=now - KEPT_FOR)
    )
    if not is_new:
        raise Conflict(f"delivery {delivery} came before", fix="nothing: the forge was looked at then")
    parts.ring()
    return told({"status": "taken"}, status=202)


async def _body(request: Request) -> bytes:
    """Return the raw body; one that is too long is not read to its end."""
    taken = bytearray()
    async for part in request.stream():
        taken += part
        if len(taken) > BODY_BYTES_MAX:
            raise TooLarge(f"the hook has more than {BODY_BYTES_MAX} bytes", fix="subscribe to fewer events")
    return bytes(taken)


def _check_signature(shown: str, body: bytes, *, secret: bytes) -> None:
    """Refuse a body that was signed with none of the secrets, in the same time wherever it differs."""
    match = _SIGNATURE.match(shown)
    signature = match[1] if match else ""
    wanted = [hmac.new(each, body, hashlib.sha256).hexdigest() for each in _secrets(secret)]
    if sum(hmac.compare_digest(signature, each) for each in wanted) == 0:
        raise NotAuthenticated("the hook's signature is not good", fix="set the same secret here and on GitHub")


def _secrets(secret: bytes) -> list[bytes]:
    """Return the secrets, one on a line; an empty one, which anybody could sign with, is none."""
    return [line.strip() for line in secret.splitlines() if line.strip()]
