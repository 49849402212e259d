"""A line for each thing that happened, in the order of time, with every text in its column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pilothouse.canonical import Json
from pilothouse.ids import ProductId
from pilothouse.logbook.chain import link
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.logbook.labbook import CELL_MAX, HEADING, NOTE, LabbookLine, line_of, render_labbook

START = datetime(2026, 11, 22, 13, 25, tzinfo=UTC)


def entry(label: str, *, interpretation: str = "", evidence: dict[str, Json] | None = None) -> Entry:
    """Return an entry of a thread."""
    body = NewEntry(
        label=label,
        hypothesis="",
        command="",
        config="",
        result="",
        interpretation=interpretation,
        next_action="next thing",
        confidence="exploratory",
        evidence=evidence or {},
    )
    return link(None, product=ProductId("p"), thread="t", body=body, now=START)


def lines(text: str) -> list[str]:
    """Return the lines of the page that stand for something that happened."""
    return [line for line in text.splitlines() if line.startswith("- ")]


def test_the_page_has_its_heading_and_a_dash_for_what_is_unknown() -> None:
    """An empty labbook is a page as well."""
    page = render_labbook("night", [LabbookLine(at=START, action="calibration")])

    assert page.splitlines()[:3] == ["# night: Labbook", "", HEADING]
    assert lines(page) == ["- 2026-11-22T13:25:00Z | calibration | - | - | -"]
    assert lines(render_labbook("night", [])) == []


def test_lines_stand_in_the_order_of_their_times() -> None:
    """In UTC; those of one time stay as they were told."""
    later = START + timedelta(hours=1)
    told = [LabbookLine(at=later, action="c"), LabbookLine(at=START, action="a"), LabbookLine(at=START, action="b")]

    page = render_labbook("t", told)

    assert [line.split(" | ")[1] for line in lines(page)] == ["a", "b", "c"]


def test_an_entry_of_a_verdict_tells_what_was_moved_and_measured() -> None:
    """The numbers come from the stored verdict, the rest from the entry."""
    verdict: dict[str, Json] = {
        "metric": "loss",
        "baseline": 2.0,
        "candidate": 1.5,
        "candidate_runs": 4,
        "reason": "p is small",
    }

    line = line_of(entry("trial 3: improved", evidence={"verdict": verdict}), changes="lr 1 → 2 (tpe)")

    assert line.action == "trial 3: lr 1 → 2 (tpe)"
    assert line.observation == "loss 2 → 1.5 over 4 runs; p is small"
    assert (line.outcome, line.next) == ("improved", "next thing")


def test_a_verdict_without_numbers_says_so() -> None:
    """A candidate that failed has none."""
    verdict: dict[str, Json] = {
        "metric": "loss",
        "baseline": None,
        "candidate": None,
        "candidate_runs": 0,
        "reason": "failed",
    }

    line = line_of(entry("trial 3: inconclusive", evidence={"verdict": verdict}))

    assert line.observation == "loss unknown → unknown over 0 runs; failed"


def test_a_note_is_its_author_s() -> None:
    """Its text is what was observed."""
    line = line_of(entry("note by ada", interpretation="it hums", evidence={NOTE: {"author": "ada"}}))

    assert (line.action, line.observation, line.outcome, line.next) == ("note by ada", "it hums", "", "")


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "a\n- 2026-11-22T00:00:00Z | forged | x | y | z",
        "\\| a",
        "`code | more",
        "<script>alert(1)</script>",
        "![image](https://example.org/x.png)",
        "[link](javascript:alert(1))",
        "&lt;b&gt;",
        "\x1b[31mred\x1b[0m \u202egnp.exe",
        "**bold",
        "x" * 5000,
    ],
)
def test_a_text_stays_within_its_line_and_its_column(text: str) -> None:
    """Whatever it holds; nothing of it is markup, and a long one is cut."""
    page = render_labbook(text, [LabbookLine(at=START, action=text, observation=text, outcome=text, next=text)])

    (line,) = lines(page)
    cells = line.split(" | ")
    assert len(cells) == 5
    assert len(set(cells[1:])) == 1, "every column is held to the same rule"
    assert all(len(cell) <= 2 * CELL_MAX for cell in cells)
    assert not any(bad in cell for bad in ("<script", "![i", "](j", "\x1b", "\u202e", "&lt;b&") for cell in cells)
    unescaped = cells[1].replace("\\\\", "").replace("\\|", "").replace("\\`", "").replace("\\*", "")
    assert not set("|`*") & set(unescaped)
