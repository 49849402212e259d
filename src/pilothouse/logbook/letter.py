"""A letter: what a deed has to tell the world outside, in words that no channel needs to be known for.

| kind | body | on a forge | in a chat |
| --- | --- | --- | --- |
| `issue` | `title`, `text`, `labels`? | an issue | a thread and its first message |
| `commit` | `branch`, `base`, `files` (path → text), `message` | one commit on a branch made from `base` | — |
| `pull_request` | `title`, `text`, `head`, `base`, `labels`? | a pull request | — |
| `comment` | `text` | a comment on what the letter is about | a message in its thread |
| `status` | `text` | the one status block in the body of what it is about | — |
| `labels` | `wanted`, `among` | of the labels `among`, exactly those that are `wanted` | — |
| `close` | `reason` (`completed`, `not_planned`) | what it is about is closed | — |
| `tag` | `tag`, `message`, `commit`? | an annotated tag on that commit, or on the one that it is about | — |

A tracker takes letters of the kind `run` and no other; `campaigns/tracked.py` tells their body.

Texts are markdown. `base` is a branch or a commit. `files` with a text of None are removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pilothouse.canonical import Json
from pilothouse.errors import BadValue
from pilothouse.ids import ProductId

LOCAL = "local"
GITHUB = "github"
DISCORD = "discord"
APPRISE = "apprise"
WANDB = "wandb"
MLFLOW = "mlflow"
TRACKERS = (WANDB, MLFLOW)
CHANNELS = (LOCAL, GITHUB, DISCORD, APPRISE, *TRACKERS)


class Kind(StrEnum):
    """What a letter asks for."""

    ISSUE = "issue"
    COMMIT = "commit"
    PULL_REQUEST = "pull_request"
    COMMENT = "comment"
    STATUS = "status"
    LABELS = "labels"
    CLOSE = "close"
    TAG = "tag"
    RUN = "run"


COALESCING = frozenset({Kind.STATUS, Kind.LABELS})
"""Of these only the newest counts: it takes the place of an older one of its key, sent or not."""

ABOUT = frozenset({Kind.COMMENT, Kind.STATUS, Kind.LABELS, Kind.CLOSE})
"""These speak of something that an earlier letter has made."""

KEY = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._/:@+]|-(?!-|$)){0,199}$")
"""A key stands inside an HTML comment, so it holds nothing that could end one."""
_KEYS: Mapping[Kind, tuple[frozenset[str], frozenset[str]]] = {
    Kind.ISSUE: (frozenset({"title", "text"}), frozenset({"labels"})),
    Kind.COMMIT: (frozenset({"branch", "base", "files", "message"}), frozenset()),
    Kind.PULL_REQUEST: (frozenset({"title", "text", "head", "base"}), frozenset({"labels"})),
    Kind.COMMENT: (frozenset({"text"}), frozenset()),
    Kind.STATUS: (frozenset({"text"}), frozenset()),
    Kind.LABELS: (frozenset({"wanted", "among"}), frozenset()),
    Kind.CLOSE: (frozenset({"reason"}), frozenset()),
    Kind.TAG: (frozenset({"tag", "message"}), frozenset({"commit"})),
    Kind.RUN: (
        frozenset({"id", "name", "group", "purpose", "tags", "config", "summary", "ok"}),
        frozenset({"started_at", "ended_at", "metrics"}),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One thing to tell on one channel; its key is unique within product and channel.

    `about` is the key of an earlier letter of the same product and channel: this one waits until that one has arrived,
    and speaks of what that one has made. Letters about the same thing arrive in the order in which they were posted.
    """

    product: ProductId
    campaign: str
    channel: str
    key: str
    kind: Kind
    body: Mapping[str, Json]
    about: str = ""


class LetterState(StrEnum):
    """Where a letter is."""

    WAITING = "waiting"
    SENT = "sent"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A letter in the outbox.

    `revision` grows when a newer body takes the place of the old one. `tries` counts the deliveries of this revision
    that were begun; one that was begun and has no outcome may have arrived. `remote` names what stands outside, such as
    an issue's number, and `answer` is what the channel told of it; both are kept over later revisions.
    """

    number: int
    letter: Letter
    revision: int
    state: LetterState
    tries: int
    posted_at: datetime
    not_before: datetime
    last_error: str
    remote: str
    answer: Mapping[str, Json]
    ended_at: datetime | None


def check_letter(letter: Letter) -> None:
    """Raise `BadValue` for a letter that no channel could make sense of."""
    if letter.channel not in CHANNELS:
        raise BadValue(f"no channel is named {letter.channel!r}", fix=f"known are {', '.join(CHANNELS)}")
    if not letter.product or not KEY.match(letter.key):
        raise BadValue(
            f"a letter has product {letter.product!r} and key {letter.key!r:.250}",
            fix="a key begins with a letter or digit and holds those and ._/:@+-, never two dashes in a row",
        )
    required, optional = _KEYS[letter.kind]
    given = frozenset(letter.body)
    if not required <= given <= required | optional:
        raise BadValue(
            f"the body of letter {letter.key!r} has the keys {', '.join(sorted(given)) or 'none'}",
            fix=f"a letter of kind {letter.kind} has {', '.join(sorted(required))}"
            + (f", and may have {', '.join(sorted(optional))}" if optional else ""),
        )
    if letter.kind in ABOUT and not letter.about:
        raise BadValue(
            f"letter {letter.key!r} of kind {letter.kind} is about nothing",
            fix="name the key of the letter that makes what it speaks of in `about`",
        )
    if letter.about == letter.key:
        raise BadValue(f"letter {letter.key!r} is about itself", fix="name the key of an earlier letter")
