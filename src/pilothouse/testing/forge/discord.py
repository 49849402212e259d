"""A Discord of one webhook: buckets, 429s, threads of a forum, a webhook that is deleted; strict in what it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from pilothouse.canonical import Json
from pilothouse.ports.clock import Clock
from pilothouse.testing.forge.http import Answered, Asked, serving

BUCKET = 5
BUCKET_SECONDS = 2.0
CONTENT_MAX = 2000
PATH = "/api/webhooks/17/s3cret"


@dataclass(slots=True, kw_only=True)
class Message:
    """A message, and the thread in which it stands, "" for the channel itself."""

    id: str
    thread: str
    content: str


@dataclass(kw_only=True)
class FakeDiscord:
    """The chat; `limits` are the next requests to be put off, as `global`, `shared` or `user`.

    `answers` are given first, by somebody in between; `strange_wait` stands in those to limits for the seconds to wait,
    which no Discord would write.
    """

    clock: Clock
    is_forum: bool = True
    is_deleted: bool = False
    failing: int = 0
    limits: list[str] = field(default_factory=list)
    strange_wait: Json = None
    answers: list[Answered] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    threads: dict[str, str] = field(default_factory=dict)
    mentions: list[Json] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    invalid: int = 0

    def __post_init__(self) -> None:
        self._left = BUCKET
        self._fills_at = 0.0
        self._minted = 100

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Listen on the loopback, and give the webhook's URL."""
        with serving(self.answer) as url:
            yield f"{url}{PATH}"

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        answered = self.answers.pop(0) if self.answers else self._answer(asked)
        self.statuses.append(answered.status)
        self.invalid += answered.status in {401, 403, 429}
        return answered

    def _answer(self, asked: Asked) -> Answered:
        if not asked.path.startswith(PATH):
            return _error(401, 50027, "Invalid Webhook Token")
        if self.is_deleted:
            return _error(404, 10015, "Unknown Webhook")
        if self.limits:
            return self._limited(self.limits.pop(0))
        if self.failing:
            self.failing -= 1
            return Answered(status=502, body="<html>")
        now = self.clock.monotonic()
        if now >= self._fills_at:
            self._left, self._fills_at = BUCKET, now + BUCKET_SECONDS
        if self._left <= 0:
            return self._limited("user")
        self._left -= 1
        answered = self._take(asked)
        headers = {
            "X-RateLimit-Bucket": "abc",
            "X-RateLimit-Remaining": str(self._left),
            "X-RateLimit-Reset-After": f"{self._fills_at - now:.3f}",
        }
        return Answered(status=answered.status, body=answered.body, headers=headers)

    def _limited(self, scope: str) -> Answered:
        seconds = max(self._fills_at - self.clock.monotonic(), 0.65)
        body: dict[str, Json] = {"message": "You are being rate limited.", "retry_after": seconds}
        headers = {"Retry-After": str(int(seconds) + 1), "X-RateLimit-Scope": scope}
        if self.strange_wait is not None:
            body["retry_after"] = self.strange_wait
        return Answered(status=429, body={**body, "global": scope == "global"}, headers=headers)

    def _take(self, asked: Asked) -> Answered:
        body: Mapping[str, Json] = json.loads(asked.body)
        content = body.get("content")
        if not isinstance(content, str) or not 0 < len(content) <= CONTENT_MAX:
            return _error(400, 50035, "Invalid Form Body")
        if body.keys() - {"content", "allowed_mentions", "thread_name"} or asked.query.keys() - {"wait", "thread_id"}:
            return _error(400, 50035, f"Invalid Form Body: {sorted(body)} {sorted(asked.query)}")
        self.mentions.append(body.get("allowed_mentions"))
        if asked.method == "PATCH":
            return self._edit(asked, content)
        if asked.method != "POST" or asked.path != PATH:
            return _error(405, 0, "405: Method Not Allowed")
        return self._post(asked, body, content)

    def _post(self, asked: Asked, body: Mapping[str, Json], content: str) -> Answered:
        name, thread = body.get("thread_name"), asked.query.get("thread_id", "")
        if thread and thread not in self.threads:
            return _error(404, 10003, "Unknown Channel")
        if name is not None and not self.is_forum:
            return _error(400, 220003, "Webhooks can only create threads in forum channels")
        if self.is_forum and not thread:
            if not isinstance(name, str) or not 0 < len(name) <= 100:
                return _error(400, 220001, "Webhooks posted to forum channels must have a thread_name or thread_id")
            thread = self._mint()
            self.threads[thread] = name
        message = Message(id=self._mint(), thread=thread, content=content)
        self.messages.append(message)
        if asked.query.get("wait") != "true":
            return Answered(status=204)
        return Answered(status=200, body=_message(message))

    def _edit(self, asked: Asked, content: str) -> Answered:
        identity = asked.path.removeprefix(f"{PATH}/messages/")
        thread = asked.query.get("thread_id", "")
        found = [each for each in self.messages if (each.id, each.thread) == (identity, thread)]
        if not found:
            return _error(404, 10008, "Unknown Message")
        found[0].content = content
        return Answered(status=200, body=_message(found[0]))

    def _mint(self) -> str:
        self._minted += 1
        return str(self._minted)


def _message(message: Message) -> Json:
    return {"id": message.id, "channel_id": message.thread or "9", "content": message.content, "type": 0}


def _error(status: int, code: int, message: str) -> Answered:
    return Answered(status=status, body={"message": message, "code": code})
