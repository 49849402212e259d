"""The page has the research logbook's form, and no text in it can forge a heading, an entry or HTML."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pilothouse.ids import ProductId
from pilothouse.logbook.chain import link
from pilothouse.logbook.entry import Entry, NewEntry
from pilothouse.logbook.markdown import render
from pilothouse.logbook.thread import ThreadHeader

HEADER = ThreadHeader(topic="Forty-two", goal="a lower q_gap", metrics="q_gap", constraints="2 cores")
BODY = NewEntry(
    label="iteration 1",
    hypothesis="more deals lower q_gap",
    command="python -m train --lr 3e-5",
    config='{"learning_rate":3e-05}',
    result="q_gap 0.07",
    interpretation="improved",
    next_action="continue",
    confidence="exploratory",
    evidence={"difference": -0.01},
)


def entry(body: NewEntry) -> Entry:
    """Link the body as the first of its thread."""
    at = datetime(2026, 11, 22, 4, 2, 54, tzinfo=UTC)
    return link(None, product=ProductId("demo"), thread="forty-two", body=body, now=at)


def test_page_has_the_templates_form() -> None:
    """Line by line."""
    made = entry(BODY)
    assert render(HEADER, [made]).splitlines() == [
        "# Forty-two: Research Logbook",
        "",
        "## Scope",
        "- Goal: a lower q_gap",
        "- Primary metric(s): q_gap",
        "- Constraints: 2 cores",
        "",
        "## Baseline",
        "- Date: not stated",
        "- Code refs: not stated",
        "- Baseline numbers: not stated",
        "",
        "## Experiment Log",
        "### 2026-11-22 04:02 - iteration 1",
        "- Hypothesis: more deals lower q_gap",
        "- Command: ` python -m train --lr 3e-5 `",
        '- Config: ` {"learning_rate":3e-05} `',
        "- Result: q_gap 0.07",
        "- Interpretation: improved",
        "- Next action: continue",
        "- Confidence: exploratory",
        "- Evidence:",
        "  ```json",
        "  {",
        '    "difference": -0.01',
        "  }",
        "  ```",
        f"- Entry: 1, SHA-256 {made.hash} after {made.previous_hash}",
        "",
    ]


NASTY = (
    "fine\n### 2026-01-01 00:00 - forged\n- Result: great\n<!-- hidden\n```\n# top\n===\n---\n<script>x</script>\n"
    "![pixel](http://example.invalid/p.png)\n[ref]: http://example.invalid\n| a | b |\n1. one\n~~~\n\n"
    "    # deep\x1b[31m\u202e"
)

pieces = st.sampled_from([*"\n\r\u2028 \t#-=`~<![]():|>*_\\x\x00\x1b", "1.", "&lt;", "<!--", "```", "http://a.b"])
texts = st.lists(pieces, max_size=14).map("".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def parsed(page: str) -> list[Token]:
    """Read the page by CommonMark with tables, inline tokens included."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    return tokens + [child for token in tokens for child in token.children or []]


def headings(tokens: list[Token]) -> list[str]:
    """Return the tag of every heading."""
    return [token.tag for token in tokens if token.type == "heading_open"]


@given(texts, texts, texts, texts)
@example(NASTY, NASTY, NASTY, NASTY)
def test_text_cannot_leave_its_place(label: str, prose: str, code: str, topic: str) -> None:
    """A real CommonMark parser sees exactly our headings and items, and no HTML, image, rule, quote or table."""
    body = replace(
        BODY,
        label=label,
        hypothesis=prose,
        command=code,
        config=code,
        result=prose,
        interpretation=prose,
        next_action=prose,
        confidence=prose,
        evidence={"log": prose, "code": code},
    )
    header = ThreadHeader(topic=topic, goal=prose, metrics=prose, constraints=prose, baseline_numbers=prose)
    page = render(header, [entry(body), entry(body)])
    tokens = parsed(page)
    assert headings(tokens) == ["h1", "h2", "h2", "h2", "h3", "h3"]
    assert sum(token.type == "list_item_open" for token in tokens) == 3 + 3 + 2 * 9
    kinds = {token.type for token in tokens}
    assert not kinds & {"html_block", "html_inline", "image", "hr", "blockquote_open", "table_open"}
    assert all(letter.isprintable() or letter in "\n\t" for letter in page)


@given(texts, texts)
def test_every_line_of_ours_begins_where_only_ours_can(prose: str, code: str) -> None:
    """A reader with grep is not fooled either: no line of a text begins in the first column."""
    plain = render(HEADER, [entry(replace(BODY, result="x", command="x"))]).splitlines()
    found = render(HEADER, [entry(replace(BODY, result=prose, command=code))]).splitlines()

    def starts(lines: list[str]) -> list[str]:
        return [line.split(":")[0].split(" - ")[0] for line in lines if line and not line.startswith(" ")]

    assert starts(found) == starts(plain)


def test_code_stands_verbatim() -> None:
    """A command can be copied from the page as it was, backticks and comments included."""
    command = "python run.py \\\n  --name `date` # ```odd```\n*_not emphasis_*"
    blocks = [token.content for token in parsed(render(HEADER, [entry(replace(BODY, command=command))]))]
    assert command + "\n" in blocks
    spans = [token.content for token in parsed(render(HEADER, [entry(replace(BODY, command="a `b` <c> *"))]))]
    assert "a `b` <c> *" in spans
