"""Whatever happens on the forge meanwhile: each open proposal is read, and a word counts only as its author said it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.engine.watched_forge import Watched

from pilothouse.canonical import Json
from pilothouse.engine.forge_watch import LOOK_SECONDS, LOOKED_AT_MAX, Bell, ForgeWatch, watching
from pilothouse.engine.postman import Postman
from pilothouse.errors import OperationFailed
from pilothouse.logbook.letter import GITHUB
from pilothouse.ports.forge import ForgeBusy, PullRequestSeen
from pilothouse.ports.outbox import Hold
from pilothouse.publish.github.reading import GithubForge
from pilothouse.testing.forge.faults import Fault, scripted
from pilothouse.testing.forge.http import Answered


def read(watched: Watched) -> set[int]:
    """Return the pull requests that were read, by the log of the forge."""
    return {
        int(line.path.rpartition("/")[2])
        for line in watched.forge.log
        if line.method == "GET" and line.path.startswith("/repos/octo/demo/pulls/") and line.path[-1].isdigit()
    }


def test_an_open_proposal_is_read_however_many_newer_ones_there_are(watched: Watched) -> None:
    """The first of thirty, with more commits since than any listing has."""
    watched.open_many(LOOKED_AT_MAX - 1)
    watched.say(watched.command)

    assert watched.watch.look() == 1
    assert [each.subject_digest for each in watched.approvals()] == [watched.proposal.subject.digest()]


def test_more_than_one_look_may_read_are_read_in_turn(watched: Watched) -> None:
    """Each look goes on behind the last one, and begins anew."""
    proposals = watched.open_many(LOOKED_AT_MAX + 4)
    last = watched.number_of(proposals[-1])
    watched.say(f"/pilothouse approve {proposals[-1].subject.digest()}", on=last)
    watched.forge.log.clear()

    first = watched.watch.look()
    seen = read(watched)
    second = watched.watch.look()

    assert (first, len(seen), second) == (0, LOOKED_AT_MAX, 1)
    assert len(read(watched)) == LOOKED_AT_MAX + 5


def test_a_word_on_a_later_page_is_read(watched: Watched) -> None:
    """Comments and reviews both; what has not changed since is not sent again."""
    for number in range(205):
        watched.say(f"talk {number}", login="mallory")
    for _ in range(101):
        watched.review("looks fine", state="COMMENTED")
    watched.say(watched.command)
    watched.forge.log.clear()

    assert watched.watch.look() == 1
    asked = len(watched.forge.log)
    watched.watch.look()

    paths = [line.path for line in watched.forge.log[:asked]]
    assert sum(path.endswith("/comments") for path in paths) == 3
    assert sum(path.endswith("/reviews") for path in paths) == 2
    assert {line.status for line in watched.forge.log[asked:]} == {304}


def test_a_pull_request_that_cannot_be_read_keeps_no_other_from_being_read(watched: Watched) -> None:
    """The forge fails for one of them, every time."""
    [proposal] = watched.open_many(1)
    number = watched.number_of(proposal)
    watched.forge.plan = lambda method, path: Fault.ERROR_BEFORE if "/pulls/1" in path else Fault.NONE  # noqa: ARG005
    watched.say(f"/pilothouse approve {proposal.subject.digest()}", on=number)

    assert [watched.watch.look() for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("fault", [Fault.PRIMARY, Fault.SECONDARY, Fault.SECONDARY_BARE, Fault.TOO_MANY])
def test_a_forge_that_asks_for_patience_is_asked_for_nothing_more(watched: Watched, fault: Fault) -> None:
    """One request of a look is refused, and the look is over."""
    watched.open_many(3)
    watched.forge.log.clear()
    watched.forge.plan = scripted([fault])

    with pytest.raises(ForgeBusy) as busy:
        watched.watch.look()

    assert len(watched.forge.log) == 1
    assert (busy.value.seconds is None) is (fault in {Fault.SECONDARY_BARE, Fault.TOO_MANY})


def test_while_the_postman_waits_nothing_is_read(watched: Watched) -> None:
    """They share one account and its limits."""
    watched.say(watched.command)
    until = watched.clock.now() + timedelta(seconds=600)
    watched.engine.apply(lambda tx: tx.outbox.put_hold(Hold(channel=GITHUB, until=until, why="limit")))
    asked = len(watched.forge.log)

    assert watched.watch.is_time()
    assert watched.watch.look() == 0
    assert len(watched.forge.log) == asked
    watched.clock.advance(5)
    assert watched.watch.is_time()
    watched.clock.advance(600)
    assert watched.watch.look() == 1


def test_while_the_forge_asks_for_patience_the_postman_writes_nothing(watched: Watched) -> None:
    """Whoever of the two it was told, and for as long as it says."""
    watched.say("/pilothouse approve")
    watched.watch.look()
    watched.forge.plan = scripted([Fault.SECONDARY])
    with pytest.raises(ForgeBusy):
        watched.watch.look()
    postman = Postman(watched.engine, watched.channel, wait=lambda _: True)
    postman.open()
    writes = len(watched.forge.writes())

    pause = postman.turn()

    assert pause >= 30
    assert len(watched.forge.writes()) == writes
    watched.clock.advance(pause)
    postman.turn()
    assert len(watched.forge.writes()) == writes + 1


def test_a_comment_that_was_edited_counts_for_nothing(watched: Watched) -> None:
    """Whoever may write there can put words into another's mouth."""
    watched.say("nice")
    said = watched.pull.comments[-1]
    said.body, said.updated_at = watched.command, watched.clock.now() + timedelta(seconds=1)

    assert watched.watch.look() == 0


def test_a_review_that_was_edited_counts_for_nothing(watched: Watched) -> None:
    """The listing of reviews does not show it, so it is asked for."""
    edited = watched.review(watched.command, edited_at=watched.clock.now() + timedelta(seconds=9))

    assert watched.watch.look() == 0
    edited.edited_at = None
    assert watched.watch.look() == 1


def test_a_review_of_which_it_cannot_be_told_counts_for_nothing(watched: Watched) -> None:
    """A server without the query language takes a comment instead."""
    watched.review(watched.command)
    watched.forge.plan = lambda method, path: Fault.FORBIDDEN if path == "/graphql" else Fault.NONE  # noqa: ARG005

    assert watched.watch.look() == 0
    watched.say(watched.command)
    assert watched.watch.look() == 1


def test_a_limit_of_the_query_language_is_a_limit(watched: Watched) -> None:
    """It is told as a success, in words."""
    watched.review(watched.command)
    errors: Json = [{"type": "RATE_LIMITED", "message": "API rate limit exceeded for user ID 1."}]
    watched.forge.refuse = lambda asked: (
        Answered(status=200, body={"errors": errors}, headers={"Retry-After": "40"})
        if asked.path == "/graphql"
        else None
    )

    with pytest.raises(ForgeBusy) as busy:
        watched.watch.look()

    assert busy.value.seconds == 40
    assert not watched.waiting()


def test_a_query_that_fails_once_tells_nobody_that_a_review_was_edited(watched: Watched) -> None:
    """Nothing is known then, and the next look counts."""
    watched.review(watched.command)
    watched.forge.plan = scripted([Fault.NONE] * 4 + [Fault.ERROR_BEFORE])
    first = watched.watch.look()
    assert watched.forge.log[-1].path == "/graphql"
    assert not watched.waiting()

    assert (first, watched.watch.look()) == (0, 1)


@pytest.mark.parametrize("state", ["DISMISSED", "CHANGES_REQUESTED", "COMMENTED", "PENDING"])
def test_a_review_that_does_not_approve_counts_for_nothing(watched: Watched, state: str) -> None:
    """Dismissed by somebody, or never meant so."""
    watched.review(watched.command, state=state)

    assert watched.watch.look() == 0


def test_a_machine_on_the_list_counts_for_nothing(watched: Watched) -> None:
    """An account of a bot, or an App that speaks through a person."""
    bot = watched.forge.state.account("helper[bot]", permission="write", kind="Bot")
    forge = GithubForge(watched.repository, approvers=frozenset({"helper[bot]", "alice"}))
    watch = ForgeWatch(watched.engine, forge)
    watched.review(watched.command, by=bot)
    watched.say(watched.command, login="helper[bot]")
    watched.say(watched.command)
    watched.pull.comments[-1].via_app = 7

    assert watch.look() == 0
    assert not watched.approvals()


def test_a_head_that_was_pushed_by_force_voids_the_word_until_it_is_back(watched: Watched) -> None:
    """What counts is the commit that was proposed."""
    refs = watched.forge.state.refs
    proposed = refs["heads/ferry/1"]
    refs["heads/ferry/1"] = refs["heads/main"]
    watched.say(watched.command)

    assert watched.watch.look() == 0
    refs["heads/ferry/1"] = proposed
    assert watched.watch.look() == 1


def test_a_closed_pull_request_takes_no_word(watched: Watched) -> None:
    """As when somebody deletes its branch, or merges it."""
    watched.say(watched.command)
    watched.pull.state = "closed"

    assert watched.watch.look() == 0


def test_a_repository_that_has_moved_is_told_with_its_mend(watched: Watched) -> None:
    """Its answers lead elsewhere, and are not followed."""
    watched.forge.moved = True

    with pytest.raises(OperationFailed) as caught:
        GithubForge(watched.repository, approvers=frozenset()).pull_request(1, worth_reading=[])

    assert "another name" in caught.value.message
    assert "github_repository" in caught.value.fix


def test_news_makes_a_look_come_soon_and_no_storm_of_looks(watched: Watched) -> None:
    """Once a minute without any, at once with some, and never more often than every five seconds."""
    bell = Bell()
    watch = ForgeWatch(watched.engine, GithubForge(watched.repository, approvers=frozenset()), rung=bell.heard)
    looks = []
    for second in range(130):
        if second == 30 or second >= 110:
            bell.ring()
        if watch.is_time():
            looks.append(second)
        watched.clock.advance(1)

    assert looks == [0, 30, 90, 110, 115, 120, 125]


def test_patience_outlasts_news(watched: Watched) -> None:
    """What the forge has asked for is kept, however often the bell rings."""
    watch = ForgeWatch(watched.engine, GithubForge(watched.repository, approvers=frozenset()), rung=lambda: True)
    watched.forge.plan = scripted([Fault.SECONDARY])
    assert watch.is_time()
    with pytest.raises(ForgeBusy):
        watch.look()

    watched.clock.advance(29)
    early = watch.is_time()
    watched.clock.advance(1)

    assert (early, watch.is_time()) == (False, True)


def test_what_nobody_foresaw_ends_no_watch(watched: Watched) -> None:
    """The next look comes as ever."""
    again = threading.Event()

    class Odd(GithubForge):
        """Fails once in a way of its own."""

        failed = False

        def pull_request(self, number: int, *, worth_reading: Sequence[str]) -> PullRequestSeen | None:
            """Return what stands there, the second time."""
            watched.clock.advance(LOOK_SECONDS)
            if not self.failed:
                self.failed = True
                raise KeyError(number)
            again.set()
            return super().pull_request(number, worth_reading=worth_reading)

    with watching(ForgeWatch(watched.engine, Odd(watched.repository, approvers=frozenset()))):
        assert again.wait(30)
