"""Looks at the pull requests of open proposals, and takes down the yes of whoever may say it there.

A look reads the forge anew; a webhook only makes it come sooner. It goes through the pull requests of the open
proposals themselves, however many newer ones there are, and one that cannot be read holds up none of the others.
Everything that decides is `proposals.forge_approval`; each approval is recorded by the same operation as one from the
command line. An approval is never changed: one that is taken back on the forge before the launch becomes a no, which is
recorded like anybody's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from pilothouse.access.audit import Actor
from pilothouse.engine.engine import Engine
from pilothouse.errors import Conflict, NotFound, OperationFailed, PilothouseError, Refused
from pilothouse.ids import CampaignName
from pilothouse.logbook.letter import GITHUB, Kind, Letter, LetterState, Posted
from pilothouse.operations.approve_proposal import ApprovalRequest, approve_proposal
from pilothouse.operations.post_letter import post_letter
from pilothouse.operations.reject_proposal import REASON_CHARACTERS, Rejection, reject_proposal
from pilothouse.ports.forge import Forge, ForgeBusy, PullRequestSeen
from pilothouse.ports.outbox import HOLD_MAX, Hold, LetterQuery
from pilothouse.ports.store import Transaction
from pilothouse.proposals.forge_approval import (
    COMMAND,
    MAY_WRITE,
    Granted,
    NotCounted,
    Remark,
    Subject,
    digests,
    rule,
    taken_back,
)
from pilothouse.proposals.gate import is_valid
from pilothouse.proposals.proposal import Approval, Proposal, State

LOOK_SECONDS = 60.0
"""How often the forge is looked at while a proposal is open."""
NEWS_SECONDS = 1.0
"""How often it is asked whether a webhook came."""
APART_SECONDS = 5.0
"""How long one look is from the next at least, however much news there is."""
HOLDS_FOR = "1d"
PULL_REQUESTS_MAX = 500
"""So many of the newest pull requests with open proposals are known."""
LOOKED_AT_MAX = 30
"""So many of them are read in one look; the next one goes on with those behind them."""
BUSY_SECONDS_MAX = 3600.0
JOIN_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A pull request of ours, the open proposals of its campaign, and the commit that was proposed by it."""

    letter: Posted
    proposals: Sequence[Proposal]
    head: str


class Bell:
    """Rung by whoever has news, heard once by whoever looks."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Let the next look come at once."""
        self._rung.set()

    def heard(self) -> bool:
        """Return whether it was rung since it was heard last."""
        if not self._rung.is_set():
            return False
        # Cleared only when it was set: what rings in between is not lost.
        self._rung.clear()
        return True


class ForgeWatch:
    """Reads approvals from a forge, from time to time or when it is `rung`."""

    def __init__(self, engine: Engine, forge: Forge, *, rung: Callable[[], bool] = lambda: False) -> None:
        self._engine = engine
        self._forge = forge
        self._rung = rung
        self._told: set[str] = set()
        self._missed: set[str] = set()
        self._next = 0
        self._due = 0.0
        self._patient_until = 0.0

    def run(self, stop: threading.Event) -> None:
        """Look until stopped."""
        while not stop.is_set():
            if self.is_time():
                try:
                    self.look()
                except PilothouseError as error:
                    if not stop.is_set():
                        _log.warning("the forge cannot be read: %s", error, extra={"action": "forge_unread"})
                except Exception:  # noqa: BLE001  a watch that has ended is missed by nobody but those it does not hear
                    _log.exception("the forge cannot be read", extra={"action": "forge_unread"})
            stop.wait(NEWS_SECONDS)

    def is_time(self) -> bool:
        """Return whether a look is due now, and take it for done: each minute, or soon after there was news."""
        now = self._engine.clock.monotonic()
        if now < self._patient_until:
            return False
        if not self._rung() and now < self._due:
            return False
        self._due = now + LOOK_SECONDS
        self._patient_until = now + APART_SECONDS
        return True

    def look(self) -> int:
        """Look once at the pull requests with an open proposal; return how many approvals were recorded.

        While the postman waits, nothing is read: both are one account, with one limit. It is soon asked again.
        """
        with self._engine.read() as tx:
            hold = tx.outbox.hold(GITHUB)
            if hold is not None and hold.until > self._engine.now():
                self._due = self._engine.clock.monotonic() + APART_SECONDS
                return 0
            opened = open_pull_requests(tx)
        return sum(self._look_safely(each) for each in self._in_turn(opened))

    def _in_turn(self, opened: Sequence[Opened]) -> Iterator[Opened]:
        """Give so many as one look may read, oldest first, and go on behind the last one the next time."""
        ordered = sorted(opened, key=lambda each: (each.letter.number < self._next, each.letter.number))
        for each in ordered[:LOOKED_AT_MAX]:
            self._next = each.letter.number + 1
            yield each

    def _look_safely(self, opened: Opened) -> int:
        try:
            return self._look_at(opened)
        except ForgeBusy as busy:
            seconds = LOOK_SECONDS if busy.seconds is None else min(busy.seconds, BUSY_SECONDS_MAX)
            self._patient_until = self._engine.clock.monotonic() + seconds
            if busy.seconds is not None:
                self._hold_postman(busy.seconds, why=busy.message)
            raise
        except OperationFailed as error:
            if str(error) not in self._told:
                self._told.add(str(error))
                _log.warning(
                    "pull request %s cannot be read: %s",
                    opened.letter.remote,
                    error.message,
                    extra={"action": "forge_unread"},
                )
            return 0

    def _hold_postman(self, seconds: float, *, why: str) -> None:
        """Let the postman wait as well for as long as the forge has asked: both are one account, with one limit."""
        until = self._engine.now() + min(timedelta(seconds=seconds), HOLD_MAX)

        def act(tx: Transaction) -> None:
            hold = tx.outbox.hold(GITHUB)
            if hold is None or (not hold.closed and hold.until < until):
                tx.outbox.put_hold(Hold(channel=GITHUB, until=until, why=why, strikes=hold.strikes if hold else 0))

        self._engine.apply(act)

    def _look_at(self, opened: Opened) -> int:
        number = opened.letter.answer.get("number")
        assert isinstance(number, int), f"a pull request that was opened has a number: {opened.letter.answer}"
        seen = self._forge.pull_request(number, worth_reading=[COMMAND])
        if seen is None:
            self._tell_gone(opened.letter)
            return 0
        self._heed_taken_back(opened, seen)
        if not seen.is_open:
            return 0
        recorded = 0
        for remark in seen.remarks:
            proposal = _meant(remark, opened.proposals)
            ruling = rule(remark, self._subject(proposal, opened, seen.head))
            if isinstance(ruling, Granted):
                recorded += self._record(proposal, ruling)
            elif isinstance(ruling, NotCounted):
                self._tell(opened.letter, remark, ruling)
        return recorded

    def _subject(self, proposal: Proposal, opened: Opened, head: str) -> Subject:
        return Subject(
            digest=proposal.subject.digest(),
            head=head,
            proposed_head=opened.head,
            proposed_at=opened.letter.posted_at,
            approvers=self._forge.approvers,
        )

    def _record(self, proposal: Proposal, granted: Granted) -> int:
        """Take an approval down once; one of a proposal that has moved on comes too late."""
        request = ApprovalRequest(
            proposal=proposal.id,
            approver=Actor(name=approver_name(granted.by)),
            reason=granted.url,
            expires_in=HOLDS_FOR,
        )
        now = self._engine.now()

        def act(tx: Transaction) -> int:
            given = tx.proposals.approvals(proposal.product, proposal.campaign)
            if any(each.reason == granted.url and each.approver == request.approver.name for each in given):
                return 0
            approve_proposal(tx, request, product=proposal.product, now=now)
            return 1

        try:
            return self._engine.apply(act)
        except (Conflict, NotFound, Refused):
            return 0

    def _heed_taken_back(self, opened: Opened, seen: PullRequestSeen) -> None:
        """Take down a no for each open proposal of which a yes on this pull request stands no more."""
        there = {_place(remark.url): remark for remark in seen.remarks}
        with self._engine.read() as tx:
            given = [(each, yes) for each in opened.proposals for yes in _given_there(tx, each, seen.number)]
        for proposal, yes in given:
            if not is_valid(yes, self._engine.now()):
                continue
            remark = there.get(_place(yes.reason))
            why = taken_back(remark, self._subject(proposal, opened, seen.head))
            if why and (remark is not None or self._is_missed_again(yes.reason)):
                self._say_no(proposal, yes, why)
            elif not why:
                self._missed.discard(yes.reason)

    def _is_missed_again(self, url: str) -> bool:
        """Whether a remark was missed before: the forge may lag behind for a moment, so it is soon looked again."""
        if url in self._missed:
            return True
        self._missed.add(url)
        self._due = self._engine.clock.monotonic() + APART_SECONDS
        return False

    def _say_no(self, proposal: Proposal, yes: Approval, why: str) -> None:
        """Record that a yes was taken back; a proposal that has moved on meanwhile is left as it is."""
        reason = f"the yes of {yes.approver} at {yes.reason} no longer counts: {why}"
        no = Rejection(proposal=proposal.id, by=Actor(name=GITHUB), reason=reason[:REASON_CHARACTERS])
        now = self._engine.now()
        with suppress(Conflict, NotFound):
            self._engine.apply(lambda tx: reject_proposal(tx, no, product=proposal.product, now=now))
            _log.warning("proposal %s: %s", proposal.id, reason, extra={"action": "approval_taken_back"})

    def _tell_gone(self, letter: Posted) -> None:
        if letter.remote not in self._told:
            self._told.add(letter.remote)
            _log.warning("pull request %s is not there any more", letter.remote, extra={"action": "forge_unread"})

    def _tell(self, letter: Posted, remark: Remark, ruling: NotCounted) -> None:
        """Tell once why a command does not count: in the log, and where its author may write, on the pull request."""
        if remark.id in self._told:
            return
        self._told.add(remark.id)
        _log.warning(
            "a command of %s on the forge does not count: %s",
            ruling.by,
            ruling.why,
            extra={"action": "approval_not_counted"},
        )
        if remark.permission in MAY_WRITE and not remark.by_app:
            answer = Letter(
                product=letter.letter.product,
                campaign=letter.letter.campaign,
                channel=GITHUB,
                key=f"{letter.letter.key}/not-counted/{remark.id}",
                kind=Kind.COMMENT,
                body={"text": f"The command in {remark.url} does not count: {ruling.why}."},
                about=letter.letter.key,
            )
            now = self._engine.now()
            self._engine.apply(lambda tx: _answer(tx, answer, now=now))


def approver_name(login: str) -> str:
    """Return the name under which somebody's approval on the forge is recorded."""
    return f"{login}@github"


def _given_there(tx: Transaction, proposal: Proposal, number: int) -> Sequence[Approval]:
    """Return the approvals of a proposal's subject that were given on the pull request of this number."""
    digest = proposal.subject.digest()
    return [
        each
        for each in tx.proposals.approvals(proposal.product, proposal.campaign)
        if each.subject_digest == digest
        and each.approver.endswith(approver_name(""))
        and _place(each.reason).startswith(f"{number}#")
    ]


def _place(url: str) -> str:
    """Return where on the forge a remark stands, as `NUMBER#ID`: what stands before it changes with a name."""
    return url.rpartition("/")[2]


def open_pull_requests(tx: Transaction) -> Sequence[Opened]:
    """Return the pull requests that stand on the forge and ask for the approval of a proposal that is open."""
    found: list[Opened] = []
    known: dict[tuple[str, str], Sequence[tuple[str, Proposal]]] = {}
    for posted in tx.outbox.asking(GITHUB, limit=PULL_REQUESTS_MAX):
        product, campaign = posted.letter.product, CampaignName(posted.letter.campaign)
        if (product, campaign) not in known:
            proposals = tx.proposals.listed(product, campaign)
            known[product, campaign] = [(each.subject.digest(), each) for each in proposals if each.state is State.OPEN]
        # A pull request asks for the approval of the digest that stands in its text, and for no other.
        text = str(posted.letter.body.get("text", ""))
        opened = [each for digest, each in known[product, campaign] if digest in text]
        # One whose closing was posted asks for nothing any more, though another may ask for the very same.
        if opened and tx.outbox.by_key(product, GITHUB, f"{posted.letter.key}/close") is None:
            found.append(Opened(letter=posted, proposals=opened, head=_proposed_head(tx, posted)))
    return found


def _proposed_head(tx: Transaction, posted: Posted) -> str:
    """Return our newest commit on the pull request's branch; without one of ours, the head that it was opened with.

    Between the two somebody may have pushed, and what the forge called the head is theirs then. The commit of a pull
    request has its key with `/commit` behind it, so that it is found whatever else was committed since.
    """
    letter = posted.letter
    own = tx.outbox.by_key(letter.product, letter.channel, f"{letter.key}/commit")
    if own is not None and own.letter.body.get("branch") == letter.body.get("head"):
        sha = own.answer.get("sha")
        return sha if isinstance(sha, str) else ""
    query = LetterQuery(product=letter.product, channel=letter.channel, state=LetterState.SENT, kind=Kind.COMMIT)
    commits = [each for each in tx.outbox.listed(query) if each.letter.body.get("branch") == letter.body.get("head")]
    told = commits[0].answer.get("sha") if commits else posted.answer.get("head")
    return told if isinstance(told, str) else ""


@contextmanager
def watching(watch: ForgeWatch) -> Iterator[None]:
    """Look at the forge for the block, on a thread of its own."""
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,), name="forge-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(JOIN_SECONDS)


def _meant(remark: Remark, proposals: Sequence[Proposal]) -> Proposal:
    """Return the proposal that a remark names by its digest, the newest where it names none of them."""
    named = digests(remark.text)
    return next((each for each in proposals if each.subject.digest() in named), proposals[-1])


def _answer(tx: Transaction, answer: Letter, *, now: datetime) -> None:
    """Post an answer once: after a restart its reason may be another one."""
    if tx.outbox.by_key(answer.product, answer.channel, answer.key) is None:
        post_letter(tx, answer, now=now)
