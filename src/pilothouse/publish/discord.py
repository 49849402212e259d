"""Brings letters to Discord through a webhook: an issue opens a thread, what is said of it goes into that thread.

A webhook can neither list nor be made idempotent: a message whose answer was lost may come twice, and no other. It is
asked to name nobody (`allowed_mentions` is empty), whatever a text holds.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import assert_never

import httpx2

from pilothouse.canonical import Json
from pilothouse.logbook import marks
from pilothouse.logbook.answers import Treatment, of_discord
from pilothouse.logbook.letter import DISCORD, Kind, Posted
from pilothouse.logbook.pace import DISCORD_PACE, Pace
from pilothouse.ports.channel import Delivered, Gate, Later, NotNow, Outcome, Refused
from pilothouse.ports.clock import Clock
from pilothouse.publish import fields
from pilothouse.publish.web_address import checked, is_loopback, shown, trust

CONTENT_MAX = 2000
THREAD_NAME_MAX = 100
ANSWER_SECONDS = 15.0
SILENT_SECONDS = 15.0
AILING_SECONDS = 10.0
SHUT_SECONDS = 300.0
"""How long everything waits when another than Discord answers."""
SECONDS_MAX = 86_400.0
NO_FORUM = 220003
"""Discord's word for a channel in which a webhook can open no thread."""
_SAID_MAX = 200
_LIBRARY = httpx2.__name__


class _Hides(logging.Filter):
    """Keeps lines with a secret out of a log: the library tells the address of each request."""

    def __init__(self, secret: str) -> None:
        super().__init__()
        self._secret = secret

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line may be logged."""
        return self._secret not in record.getMessage()


class DiscordChannel:
    """`ports.channel.Channel` over one webhook, whose URL is a secret."""

    def __init__(self, webhook: str, clock: Clock) -> None:
        self._webhook = checked(webhook)
        self._host = shown(webhook)
        self._clock = clock
        self._free_at = 0.0
        # As the library tells it: it spells the host in its own way.
        self._hides = _Hides(httpx2.URL(self._webhook).raw_path.decode())
        logging.getLogger(_LIBRARY).addFilter(self._hides)
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=5.0),
            follow_redirects=False,
            headers={"User-Agent": "pilothouse"},
            trust_env=not is_loopback(self._webhook),
            verify=trust(self._webhook),
        )

    @property
    def name(self) -> str:
        """The channel's name."""
        return DISCORD

    @property
    def pace(self) -> Pace:
        """How fast it may be written to, beside what its buckets tell."""
        return DISCORD_PACE

    def close(self) -> None:
        """Let connections go."""
        self._client.close()
        logging.getLogger(_LIBRARY).removeFilter(self._hides)

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Send one message, or edit the one that opened the thread."""
        match posted.letter.kind:
            case Kind.ISSUE | Kind.PULL_REQUEST:
                return self._open(posted, gate)
            case Kind.COMMENT:
                return self._say(posted, about, gate)
            case Kind.STATUS:
                return self._edit(posted, about, gate)
            case Kind.COMMIT | Kind.LABELS | Kind.CLOSE | Kind.TAG | Kind.RUN:
                return Refused(why=f"a chat knows no {posted.letter.kind}")
        assert_never(posted.letter.kind)

    def _open(self, posted: Posted, gate: Gate) -> Outcome:
        """Open a thread; where the channel has none, its message alone stands for it."""
        body = posted.letter.body
        title = " ".join(marks.unmarked(fields.text(body, "title")).split()) or posted.letter.key
        named: dict[str, Json] = {"thread_name": title[:THREAD_NAME_MAX], "content": _content(posted)}
        answer = self._send("POST", "", named, {"wait": "true"}, gate)
        if isinstance(answer, Refused) and f"({NO_FORUM})" in answer.why:
            plain: dict[str, Json] = {"content": _content(posted, before=f"**{title}**\n")}
            answer = self._send("POST", "", plain, {"wait": "true"}, gate)
            return _sent(answer, thread="") if isinstance(answer, Mapping) else answer
        return _sent(answer, thread=fields.text(answer, "channel_id")) if isinstance(answer, Mapping) else answer

    def _say(self, posted: Posted, about: Posted | None, gate: Gate) -> Outcome:
        thread = _thread(about)
        answer = self._send("POST", "", {"content": _content(posted)}, {"wait": "true"} | thread, gate)
        return _sent(answer, thread=thread.get("thread_id", "")) if isinstance(answer, Mapping) else answer

    def _edit(self, posted: Posted, about: Posted | None, gate: Gate) -> Outcome:
        assert about is not None, "a status is about a letter that has arrived"
        status = marks.unmarked(fields.text(posted.letter.body, "text"))
        half = marks.fitted(status, limit=CONTENT_MAX // 2, record=marks.record_of(posted.number))
        content = _content(about, limit=CONTENT_MAX - marks.length(half) - 2) + f"\n\n{half}"
        answer = self._send("PATCH", f"/messages/{about.remote}", {"content": content}, _thread(about), gate)
        return _sent(answer, thread="") if isinstance(answer, Mapping) else answer

    def _send(
        self, method: str, path: str, body: Mapping[str, Json], query: Mapping[str, str], gate: Gate
    ) -> Mapping[str, Json] | Later | Refused:
        """Return the message as Discord has it, or why it has none."""
        ahead = self._free_at - self._clock.monotonic()
        if ahead > 0:
            raise NotNow(ahead)
        content = json.dumps({**body, "allowed_mentions": {"parse": []}}, ensure_ascii=False).encode()
        gate.pass_one()
        try:
            answer = self._client.request(
                method,
                f"{self._webhook}{path}",
                params=dict(query),
                content=content,
                headers={"Content-Type": "application/json"},
            )
        except httpx2.TransportError as error:
            return Later(seconds=SILENT_SECONDS, why=f"{self._host} does not answer: {type(error).__name__}")
        finally:
            gate.passed()
        self._heed(answer)
        return self._understood(answer)

    def _heed(self, answer: httpx2.Response) -> None:
        """Keep when the bucket is filled again, once it is empty."""
        after = _seconds(answer.headers.get("x-ratelimit-reset-after"))
        if answer.headers.get("x-ratelimit-remaining") == "0" and after is not None:
            self._free_at = self._clock.monotonic() + after

    def _understood(self, answer: httpx2.Response) -> Mapping[str, Json] | Later | Refused:
        try:
            body = fields.table(json.loads(answer.content) if answer.content else None)
        except ValueError:
            body = {}
        code, status = fields.number(body, "code"), answer.status_code
        why = f"Discord answered {status} ({code}): {fields.text(body, 'message')[:_SAID_MAX]}"
        treatment = of_discord(status, code, theirs="code" in body or "message" in body)
        match treatment:
            case Treatment.TAKEN:
                return body
            case Treatment.RETRY:
                return Later(seconds=AILING_SECONDS, why=why, alone=True)
            case Treatment.WAIT:
                return _wait(answer, body, why=why)
            case Treatment.REFUSE:
                return Refused(why=why)
            case Treatment.DISABLE:
                return Refused(why=why, channel=True)
        assert_never(treatment)


def _wait(answer: httpx2.Response, body: Mapping[str, Json], *, why: str) -> Later:
    """Return for how long the channel waits: as long as a limit says, or until somebody may have mended the way."""
    seconds = _seconds(body.get("retry_after"))
    seconds = _seconds(answer.headers.get("retry-after")) if seconds is None else seconds
    if seconds is not None:
        return Later(seconds=seconds + 0.5, why=why)
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return Later(seconds=0, why=why, limited=True)
    return Later(seconds=SHUT_SECONDS, why=why)


def _sent(answer: Mapping[str, Json], *, thread: str) -> Outcome:
    identity = fields.text(answer, "id")
    if not identity:
        return Later(seconds=AILING_SECONDS, why="Discord's answer has no message", alone=True)
    return Delivered(remote=identity, answer={"message": identity, "thread": thread})


def _thread(about: Posted | None) -> dict[str, str]:
    thread = "" if about is None else fields.text(about.answer, "thread")
    return {"thread_id": thread} if thread else {}


def _content(posted: Posted, *, before: str = "", limit: int = CONTENT_MAX) -> str:
    text = marks.unmarked(fields.text(posted.letter.body, "text"))
    room = limit - marks.length(before)
    return (before + marks.fitted(text, limit=room, record=marks.record_of(posted.number))).strip() or "…"


def _seconds(told: Json) -> float | None:
    """Return the seconds that a header or a body tells, None where that is no time of at most a day."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        found = float(told)
    except (ValueError, OverflowError):
        return None
    return found if 0 <= found <= SECONDS_MAX else None
