"""Where letters are delivered, and how they are posted.

Whoever does a deed posts what it has to tell in the same transaction, and is done:

    from pilothouse.logbook.letter import GITHUB, Kind, Letter
    from pilothouse.operations.post_letter import post_letter

    post_letter(tx, Letter(
        product=product, campaign="daily", channel=GITHUB, key=f"{run}/issue", kind=Kind.ISSUE,
        body={"title": f"Ferry {run}", "text": text, "labels": ["ferry"]},
    ), now=now)
    post_letter(tx, Letter(
        product=product, campaign="daily", channel=GITHUB, key=f"{run}/status", kind=Kind.STATUS,
        body={"text": "running"}, about=f"{run}/issue",
    ), now=now)

`post_letter` stores the letter (`tx.outbox.post`) and its twin on the channel `local`, which is always there; so
nothing is lost where no forge is configured, and everything is published once one is. Posting the same letter again is
harmless; another body under a key that is taken is `KeyReused`, unless the kind is a coalescing one (`status`,
`labels`): then the newest counts, and is sent. Kinds and their bodies stand in `logbook/letter.py`.

What came of a letter is read back by `tx.outbox.by_key(product, channel, key)`: its `state`, its `remote` (an issue's
number, a comment's id, a commit's sha), and its `answer`:

| kind | answer |
| --- | --- |
| `issue` | `number`, `url` |
| `pull_request` | `number`, `url`, `head` (the sha) |
| `commit` | `sha`, `branch`, `url` |
| `comment` | `id`, `url` |
| `tag` | `tag`, `object`, `commit` |

A letter of the chat (`discord`) is an `issue`, which opens a thread, or a `comment` about one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from pilothouse.canonical import Json
from pilothouse.logbook.letter import Posted
from pilothouse.logbook.pace import Pace


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """It stands outside, under this name."""

    remote: str
    answer: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Not now. The whole channel waits, or this letter `alone` when the others may go on.

    `limited` says that the far side asked for patience without saying how much: each time in a row doubles the wait.
    """

    seconds: float
    why: str
    alone: bool = False
    limited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Never: the letter is dropped. When the `channel` itself is closed, every letter waits until it is set anew."""

    why: str
    channel: bool = False


Outcome: TypeAlias = Delivered | Later | Refused


class Gate(Protocol):
    """Asked before each write to the far side, so that limits hold whatever a letter takes."""

    def pass_one(self) -> None:
        """Return when one write may begin, which is then on record; raise `NotNow` when that is too far away."""
        ...

    def passed(self) -> None:
        """Note that the write has had its answer, or never will."""
        ...


class NotNow(Exception):
    """The next write may begin only after so many seconds; whoever delivers lets it through to the postman."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the next write may begin in {seconds:.0f} s")
        self.seconds = seconds


class Channel(Protocol):
    """One way out. Deliveries of one channel never overlap."""

    @property
    def name(self) -> str: ...
    @property
    def pace(self) -> Pace: ...

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Bring a letter to the far side, and say what came of it.

        `posted.tries` above 1 says that an earlier delivery had no known outcome, or was put off half-way: what already
        stands outside is looked for first, and only the rest is done. `about` is the letter that this one speaks of, as
        it was delivered. Raises nothing but `NotNow`.
        """
        ...

    def close(self) -> None:
        """Let connections go."""
        ...
