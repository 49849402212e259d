"""What is read of a repository: issues with a label, and what people have said about a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pilothouse.ports.forge import ForgeBusy, PullRequestSeen
from pilothouse.proposals.forge_approval import APPROVED, Remark
from pilothouse.proposals.window import SHOWN_MAX, IssueSeen
from pilothouse.publish import fields
from pilothouse.publish.github.faults import Ailing, GithubFault, Gone, Limited, Missing, Silent, Unauthorised
from pilothouse.publish.github.repository import Repository, Table, stamp

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class GithubIssues:
    """`ports.sources.Issues` over a repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @property
    def name(self) -> str:
        """Where issues are looked for."""
        return f"issues of {self._repository.name} on GitHub"

    def labelled(self, label: str, *, since: datetime | None) -> tuple[IssueSeen, ...]:
        """Return the open issues with the label that were updated since, newest first."""
        query = {"labels": label, "state": "open", "sort": "updated", "direction": "desc"}
        if since is not None:
            query["since"] = stamp(since)
        found: list[IssueSeen] = []
        for each in self._repository.issues(**query):
            updated = fields.when(each, "updated_at")
            if "pull_request" in each or updated is None or (since is not None and updated < since):
                continue
            found.append(
                IssueSeen(
                    number=fields.number(each, "number"),
                    title=fields.text(each, "title"),
                    text=fields.text(each, "body"),
                    url=fields.text(each, "html_url"),
                    updated_at=updated,
                )
            )
            if len(found) == SHOWN_MAX:
                break
        return tuple(sorted(found, key=lambda issue: issue.updated_at, reverse=True))


class GithubForge:
    """`ports.forge.Forge` over a repository; permissions are asked for at each look, and once in each."""

    def __init__(self, repository: Repository, *, approvers: frozenset[str]) -> None:
        self._repository = repository
        self._approvers = approvers

    @property
    def approvers(self) -> frozenset[str]:
        """The logins whose word counts, in lower case."""
        return self._approvers

    def pull_request(self, number: int, *, worth_reading: Sequence[str]) -> PullRequestSeen | None:
        """Return a pull request with those of its comments and reviews that hold one of these words; None if gone."""
        try:
            return self._seen(number, worth_reading)
        except (Missing, Gone):
            return None
        except Limited as fault:
            raise ForgeBusy(fault.message, fix=fault.fix, seconds=fault.seconds) from fault
        except (Unauthorised, Silent) as fault:
            raise ForgeBusy(fault.message, fix=fault.fix, seconds=None) from fault

    def _seen(self, number: int, worth_reading: Sequence[str]) -> PullRequestSeen:
        told = self._repository.pull_request(number)
        said = [*self._repository.comments(number), *self._repository.reviews(number)]
        worth = [each for each in said if any(word in fields.text(each, "body") for word in worth_reading)]
        # One who is not listed is refused anyway: no request is spent on them.
        logins = {fields.text(each, "user", "login") for each in worth}
        may = {login: self._repository.permission(login) for login in logins if login.casefold() in self._approvers}
        return PullRequestSeen(
            number=number,
            head=fields.text(told, "head", "sha"),
            is_open=fields.text(told, "state") == "open",
            is_merged=fields.text(told, "merged_at") != "",
            remarks=tuple(self._remark(each, may.get(fields.text(each, "user", "login"), "none")) for each in worth),
        )

    def _remark(self, told: Table, permission: str) -> Remark:
        """Return what was said. Whoever may write can also change what others have said, and a review does not show it.

        So it is asked for apart, of those whose word may count. A server may not have what tells it; one that fails for
        a moment says nothing, and is asked again.
        """
        remark = _remark(told, permission)
        if remark.verdict != APPROVED or permission == "none":
            return remark
        try:
            edited = self._repository.review_edited_at(fields.text(told, "node_id"))
        except (Ailing, Limited, Silent, Unauthorised):
            raise
        except GithubFault:
            return replace(remark, edit_is_told=False)
        return replace(remark, edited_at=edited or remark.at)


def _remark(told: Table, permission: str) -> Remark:
    at = fields.when(told, "created_at") or fields.when(told, "submitted_at") or _LONG_AGO
    verdict = fields.text(told, "state")
    return Remark(
        id=f"{'review' if verdict else 'comment'}-{fields.number(told, 'id')}",
        author=fields.text(told, "user", "login"),
        author_kind=fields.text(told, "user", "type"),
        permission=permission,
        text=fields.text(told, "body"),
        at=at,
        edited_at=fields.when(told, "updated_at") or at,
        by_app=bool(fields.table(told, "performed_via_github_app")),
        url=fields.text(told, "html_url"),
        commit=fields.text(told, "commit_id"),
        verdict=verdict,
    )
