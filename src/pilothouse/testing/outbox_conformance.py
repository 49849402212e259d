"""What a store does with letters, whichever database it is; a backend subclasses this with a fixture `store`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, Conflict, KeyReused
from pilothouse.ids import ProductId
from pilothouse.logbook.letter import DISCORD, GITHUB, Kind, Letter, LetterState
from pilothouse.ports.outbox import Hold, LetterQuery
from pilothouse.ports.store import Store
from pilothouse.proposals.proposal import State
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import CAMPAIGN, PRODUCT, make_campaign, make_proposal

SOON = BEGIN + timedelta(seconds=30)
LATER = BEGIN + timedelta(seconds=90)
OTHER = ProductId("other")


def make_issue(key: str = "run-1/issue", *, channel: str = GITHUB, product: ProductId = PRODUCT) -> Letter:
    """Return a letter that makes something others can be about."""
    return Letter(
        product=product,
        campaign="daily",
        channel=channel,
        key=key,
        kind=Kind.ISSUE,
        body={"title": f"Ferry {key}", "text": "It sails — ⛴", "labels": ["ferry"]},
    )


def make_letter(
    key: str, *, kind: Kind = Kind.COMMENT, body: Mapping[str, Json] | None = None, about: str = "run-1/issue"
) -> Letter:
    """Return a letter about the issue."""
    return replace(make_issue(key), kind=kind, body={"text": key} if body is None else body, about=about)


class OutboxConformance:
    """Letters, holds, paces and hooks."""

    def test_a_letter_comes_back_as_it_was_posted(self, store: Store) -> None:
        """By its key and by its number, and for nobody else."""
        letter = make_issue()
        with store.write() as tx:
            posted = tx.outbox.post(letter, now=BEGIN)
        with store.read() as tx:
            assert tx.outbox.by_key(PRODUCT, GITHUB, letter.key) == posted
            assert tx.outbox.by_number(posted.number) == posted
            assert tx.outbox.by_key(OTHER, GITHUB, letter.key) is None
            assert tx.outbox.by_key(PRODUCT, DISCORD, letter.key) is None

        assert posted.letter == letter
        assert (posted.state, posted.revision, posted.tries) == (LetterState.WAITING, 1, 0)
        assert (posted.posted_at, posted.not_before, posted.ended_at) == (BEGIN, BEGIN, None)
        assert (posted.remote, posted.answer, posted.last_error) == ("", {}, "")

    def test_the_same_letter_twice_is_one(self, store: Store) -> None:
        """Whoever does a deed again after a kill posts nothing twice, arrived or not."""
        letter = make_issue()
        with store.write() as tx:
            first = tx.outbox.post(letter, now=BEGIN)
            assert tx.outbox.post(letter, now=SOON) == first
            tx.outbox.sent(first, remote="7", answer={"number": 7}, now=SOON)
            again = tx.outbox.post(letter, now=LATER)
            assert (again.state, again.remote, again.number) == (LetterState.SENT, "7", first.number)
            assert len(tx.outbox.listed(LetterQuery())) == 1

    def test_a_key_stands_for_one_letter(self, store: Store) -> None:
        """Another text, kind, campaign or subject under it is refused, and changes nothing."""
        letter = make_letter("run-1/comment")
        with store.write() as tx:
            kept = tx.outbox.post(letter, now=BEGIN)
            for other in (
                replace(letter, body={"text": "other"}),
                replace(letter, campaign="weekly"),
                replace(letter, about="run-2/issue"),
                replace(letter, kind=Kind.STATUS),
            ):
                with pytest.raises(KeyReused), tx.savepoint():
                    tx.outbox.post(other, now=SOON)
            assert tx.outbox.by_key(PRODUCT, GITHUB, letter.key) == kept

    def test_a_newer_status_takes_the_place_of_an_older_one(self, store: Store) -> None:
        """Sent or not; what stands outside stays known, so that it is edited and not made again."""
        with store.write() as tx:
            first = tx.outbox.post(make_letter("s", kind=Kind.STATUS, body={"text": "1"}), now=BEGIN)
            second = tx.outbox.post(make_letter("s", kind=Kind.STATUS, body={"text": "2"}), now=SOON)
            assert (second.number, second.revision, second.letter.body) == (first.number, 2, {"text": "2"})
            tx.outbox.sent(second, remote="9", answer={"number": 9}, now=SOON)
            assert tx.outbox.post(second.letter, now=LATER).state is LetterState.SENT
            third = tx.outbox.post(make_letter("s", kind=Kind.STATUS, body={"text": "3"}), now=LATER)

        assert (third.state, third.revision, third.tries) == (LetterState.WAITING, 3, 0)
        assert (third.remote, third.answer, third.ended_at) == ("9", {"number": 9}, None)

    def test_what_is_replaced_while_it_is_delivered_waits_again(self, store: Store) -> None:
        """The delivery of the older body says where it stands, and does not end the newer one."""
        with store.write() as tx:
            first = tx.outbox.post(make_letter("s", kind=Kind.STATUS, body={"text": "1"}), now=BEGIN)
            begun = tx.outbox.begin(first)
            assert begun is not None
            newer = tx.outbox.post(make_letter("s", kind=Kind.STATUS, body={"text": "2"}), now=SOON)
            tx.outbox.drop(begun, why="old", now=SOON)
            tx.outbox.put_off(begun, until=LATER, why="old")
            assert tx.outbox.begin(begun) is None
            tx.outbox.sent(begun, remote="9", answer={}, now=SOON)

            assert tx.outbox.by_number(first.number) == replace(newer, remote="9")

    @pytest.mark.parametrize(
        "letter",
        [
            replace(make_issue(), channel="pigeon"),
            replace(make_issue(), key=""),
            replace(make_issue(), body={"title": "t"}),
            replace(make_issue(), body={**make_issue().body, "colour": "red"}),
            make_letter("c", about=""),
            make_letter("c", about="c"),
        ],
    )
    def test_a_letter_of_no_sense_is_refused(self, store: Store, letter: Letter) -> None:
        """At the deed, where it can still be mended."""
        with store.write() as tx:
            with pytest.raises(BadValue), tx.savepoint():
                tx.outbox.post(letter, now=BEGIN)
            assert not tx.outbox.listed(LetterQuery())

    def test_letters_are_due_in_their_order(self, store: Store) -> None:
        """By channel and time; one about another waits for it, and for older ones about the same."""
        with store.write() as tx:
            comments = [tx.outbox.post(make_letter(f"c{number}"), now=BEGIN) for number in range(2)]
            assert tx.outbox.due(GITHUB, now=LATER) is None
            issue = tx.outbox.post(make_issue(), now=BEGIN)
            assert tx.outbox.due(GITHUB, now=BEGIN - timedelta(seconds=1)) is None
            assert tx.outbox.due(DISCORD, now=LATER) is None
            assert tx.outbox.due(GITHUB, now=BEGIN) == issue
            tx.outbox.sent(issue, remote="7", answer={}, now=BEGIN)
            assert tx.outbox.due(GITHUB, now=BEGIN) == comments[0]
            tx.outbox.put_off(comments[0], until=LATER, why="ill")
            other = tx.outbox.post(make_issue("run-2/issue"), now=BEGIN)
            assert tx.outbox.due(GITHUB, now=SOON) == other
            tx.outbox.drop(comments[0], why="gone", now=SOON)
            assert tx.outbox.due(GITHUB, now=SOON) == comments[1]

    def test_one_about_a_letter_of_another_product_waits(self, store: Store) -> None:
        """Keys are each product's own."""
        with store.write() as tx:
            tx.outbox.post(make_letter("c"), now=BEGIN)
            foreign = tx.outbox.post(make_issue(product=OTHER), now=BEGIN)
            tx.outbox.sent(foreign, remote="7", answer={}, now=BEGIN)
            assert tx.outbox.due(GITHUB, now=LATER) is None

    def test_tries_are_counted_before_they_are_made(self, store: Store) -> None:
        """And one that never reached the far side is taken back."""
        with store.write() as tx:
            posted = tx.outbox.post(make_issue(), now=BEGIN)
            begun = tx.outbox.begin(posted)
            assert begun is not None
            assert begun.tries == 1
            tx.outbox.put_off(begun, until=SOON, why="unknown")
            again = tx.outbox.begin(begun)
            assert again is not None
            tx.outbox.put_off(again, until=LATER, why="limit", unmade=True)
            kept = tx.outbox.by_number(posted.number)
            assert kept is not None
            assert (kept.tries, kept.not_before, kept.last_error) == (1, LATER, "limit")

    def test_a_dropped_letter_can_be_tried_again_and_one_that_arrived_cannot(self, store: Store) -> None:
        """Nothing is deleted, so nothing is lost."""
        with store.write() as tx:
            posted = tx.outbox.post(make_issue(), now=BEGIN)
            tx.outbox.drop(posted, why="no", now=SOON)
            dropped = tx.outbox.by_number(posted.number)
            assert dropped is not None
            assert (dropped.state, dropped.last_error, dropped.ended_at) == (LetterState.DROPPED, "no", SOON)
            tx.outbox.retry(dropped, now=LATER)
            assert tx.outbox.due(GITHUB, now=LATER) is not None
            tx.outbox.sent(posted, remote="7", answer={}, now=LATER)
            with pytest.raises(Conflict), tx.savepoint():
                tx.outbox.retry(posted, now=LATER)

    def test_letters_are_listed_newest_first_and_counted(self, store: Store) -> None:
        """By product, channel and state."""
        letters = [make_issue("a"), make_issue("b", product=OTHER), make_issue("c", channel=DISCORD)]
        with store.write() as tx:
            posted = [tx.outbox.post(letter, now=BEGIN) for letter in letters]
            tx.outbox.drop(posted[0], why="no", now=SOON)

            def keys(query: LetterQuery) -> list[str]:
                return [each.letter.key for each in tx.outbox.listed(query)]

            assert keys(LetterQuery()) == ["c", "b", "a"]
            assert keys(LetterQuery(limit=1)) == ["c"]
            assert keys(LetterQuery(product=PRODUCT)) == ["c", "a"]
            assert keys(LetterQuery(channel=GITHUB)) == ["b", "a"]
            assert keys(LetterQuery(state=LetterState.DROPPED)) == ["a"]
            assert keys(LetterQuery(kind=Kind.COMMENT)) == []
            assert tx.outbox.counts() == {
                (GITHUB, LetterState.WAITING): 1,
                (GITHUB, LetterState.DROPPED): 1,
                (DISCORD, LetterState.WAITING): 1,
            }

    def test_nothing_of_a_deed_that_failed_is_posted(self, store: Store) -> None:
        """The letter is part of the transaction of the deed."""
        with store.write() as tx:
            with suppress(ZeroDivisionError), tx.savepoint():
                tx.outbox.post(make_issue(), now=BEGIN)
                raise ZeroDivisionError
            assert not tx.outbox.listed(LetterQuery())

    def test_a_hold_is_kept_until_it_is_released(self, store: Store) -> None:
        """With its strikes, channel by channel."""
        hold = Hold(channel=GITHUB, until=SOON, why="secondary limit", strikes=2)
        with store.write() as tx:
            tx.outbox.put_hold(hold)
            assert tx.outbox.hold(GITHUB) == hold
            tx.outbox.put_hold(replace(hold, until=LATER, strikes=3, closed=True))
            assert tx.outbox.hold(GITHUB) == replace(hold, until=LATER, strikes=3, closed=True)
            assert tx.outbox.hold(DISCORD) is None
            tx.outbox.release(GITHUB)
            assert tx.outbox.hold(GITHUB) is None

    def test_writes_are_remembered_until_they_are_forgotten(self, store: Store) -> None:
        """Oldest first, channel by channel."""
        with store.write() as tx:
            for when in (BEGIN, SOON, LATER):
                tx.outbox.note_write(GITHUB, at=when, forget_before=BEGIN)
            tx.outbox.note_write(DISCORD, at=LATER, forget_before=LATER)
            assert list(tx.outbox.writes(GITHUB)) == [BEGIN, SOON, LATER]
            tx.outbox.note_write(GITHUB, at=LATER, forget_before=SOON)
            assert list(tx.outbox.writes(GITHUB)) == [SOON, LATER, LATER]
            assert list(tx.outbox.writes(DISCORD)) == [LATER]

    def test_a_clock_that_is_set_back_is_not_waited_for(self, store: Store) -> None:
        """Times that cannot be are taken for the present, channel by channel; all others stay."""
        ahead = BEGIN + timedelta(days=9)
        with store.write() as tx:
            for channel in (GITHUB, DISCORD):
                for when in (BEGIN, ahead):
                    tx.outbox.note_write(channel, at=when, forget_before=BEGIN)
                tx.outbox.put_hold(Hold(channel=channel, until=ahead, why="limit"))
                for key, until in (("far", ahead), ("near", LATER)):
                    posted = tx.outbox.post(make_issue(key, channel=channel), now=BEGIN)
                    tx.outbox.put_off(posted, until=until, why="ill")

            def told(channel: str) -> tuple[object, ...]:
                hold = tx.outbox.hold(channel)
                letters = [tx.outbox.by_key(PRODUCT, channel, key) for key in ("far", "near")]
                waits = [each.not_before for each in letters if each is not None]
                return list(tx.outbox.writes(channel)), hold and hold.until, waits

            tx.outbox.set_back(GITHUB, now=SOON)

            assert told(GITHUB) == ([BEGIN, SOON], SOON, [SOON, LATER])
            assert told(DISCORD) == ([BEGIN, ahead], ahead, [ahead, LATER])
            tx.outbox.put_hold(Hold(channel=GITHUB, until=LATER, why="limit"))
            tx.outbox.set_back(GITHUB, now=SOON)
            assert told(GITHUB)[1] == LATER

    def test_a_letter_of_a_time_to_come_is_due(self, store: Store) -> None:
        """It was posted by a clock that has been set back since."""
        with store.write() as tx:
            tx.outbox.post(make_issue(), now=LATER)
            tx.outbox.set_back(GITHUB, now=SOON)
            assert tx.outbox.due(GITHUB, now=SOON) is not None

    @pytest.mark.parametrize("by", [timedelta(days=3), timedelta(days=-3), timedelta(seconds=-2)])
    def test_a_clock_that_is_set_changes_no_wait(self, store: Store, by: timedelta) -> None:
        """Writes, holds and letters that wait move with it, channel by channel; what was due is due."""
        now = SOON + by
        with store.write() as tx:
            for channel in (GITHUB, DISCORD):
                tx.outbox.note_write(channel, at=BEGIN, forget_before=BEGIN)
                tx.outbox.put_hold(Hold(channel=channel, until=LATER, why="limit"))
                for key, until in (("due", SOON), ("put off", LATER)):
                    posted = tx.outbox.post(make_issue(key.replace(" ", "-"), channel=channel), now=BEGIN)
                    tx.outbox.put_off(posted, until=until, why="ill")
            tx.outbox.post(make_issue("since"), now=now)

            tx.outbox.set_by(GITHUB, by, now=now)

            holds = {channel: tx.outbox.hold(channel) for channel in (GITHUB, DISCORD)}
            assert list(tx.outbox.writes(GITHUB)) == [BEGIN + by]
            assert [hold and hold.until for hold in holds.values()] == [LATER + by, LATER]
            letters = [tx.outbox.by_key(PRODUCT, GITHUB, key) for key in ("due", "since", "put-off")]
            due, since, later = (each.not_before for each in letters if each is not None)
            assert max(due, since) <= now
            assert later == LATER + by
            kept = tx.outbox.by_key(PRODUCT, DISCORD, "put-off")
            assert kept is not None
            assert kept.not_before == LATER

    def test_pull_requests_ask_while_a_proposal_of_theirs_is_open(self, store: Store) -> None:
        """Those that have arrived, newest first, whatever the clock said; a proposal that moved on asks for nothing."""
        proposal = replace(make_proposal(1), created_at=SOON)
        body: Mapping[str, Json] = {"title": "t", "text": "x", "head": "h", "base": "main"}
        pull = replace(make_issue("run-1/pull"), kind=Kind.PULL_REQUEST, body=body, campaign=CAMPAIGN)
        with store.write() as tx:
            tx.campaigns.put(make_campaign())
            tx.proposals.add(proposal)
            others = [
                (replace(pull, key="before"), BEGIN),
                (replace(pull, key="other", campaign="other"), LATER),
                (replace(pull, key="foreign", product=OTHER), LATER),
                (replace(make_issue("issue"), campaign=CAMPAIGN), LATER),
                (replace(pull, key="chat", channel=DISCORD), LATER),
            ]
            for letter, when in [(pull, SOON), (replace(pull, key="newer"), LATER), *others]:
                tx.outbox.sent(tx.outbox.post(letter, now=when), remote="1", answer={}, now=LATER)
            tx.outbox.post(replace(pull, key="waits"), now=LATER)

            assert [each.letter.key for each in tx.outbox.asking(GITHUB, limit=9)] == ["before", "newer", "run-1/pull"]
            assert [each.letter.key for each in tx.outbox.asking(GITHUB, limit=1)] == ["before"]
            tx.proposals.move(PRODUCT, proposal.id, state=State.REJECTED, refusal="no")
            assert not tx.outbox.asking(GITHUB, limit=9)

    def test_a_hook_is_received_once(self, store: Store) -> None:
        """And again only when it was forgotten."""
        with store.write() as tx:
            assert tx.outbox.receive("github", "d1", now=BEGIN, forget_before=BEGIN)
            assert not tx.outbox.receive("github", "d1", now=SOON, forget_before=BEGIN)
            assert tx.outbox.receive("gitea", "d1", now=SOON, forget_before=BEGIN)
            assert tx.outbox.receive("github", "d2", now=LATER, forget_before=LATER)
            assert tx.outbox.receive("github", "d1", now=LATER, forget_before=LATER)
