"""`ports.outbox.Outbox` over a connection of either database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pilothouse.canonical import Json
from pilothouse.errors import Conflict, KeyReused
from pilothouse.ids import ProductId
from pilothouse.logbook.letter import COALESCING, Kind, Letter, LetterState, Posted, check_letter
from pilothouse.ports.outbox import HOLD_MAX, PUT_OFF_MAX, Hold, LetterQuery
from pilothouse.store.connection import Connection, Parameters
from pilothouse.store.rows import Row, at, instant, maybe_at, strict_json


class StoredOutbox:
    """Letters, holds and hooks within one transaction of the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sql = connection.queries("outbox")

    def post(self, letter: Letter, *, now: datetime) -> Posted:
        """Store a letter, to be delivered after the commit, and return it as it stands."""
        check_letter(letter)
        body = strict_json(letter.body)
        kept = self.by_key(letter.product, letter.channel, letter.key)
        if kept is None:
            parameters: Parameters = {
                "product": letter.product,
                "campaign": letter.campaign,
                "channel": letter.channel,
                "key": letter.key,
                "kind": letter.kind.value,
                "body": body,
                "about": letter.about,
                "now": instant(now),
            }
            self._connection.run(self._sql["add_letter"], parameters)
        elif not _is_one_thing(kept.letter, letter):
            raise _reused(letter)
        elif strict_json(kept.letter.body) != body:
            if letter.kind not in COALESCING:
                raise _reused(letter)
            replaced: Parameters = {
                "number": kept.number,
                "revision": kept.revision,
                "body": body,
                "now": instant(now),
            }
            self._connection.run(self._sql["replace_letter"], replaced)
        found = self.by_key(letter.product, letter.channel, letter.key)
        assert found is not None, f"letter {letter.key!r} was stored in this transaction"
        return found

    def by_key(self, product: ProductId, channel: str, key: str) -> Posted | None:
        """Return the letter of that key."""
        parameters: Parameters = {"product": product, "channel": channel, "key": key}
        return _maybe_posted(self._connection.row(self._sql["letter_by_key"], parameters))

    def by_number(self, number: int) -> Posted | None:
        """Return the letter of that number."""
        return _maybe_posted(self._connection.row(self._sql["letter_by_number"], {"number": number}))

    def listed(self, query: LetterQuery) -> Sequence[Posted]:
        """Return the letters that are asked for, newest first."""
        parameters: Parameters = {
            "product": query.product or "",
            "channel": query.channel or "",
            "state": "" if query.state is None else query.state.value,
            "kind": "" if query.kind is None else query.kind.value,
            "limit": query.limit,
        }
        return [_posted(row) for row in self._connection.rows(self._sql["letters_listed"], parameters)]

    def asking(self, channel: str, *, limit: int) -> Sequence[Posted]:
        """Return the pull requests that have arrived and whose campaign has an open proposal, newest first."""
        parameters: Parameters = {"channel": channel, "limit": limit}
        return [_posted(row) for row in self._connection.rows(self._sql["letters_asking"], parameters)]

    def counts(self) -> Mapping[tuple[str, LetterState], int]:
        """Return how many letters of each channel are in each state, over all products."""
        found = self._connection.rows(self._sql["count_letters"])
        return {(row["channel"], LetterState(row["state"])): row["letters"] for row in found}

    def due(self, channel: str, *, now: datetime) -> Posted | None:
        """Return the oldest letter that may be delivered now."""
        return _maybe_posted(self._connection.row(self._sql["due_letter"], {"channel": channel, "now": instant(now)}))

    def begin(self, posted: Posted) -> Posted | None:
        """Count a try before it is made; None when the letter is no longer the one that was due."""
        parameters: Parameters = {"number": posted.number, "revision": posted.revision}
        if self._connection.run(self._sql["begin_letter"], parameters) == 0:
            return None
        return self.by_number(posted.number)

    def sent(self, posted: Posted, *, remote: str, answer: Mapping[str, Json], now: datetime) -> None:
        """Keep where it stands; one whose body was replaced meanwhile goes on waiting."""
        arrived: Parameters = {"number": posted.number, "remote": remote, "answer": strict_json(answer)}
        self._connection.run(self._sql["letter_arrived"], arrived)
        parameters: Parameters = {"number": posted.number, "revision": posted.revision, "now": instant(now)}
        self._connection.run(self._sql["letter_sent"], parameters)

    def put_off(self, posted: Posted, *, until: datetime, why: str, unmade: bool = False) -> None:
        """Keep when it is tried again and why; `unmade` takes the try back, which never reached the far side."""
        parameters: Parameters = {
            "number": posted.number,
            "revision": posted.revision,
            "until": instant(until),
            "why": why,
            "unmade": int(unmade),
        }
        self._connection.run(self._sql["put_letter_off"], parameters)

    def drop(self, posted: Posted, *, why: str, now: datetime) -> None:
        """Give a waiting letter up; it stays in the outbox with the reason."""
        parameters: Parameters = {
            "number": posted.number,
            "revision": posted.revision,
            "why": why,
            "now": instant(now),
        }
        self._connection.run(self._sql["drop_letter"], parameters)

    def retry(self, posted: Posted, *, now: datetime) -> None:
        """Let a letter that waits or was dropped be tried at once."""
        parameters: Parameters = {"number": posted.number, "revision": posted.revision, "now": instant(now)}
        if self._connection.run(self._sql["retry_letter"], parameters) == 0:
            raise Conflict(
                f"letter {posted.number} ({posted.letter.key}) has arrived, or was posted anew",
                fix="look at it again: `pilothouse logbook outbox`",
            )

    # --- channels

    def hold(self, channel: str) -> Hold | None:
        """Return until when a channel waits."""
        row = self._connection.row(self._sql["hold_of_channel"], {"channel": channel})
        if row is None:
            return None
        return Hold(
            channel=row["channel"],
            until=at(row["until"]),
            why=row["why"],
            strikes=row["strikes"],
            closed=bool(row["closed"]),
        )

    def put_hold(self, hold: Hold) -> None:
        """Keep until when a channel waits."""
        parameters: Parameters = {
            "channel": hold.channel,
            "until": instant(hold.until),
            "why": hold.why,
            "strikes": hold.strikes,
            "closed": int(hold.closed),
        }
        self._connection.run(self._sql["put_hold"], parameters)

    def release(self, channel: str) -> None:
        """Take the hold of a channel away, strikes and all."""
        self._connection.run(self._sql["release_channel"], {"channel": channel})

    def writes(self, channel: str) -> Sequence[datetime]:
        """Return when the writes to the channel that are not forgotten were begun, oldest first."""
        return [at(row["at"]) for row in self._connection.rows(self._sql["channel_writes"], {"channel": channel})]

    def note_write(self, channel: str, *, at: datetime, forget_before: datetime) -> None:
        """Keep when a write is begun, and forget those before a time."""
        self._connection.run(self._sql["note_write"], {"channel": channel, "at": instant(at)})
        self._connection.run(self._sql["forget_writes"], {"channel": channel, "before": instant(forget_before)})

    def set_back(self, channel: str, *, now: datetime) -> None:
        """Heed that the clock may have been set back while nobody looked: nothing waits until it has caught up."""
        for name, longest in (("set_hold_back", HOLD_MAX), ("set_letters_back", PUT_OFF_MAX)):
            parameters: Parameters = {"channel": channel, "now": instant(now), "latest": instant(now + longest)}
            self._connection.run(self._sql[name], parameters)
        self._connection.run(self._sql["set_writes_back"], {"channel": channel, "now": instant(now)})

    def set_by(self, channel: str, by: timedelta, *, now: datetime) -> None:
        """Set the times of a channel with a clock that was set by so much, and shows `now`: each wait stays as long."""
        moved: Parameters = {"channel": channel, "by": by // timedelta(microseconds=1)}
        self._connection.run(self._sql["move_writes"], moved)
        self._connection.run(self._sql["move_hold"], moved)
        letters: Parameters = {
            **moved,
            "now": instant(now),
            "before": instant(now - by),
            "latest": instant(now + PUT_OFF_MAX),
        }
        self._connection.run(self._sql["move_letters"], letters)

    # --- hooks

    def receive(self, source: str, delivery: str, *, now: datetime, forget_before: datetime) -> bool:
        """Keep that a hook came, and forget those before a time; say whether it came for the first time."""
        self._connection.run(self._sql["forget_hooks"], {"before": instant(forget_before)})
        parameters: Parameters = {"source": source, "delivery": delivery, "now": instant(now)}
        return self._connection.run(self._sql["receive_hook"], parameters) == 1


def _is_one_thing(kept: Letter, letter: Letter) -> bool:
    """Whether two letters of one key agree in everything but the body."""
    return (kept.campaign, kept.kind, kept.about) == (letter.campaign, letter.kind, letter.about)


def _reused(letter: Letter) -> KeyReused:
    return KeyReused(
        f"the key {letter.key!r} stands for another letter of product {letter.product!r} on {letter.channel}",
        fix="post a change under a key of its own",
    )


def _maybe_posted(row: Row | None) -> Posted | None:
    return None if row is None else _posted(row)


def _posted(row: Row) -> Posted:
    letter = Letter(
        product=ProductId(row["product"]),
        campaign=row["campaign"],
        channel=row["channel"],
        key=row["key"],
        kind=Kind(row["kind"]),
        body=json.loads(row["body"]),
        about=row["about"],
    )
    return Posted(
        number=row["number"],
        letter=letter,
        revision=row["revision"],
        state=LetterState(row["state"]),
        tries=row["tries"],
        posted_at=at(row["posted_at"]),
        not_before=at(row["not_before"]),
        last_error=row["last_error"],
        remote=row["remote"],
        answer=json.loads(row["answer"]),
        ended_at=maybe_at(row["ended_at"]),
    )
