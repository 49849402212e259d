"""The outbox as the operations and the postman see it: letters, what is known of their channels, hooks that came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.logbook.letter import Kind, Letter, LetterState, Posted

PUT_OFF_MAX = timedelta(hours=1)
"""No letter is put off for longer."""
HOLD_MAX = timedelta(hours=25)
"""No channel is held for longer, but for one that is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Until when a channel waits, and why; `strikes` counts the limits in a row. A closed one waits without end."""

    channel: str
    until: datetime
    why: str
    strikes: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterQuery:
    """Which letters are listed; None is any."""

    product: ProductId | None = None
    channel: str | None = None
    state: LetterState | None = None
    kind: Kind | None = None
    limit: int = 100


class Outbox(Protocol):
    """Letters from the deed to their arrival; every change of a letter compares its revision."""

    def post(self, letter: Letter, *, now: datetime) -> Posted:
        """Store a letter, to be delivered after the commit, and return it as it stands.

        The same letter again changes nothing. Under a key that is taken, a newer body of a coalescing kind replaces the
        older one, and the letter waits again; of any other kind it is `KeyReused`. `BadValue` for a letter of no sense.
        """
        ...

    def by_key(self, product: ProductId, channel: str, key: str) -> Posted | None: ...
    def by_number(self, number: int) -> Posted | None: ...
    def listed(self, query: LetterQuery) -> Sequence[Posted]:
        """Return the letters that are asked for, newest first."""
        ...

    def asking(self, channel: str, *, limit: int) -> Sequence[Posted]:
        """Return the pull requests that have arrived and whose campaign has an open proposal, newest first."""
        ...

    def counts(self) -> Mapping[tuple[str, LetterState], int]:
        """Return how many letters of each channel are in each state, over all products."""
        ...

    def due(self, channel: str, *, now: datetime) -> Posted | None:
        """Return the oldest letter that may be delivered now.

        One about another waits until that has arrived, and until the older ones about the same have ended.
        """
        ...

    def begin(self, posted: Posted) -> Posted | None:
        """Count a try before it is made; None when the letter is no longer the one that was due."""
        ...

    def sent(self, posted: Posted, *, remote: str, answer: Mapping[str, Json], now: datetime) -> None:
        """Keep where it stands; one whose body was replaced meanwhile goes on waiting."""
        ...

    def put_off(self, posted: Posted, *, until: datetime, why: str, unmade: bool = False) -> None:
        """Keep when it is tried again and why; `unmade` takes the try back, which never reached the far side."""
        ...

    def drop(self, posted: Posted, *, why: str, now: datetime) -> None:
        """Give a waiting letter up; it stays in the outbox with the reason."""
        ...

    def retry(self, posted: Posted, *, now: datetime) -> None:
        """Let a letter that waits or was dropped be tried at once."""
        ...

    def hold(self, channel: str) -> Hold | None: ...
    def put_hold(self, hold: Hold) -> None: ...
    def release(self, channel: str) -> None:
        """Take the hold of a channel away, strikes and all."""
        ...

    def writes(self, channel: str) -> Sequence[datetime]:
        """Return when the writes to the channel that are not forgotten were begun, oldest first."""
        ...

    def note_write(self, channel: str, *, at: datetime, forget_before: datetime) -> None:
        """Keep when a write is begun, and forget those before a time."""
        ...

    def set_back(self, channel: str, *, now: datetime) -> None:
        """Heed that the clock may have been set back while nobody looked: nothing waits until it has caught up.

        Writes of a time to come count as of now, and where there are any no hold is heeded: the far side tells it anew.
        What waits longer than `HOLD_MAX`, or a letter than `PUT_OFF_MAX`, was told its time by another clock, and waits
        no more; neither does a letter that was posted in a time to come.
        """
        ...

    def set_by(self, channel: str, by: timedelta, *, now: datetime) -> None:
        """Set the times of a channel with a clock that was set by so much, and shows `now`: each wait stays as long.

        A letter that was due before stays due.
        """
        ...

    def receive(self, source: str, delivery: str, *, now: datetime, forget_before: datetime) -> bool:
        """Keep that a hook came, and forget those before a time; say whether it came for the first time."""
        ...
