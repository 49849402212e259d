"""Brings letters to one repository of GitHub.

Each kind looks before it writes where an earlier try may have arrived: our mark counts only in what our own account has
written. What GitHub answers becomes an outcome in one place, `_outcome_of`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import assert_never

from pilothouse.canonical import Json
from pilothouse.logbook import marks
from pilothouse.logbook.answers import Treatment, of_github
from pilothouse.logbook.letter import GITHUB, Kind, Posted
from pilothouse.logbook.pace import GITHUB_PACE, Pace
from pilothouse.ports.channel import Delivered, Gate, Later, Outcome, Refused
from pilothouse.publish import fields
from pilothouse.publish.github import commits
from pilothouse.publish.github.faults import (
    Ailing,
    GithubFault,
    Gone,
    Limited,
    Missing,
    Silent,
    Strange,
    Unacceptable,
    Unauthorised,
)
from pilothouse.publish.github.repository import Repository, Table

AILING_SECONDS = 10.0
SILENT_SECONDS = 15.0
SHUT_SECONDS = 300.0
"""How long everything waits when the token is refused: a person has to act."""
RENEWED_SECONDS = 1.0
BRANCH_SECONDS = 20.0
"""How long a pull request waits for the commit that makes its branch."""
TITLE_MAX = 256
_log = logging.getLogger(__name__)
LOOKED_AT = 1000
"""So many of our newest issues may be younger than one whose outcome is not known."""


class GithubChannel:
    """`ports.channel.Channel` over one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @property
    def name(self) -> str:
        """The channel's name."""
        return GITHUB

    @property
    def pace(self) -> Pace:
        """How fast it may be written to."""
        return GITHUB_PACE

    def deliver(self, posted: Posted, *, about: Posted | None, gate: Gate) -> Outcome:
        """Bring a letter to the repository, and say what came of it."""
        try:
            return self._delivered(posted, about, gate)
        except GithubFault as fault:
            return self._outcome_of(fault)

    def close(self) -> None:
        """Let connections go."""
        self._repository.client.close()

    def _delivered(  # noqa: PLR0911  one way out for each kind
        self, posted: Posted, about: Posted | None, gate: Gate
    ) -> Outcome:
        match posted.letter.kind:
            case Kind.ISSUE:
                return self._issue(posted, gate)
            case Kind.PULL_REQUEST:
                return self._pull_request(posted, gate)
            case Kind.COMMIT:
                return commits.commit(self._repository, posted, gate)
            case Kind.COMMENT:
                return self._comment(posted, _number_of(about), gate)
            case Kind.STATUS:
                return self._status(posted, about, gate)
            case Kind.LABELS:
                return self._labels(posted, _number_of(about), gate)
            case Kind.CLOSE:
                return self._close(posted, about, gate)
            case Kind.TAG:
                return commits.tag(self._repository, posted, about, gate)
            case Kind.RUN:
                return Refused(why="a forge keeps no runs; a tracker does")
        assert_never(posted.letter.kind)

    # --- each kind

    def _issue(self, posted: Posted, gate: Gate) -> Outcome:
        found = self._marked_issue(posted) if posted.tries > 1 else None
        if found is None:
            body = posted.letter.body
            new: Table = {
                "title": _title(posted),
                "body": _text(posted, limit=marks.BODY_MAX - marks.STATUS_MAX),
                "labels": list(fields.texts(body.get("labels"))),
            }
            found = self._repository.create_issue(new, gate)
        return _numbered(found)

    def _marked_issue(self, posted: Posted) -> Table | None:
        """Return the issue that an earlier try has made: it is among the newest, since our account writes in order.

        Not told from a time: the letter's is by a clock that may have been wrong.
        """
        mine = islice(self._repository.issues(state="all", creator=self._repository.client.login()), LOOKED_AT)
        return next((each for each in mine if "pull_request" not in each and self._is_ours(each, posted)), None)

    def _pull_request(self, posted: Posted, gate: Gate) -> Outcome:
        body = posted.letter.body
        found = self._marked_pull_request(posted) if posted.tries > 1 else None
        if found is None:
            new: Table = {
                "title": _title(posted),
                "body": _text(posted, limit=marks.BODY_MAX - marks.STATUS_MAX),
                "head": fields.text(body, "head"),
                "base": fields.text(body, "base"),
            }
            try:
                found = self._repository.create_pull_request(new, gate)
            except Unacceptable as fault:
                if self._repository.ref(f"heads/{fields.text(body, 'head')}") is None:
                    why = f"its branch is not there yet: {fault.message}"
                    return commits.waited(posted, why=why, seconds=BRANCH_SECONDS)
                raise
        number, labels = fields.number(found, "number"), fields.texts(body.get("labels"))
        if labels:
            there = {label.casefold() for label in self._repository.labels_of(number)}
            missing = [label for label in labels if label.casefold() not in there]
            if missing:
                self._label(number, missing, gate)
        outcome = _numbered(found)
        return Delivered(remote=outcome.remote, answer={**outcome.answer, "head": fields.text(found, "head", "sha")})

    def _label(self, number: int, labels: Sequence[str], gate: Gate) -> None:
        """Add labels to what was just made; one that GitHub does not take is no reason to disown the rest."""
        try:
            self._repository.add_labels(number, labels, gate)
        except Unacceptable as fault:
            _log.warning("#%s goes without labels: %s", number, fault.message, extra={"action": "labels_refused"})

    def _marked_pull_request(self, posted: Posted) -> Table | None:
        owner = self._repository.name.partition("/")[0]
        head = f"{owner}:{fields.text(posted.letter.body, 'head')}"
        found = self._repository.pull_requests(head=head, state="all")
        return next((each for each in found if self._is_ours(each, posted)), None)

    def _comment(self, posted: Posted, number: int, gate: Gate) -> Outcome:
        found = self._marked_comment(posted, number) if posted.tries > 1 else None
        if found is None:
            found = self._repository.create_comment(number, _text(posted, limit=marks.BODY_MAX), gate)
        identity = fields.number(found, "id")
        return Delivered(remote=str(identity), answer={"id": identity, "url": fields.text(found, "html_url")})

    def _marked_comment(self, posted: Posted, number: int) -> Table | None:
        comments = self._repository.comments(number)
        return next((each for each in comments if self._is_ours(each, posted)), None)

    def _status(self, posted: Posted, about: Posted | None, gate: Gate) -> Outcome:
        number, is_pull_request = _number_of(about), _is_pull_request(about)
        read = self._repository.pull_request if is_pull_request else self._repository.issue
        edit = self._repository.edit_pull_request if is_pull_request else self._repository.edit_issue
        before = fields.text(read(number), "body")
        # Seen with an empty block, so that what people have written beside it keeps its place.
        room = marks.BODY_MAX - marks.length(marks.with_status(before, ""))
        if room < marks.STATUS_LEAST:
            return Refused(why=f"the body of #{number} is so long that no status block has room in it")
        text = marks.quiet(marks.unmarked(fields.text(posted.letter.body, "text")))
        block = marks.fitted(text, limit=min(marks.STATUS_MAX, room), record=marks.record_of(posted.number))
        after = marks.with_status(before, block)
        if after != before:
            edit(number, {"body": after}, gate)
        return Delivered(remote=str(number), answer={"number": number})

    def _labels(self, posted: Posted, number: int, gate: Gate) -> Outcome:
        wanted = fields.texts(posted.letter.body.get("wanted"))
        among = {label.casefold() for label in fields.texts(posted.letter.body.get("among"))}
        kept = {label.casefold() for label in wanted}
        there = self._repository.labels_of(number)
        for label in there:
            if label.casefold() in among - kept:
                self._repository.remove_label(number, label, gate)
        missing = [label for label in wanted if label.casefold() not in {each.casefold() for each in there}]
        if missing:
            self._repository.add_labels(number, missing, gate)
        return Delivered(remote=str(number), answer={"number": number})

    def _close(self, posted: Posted, about: Posted | None, gate: Gate) -> Outcome:
        number = _number_of(about)
        if _is_pull_request(about):
            if fields.text(self._repository.pull_request(number), "state") != "closed":
                self._repository.edit_pull_request(number, {"state": "closed"}, gate)
        elif fields.text(self._repository.issue(number), "state") != "closed":
            reason = fields.text(posted.letter.body, "reason")
            self._repository.edit_issue(number, {"state": "closed", "state_reason": reason}, gate)
        return Delivered(remote=str(number), answer={"number": number})

    def _is_ours(self, found: Table, posted: Posted) -> bool:
        """Whether it carries the letter's mark and our own account has written it."""
        author = fields.text(found, "user", "login").casefold()
        if author != self._repository.client.login().casefold():
            return False
        return fields.text(found, "body").startswith(marks.mark(posted.letter))

    # --- what GitHub answers

    def _outcome_of(self, fault: GithubFault) -> Outcome:
        treatment = of_github(fault.status, fault.message, limited=isinstance(fault, Limited))
        match treatment:
            case Treatment.REFUSE if isinstance(fault, Missing | Gone):
                return self._missing(fault)
            case Treatment.REFUSE:
                return Refused(why=fault.message)
            case Treatment.DISABLE:
                return Refused(why=fault.message, channel=True)
            case Treatment.RETRY:
                return Later(seconds=_patience(fault), why=fault.message, alone=True)
            case Treatment.WAIT | Treatment.TAKEN:
                limited = isinstance(fault, Limited) and fault.seconds is None
                return Later(seconds=_patience(fault), why=fault.message, limited=limited)
        assert_never(treatment)

    def _missing(self, fault: GithubFault) -> Outcome:
        """Tell one thing that is gone from a repository that this token does not see at all."""
        try:
            self._repository.itself()
        except (Missing, Gone, Unauthorised):
            return Later(
                seconds=SHUT_SECONDS,
                why=f"the token sees no repository {self._repository.name}: {fault.message}",
            )
        except GithubFault as other:
            return self._outcome_of(other)
        return Refused(why=fault.message)


def _patience(fault: GithubFault) -> float:
    """Return after how many seconds it is worth another try."""
    match fault:
        case Limited():
            return 0.0 if fault.seconds is None else fault.seconds + 1
        case Unauthorised(renewed=True):
            return RENEWED_SECONDS
        case Silent():
            return SILENT_SECONDS
        case Ailing() | Unacceptable():
            return AILING_SECONDS
    return SHUT_SECONDS


def _numbered(found: Table) -> Delivered:
    number = fields.number(found, "number")
    if not number:
        raise Strange("GitHub's answer has no number", fix="check github_url in the settings")
    answer: Mapping[str, Json] = {"number": number, "url": fields.text(found, "html_url")}
    return Delivered(remote=str(number), answer=answer)


def _number_of(about: Posted | None) -> int:
    assert about is not None, "a letter about another is delivered after it"
    return fields.number(about.answer, "number")


def _is_pull_request(about: Posted | None) -> bool:
    return about is not None and about.letter.kind is Kind.PULL_REQUEST


def _title(posted: Posted) -> str:
    """Return the title, which becomes the words of a commit when a pull request is merged, and is quiet like those."""
    title = " ".join(marks.quiet(marks.unmarked(fields.text(posted.letter.body, "title"))).split())
    return title[:TITLE_MAX] or posted.letter.key


def _text(posted: Posted, *, limit: int) -> str:
    """Return the text under the letter's mark, cut with a pointer to the record where it is too long."""
    head = f"{marks.mark(posted.letter)}\n"
    text = marks.quiet(marks.unmarked(fields.text(posted.letter.body, "text")))
    return head + marks.fitted(text, limit=limit - marks.length(head), record=marks.record_of(posted.number))
