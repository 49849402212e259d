"""Whose word on the forge opens the gate, and which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.proposals.forge_approval import Granted, NotCounted, Remark, Subject, rule
from pilothouse.testing.clock import BEGIN

DIGEST, OTHER = "a" * 64, "b" * 64
HEAD, OLD = "1" * 40, "2" * 40
COMMAND = f"/pilothouse approve {DIGEST}"
LATER = BEGIN + timedelta(hours=1)
SUBJECT = Subject(
    digest=DIGEST, head=HEAD, proposed_head=HEAD, proposed_at=BEGIN, approvers=frozenset({"alice", "bob"})
)
COMMENT = Remark(
    id="comment-1",
    author="Alice",
    author_kind="User",
    permission="write",
    text=COMMAND,
    at=LATER,
    edited_at=LATER,
    by_app=False,
    url="https://github.test/1",
)
REVIEW = replace(COMMENT, id="review-1", commit=HEAD, verdict="APPROVED")


@pytest.mark.parametrize(
    "remark",
    [
        COMMENT,
        REVIEW,
        replace(COMMENT, author="BOB", permission="maintain"),
        replace(COMMENT, permission="admin"),
        replace(COMMENT, text=f"Looks good to me.\r\n\r\n{COMMAND}  \r\nThank you!"),
        replace(COMMENT, text=f"{COMMAND} {HEAD}"),
        replace(COMMENT, text=f"{COMMAND}\n{COMMAND}"),
        replace(COMMENT, text=f"```\nquoted\n```\n{COMMAND}"),
        replace(COMMENT, text=f"<!-- note -->\n{COMMAND}"),
        replace(COMMENT, text=f"> shall we?\n\n{COMMAND}"),
        replace(COMMENT, text=f"> shall we?\n>\n{COMMAND}"),
        replace(COMMENT, text=f"> ```\n> quoted\n> ```\n\n{COMMAND}"),
        replace(COMMENT, text=f"for `run-1` and <b>only</b> that:\n{COMMAND}"),
        replace(COMMENT, text=f"<details><details></details>x</details>\n\n{COMMAND}"),
        replace(REVIEW, at=BEGIN - timedelta(days=1), edited_at=BEGIN - timedelta(days=1)),
    ],
)
def test_a_listed_person_with_the_right_to_write_opens_the_gate(remark: Remark) -> None:
    """By a comment after the proposal, or by a review of exactly its head."""
    assert rule(remark, SUBJECT) == Granted(by=remark.author, at=remark.at, url=remark.url)


@pytest.mark.parametrize(
    ("remark", "why"),
    [
        (replace(COMMENT, author="mallory", permission="admin"), "not among"),
        (replace(COMMENT, author="alice-"), "not among"),
        (replace(COMMENT, author="aIice"), "not among"),
        (replace(COMMENT, author="\u0430lice"), "not among"),
        (replace(COMMENT, author="alice\u200b"), "not among"),
        (replace(COMMENT, permission="read"), "may not write"),
        (replace(COMMENT, permission="none"), "may not write"),
        (replace(COMMENT, permission="triage"), "may not write"),
        (replace(COMMENT, author_kind="Bot"), "no person"),
        (replace(COMMENT, author_kind=""), "no person"),
        (replace(COMMENT, by_app=True), "no person"),
        (replace(COMMENT, edited_at=LATER + timedelta(seconds=1)), "edited"),
        (replace(COMMENT, at=BEGIN - timedelta(hours=1), edited_at=BEGIN - timedelta(hours=1)), "older"),
        (replace(COMMENT, text=f"/pilothouse approve {OTHER}"), "what is proposed now"),
        (replace(COMMENT, text=f"/pilothouse approve {DIGEST[:12]}"), "whole digest"),
        (replace(COMMENT, text=f"{COMMAND} please"), "whole digest"),
        (replace(COMMENT, text=f"{COMMAND.upper()}\n/pilothouse approve"), "whole digest"),
        (replace(COMMENT, text=f"{COMMAND}\n/pilothouse approve {OTHER}"), "several"),
        (replace(COMMENT, text=f"{COMMAND} {OLD}"), "about commit"),
        (replace(REVIEW, commit=OLD), "about commit"),
        (replace(REVIEW, verdict="COMMENTED"), "commented"),
        (replace(REVIEW, verdict="CHANGES_REQUESTED"), "changes_requested"),
        (replace(REVIEW, verdict="DISMISSED"), "dismissed"),
    ],
)
def test_any_other_command_does_not_count(remark: Remark, why: str) -> None:
    """Each with its reason."""
    ruling = rule(remark, SUBJECT)

    assert isinstance(ruling, NotCounted)
    assert why in ruling.why


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would say /pilothouse approve here",
        f"`{COMMAND}`",
        f"> {COMMAND}",
        f"   > {COMMAND}",
        f"```\n{COMMAND}\n```",
        f"~~~sh\n{COMMAND}",
        f"````\n```\n{COMMAND}\n````",
        f"```\n```sh\n{COMMAND}\n```",
        f"    {COMMAND}",
        f"\t{COMMAND}",
        f"<!--\n{COMMAND}\n-->",
        f"<!-- a --><!--\n{COMMAND}\n-->",
        f"<!-- pilothouse:x -->{COMMAND}",
        f"<pre>\n{COMMAND}\n</pre>",
        f"<BLOCKQUOTE>\n\n{COMMAND}\n\n</BLOCKQUOTE>",
        f"<details><summary>how</summary>\n\n{COMMAND}\n\n</details>",
        f"- {COMMAND}",
        f"please {COMMAND}",
        f"\u200b{COMMAND}",
        f"/pilothouse\u00a0approve {DIGEST}",
        f"> alice says:\n{COMMAND}",
        f"```a```\n```\n{COMMAND}\n```",
        f"a\r```\n{COMMAND}\n```",
        f"- ```\n  {COMMAND}\n  ```",
        f"1. ~~~\n   {COMMAND}\n",
        f"- a\n\n  ```\n  b\n\nc\n```\n{COMMAND}\n```",
        f"`see\n{COMMAND}\nthere`",
        f"~~no\n{COMMAND}\nsorry~~",
        f"<pre><!-- -->\n{COMMAND}\n</pre>",
        f"<!-- a\n--> <pre>\n{COMMAND}\n</pre>",
        f"<blockquote><blockquote></blockquote>\n\n{COMMAND}\n\n</blockquote>",
        f"<code>\n{COMMAND}\n</code>",
        f"<del>\n\n{COMMAND}\n\n</del>",
    ],
)
def test_what_is_quoted_shown_or_hidden_is_no_command(text: str) -> None:
    """Nobody approves by showing somebody else how it is done."""
    assert rule(replace(COMMENT, text=text), SUBJECT) is None


def test_a_push_after_the_proposal_voids_every_word() -> None:
    """Whatever the digest says: the branch is no longer what was proposed."""
    pushed = replace(SUBJECT, head=OLD)

    for remark in (COMMENT, REVIEW, replace(REVIEW, commit=OLD)):
        ruling = rule(remark, pushed)
        assert isinstance(ruling, NotCounted)
        assert "pushed" in ruling.why


def test_nobody_is_listed_where_nothing_is_set() -> None:
    """Without a list of approvers the forge opens nothing."""
    assert isinstance(rule(COMMENT, replace(SUBJECT, approvers=frozenset())), NotCounted)


def test_a_stranger_learns_nothing_of_the_digest() -> None:
    """Who it is comes first."""
    ruling = rule(replace(COMMENT, author="mallory", text=f"/pilothouse approve {OTHER}"), SUBJECT)

    assert isinstance(ruling, NotCounted)
    assert DIGEST[:12] not in ruling.why
