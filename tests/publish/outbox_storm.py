"""A storm over an outbox: faults on the forge, kills of the postman, and what must hold when it is over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from pilothouse.engine.postman import Postman
from pilothouse.logbook import marks
from pilothouse.logbook.letter import GITHUB, Kind, Letter, LetterState
from pilothouse.ports.channel import Channel
from pilothouse.ports.outbox import LetterQuery
from pilothouse.ports.store import Store
from pilothouse.testing.clock import FrozenClock
from pilothouse.testing.forge.books import Killed, StoreBooks
from pilothouse.testing.forge.faults import drawn
from pilothouse.testing.forge.github import FakeGithub, breaches
from pilothouse.testing.outbox_conformance import make_issue, make_letter

FAULT_RATE = 0.12
KILL_RATE = 0.01
ISSUE_EVERY = 40
STATUS_EVERY = 7
DAYS_MAX = 90


def storm(
    store: Store, clock: FrozenClock, forge: FakeGithub, connect: Callable[[], Channel], *, letters: int, seed: int
) -> Counter[str]:
    """Post so many letters and deliver them through faults and kills; hold what must hold, and return the counts."""
    rng = random.Random(seed)
    posted = letters_of(letters)
    seen: Counter[str] = Counter()
    plain = StoreBooks(store, clock)
    for letter in posted:
        with store.write() as tx:
            tx.outbox.post(letter, now=clock.now())
    forge.plan = drawn(seed, rate=FAULT_RATE)
    books = StoreBooks(store, clock, dies=lambda: rng.random() < KILL_RATE)
    ends = clock.now() + timedelta(days=DAYS_MAX)
    channel = connect()
    while _waits(store) and clock.now() < ends:
        try:
            postman = Postman(books, channel, wait=plain.wait)
            postman.open()
            while _waits(store) and clock.now() < ends:
                plain.wait(postman.turn())
        except Killed:
            seen["kills"] += 1
            channel = connect()
    seen["faults"] = sum(line.fault != "none" for line in forge.log)
    seen["writes"] = len(forge.writes())
    hold(store, forge, posted)
    return seen


def letters_of(count: int) -> list[Letter]:
    """Return so many letters: issues, comments on them, and ever newer status blocks of them."""
    found: list[Letter] = []
    issue = ""
    for number in range(count):
        if number % ISSUE_EVERY == 0:
            issue = f"run-{number}/issue"
            found.append(make_issue(issue))
        elif number % STATUS_EVERY == 0:
            body = {"text": f"status {number}"}
            found.append(make_letter(f"{issue}/status", kind=Kind.STATUS, body=body, about=issue))
        else:
            found.append(replace(make_letter(f"comment-{number}", about=issue), body={"text": f"comment {number}"}))
    return found


def hold(store: Store, forge: FakeGithub, posted: list[Letter]) -> None:
    """Hold the forge against the letters: each once, in order, the newest status, and no limit ever broken."""
    with store.read() as tx:
        kept = tx.outbox.listed(LetterQuery(limit=len(posted)))
    assert {letter.state for letter in kept} == {LetterState.SENT}
    issues = {issue.body.splitlines()[0]: issue for issue in forge.state.issues.values()}
    wanted = [letter for letter in posted if letter.kind is Kind.ISSUE]
    assert len(forge.state.issues) == len(issues) == len(wanted)
    for letter in wanted:
        issue = issues[marks.mark(letter)]
        about = [each for each in posted if each.about == letter.key]
        comments = [marks.mark(each) for each in about if each.kind is Kind.COMMENT]
        assert [each.body.splitlines()[0] for each in issue.comments] == comments
        statuses = [str(each.body["text"]) for each in about if each.kind is Kind.STATUS]
        if statuses:
            assert f"{marks.STATUS_BEGIN}\n{statuses[-1]}\n{marks.STATUS_END}" in issue.body
    assert not breaches(forge.writes())


def _waits(store: Store) -> bool:
    with store.read() as tx:
        return bool(tx.outbox.listed(LetterQuery(channel=GITHUB, state=LetterState.WAITING, limit=1)))
