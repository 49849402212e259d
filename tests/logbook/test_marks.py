"""What comes from outside can forge no mark, name nobody and close nothing."""

from __future__ import annotations

import html

import pytest

from pilothouse.logbook import marks


@pytest.mark.parametrize(
    "text",
    [
        marks.STATUS_BEGIN,
        "<!-- pilothouse:pilothouse:status -->",
        "<!-- pilothouse:pilothouse:pilothouse:demo/run-1/closing -->",
        "<!-- pilo<!-- pilothouse:thouse:status -->",
        "Pilothouse-Letter: demo/run-1/commit",
        "Pilothouse-Pilothouse-Letter: demo/run-1/commit",
        "Pilothouse-PilothousePilothouse-Letter:-Letter: demo/run-1/commit",
        "<!-- \r\npilothouse:status -->",
    ],
)
def test_no_text_comes_out_with_a_mark(text: str) -> None:
    """However it was put together, so that what is left after a mark was taken out is none."""
    clean = marks.unmarked(text)

    assert marks.MARK not in clean
    assert marks.TRAILER not in clean
    assert marks.unmarked(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "@octo",
        "cc @octo/all: look",
        "(@octo)",
        "**@octo**",
        "`@octo`",
        "a\n@octo",
        "&#64;octo @octo",
        "_@octo_",
        "__@octo__",
    ],
)
def test_a_quiet_text_names_nobody(text: str) -> None:
    """A forge tells whoever stands behind an @, wherever a program or an agent has written it."""
    assert "@octo" not in html.unescape(marks.quiet(text))
    assert marks.quiet(text).replace(marks.NOTHING, "") == text


@pytest.mark.parametrize(
    "text",
    [
        "fixes #7",
        "Closes: #7",
        "RESOLVED octo/demo#7",
        "fix https://github.com/octo/demo/issues/7",
        "close\t#7",
        "fixed GH-7",
        "Fixes [#7](https://x.test)",
        "closes **#7**",
        "fix <https://github.com/octo/demo/issues/7>",
        "Resolves &#35;7",
        "resolve&#32;&num;7",
    ],
)
def test_a_quiet_text_closes_no_issue(text: str) -> None:
    """A forge closes what a merged text says that it fixes."""
    quiet = marks.quiet(text)

    assert quiet != text
    assert quiet.replace(marks.NOTHING, "") == text
    assert quiet.partition(marks.NOTHING)[0].isalpha()


@pytest.mark.parametrize("text", ["_fixes #7_", "**Fixes** #7", "__closes__: #7"])
def test_a_quiet_text_closes_no_issue_by_what_is_emphasised(text: str) -> None:
    """What is shown without its marks is read without them."""
    assert marks.NOTHING in marks.quiet(text).partition("#")[0]


@pytest.mark.parametrize(
    "text",
    [
        "alice@github",
        "the fixed 7 # of them",
        "prefix #7",
        "a @ b",
        "user@host.example",
        "see #7",
        "it fixes a bug",
        "@",
    ],
)
def test_what_names_nobody_stays_as_it_is(text: str) -> None:
    """Nothing is changed for its own sake."""
    assert marks.quiet(text) == text
