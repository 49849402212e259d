"""A ferry's proposal as the text of a pull request: what changes exactly, why, what was weighed, and how it is undone.

It is made from what is stored alone, so it comes out the same whenever it is made. Whatever others wrote (commits,
issues, guidance) is quoted as code, in which nothing is a link, a call of somebody or a word that closes an issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pilothouse.canonical import Json
from pilothouse.logbook.markdown import inline, visible
from pilothouse.proposals.proposal import Proposal

Row = Mapping[str, Json]
SHOWN = 12
DIGEST_SHOWN = 16
TICKS = re.compile(r"`+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a pull request tells: the proposal, the run that it would become, and what was considered."""

    proposal: Proposal
    run: str
    campaign: str
    considered: Row
    checklist: tuple[tuple[str, bool], ...] = ()


def request_title(request: Request) -> str:
    """Return the title in one line."""
    moved = ", ".join(f"{change.knob} {change.before} → {change.after}" for change in request.proposal.changes)
    return f"Ferry {request.run}: {moved or 'identical rerun'}"


def request_text(request: Request) -> str:
    """Return the body in Markdown."""
    proposal = request.proposal
    lines = [
        f"Proposal `{proposal.id}` for ferry {proposal.number} of campaign `{request.campaign}`, run `{request.run}`.",
        "Approve exactly this subject (config, code commit, evaluation, cost ceiling, pool) by a comment of this line:",
        "",
        f"    /pilothouse approve {proposal.subject.digest()}",
        "",
        f"or with `pilothouse proposal approve {proposal.id}`; any drift voids it.",
        "",
        "## Last ferry",
        *_last(request.considered),
        "",
        "## Exact change",
        *_delta(proposal),
        "",
        f"- why: {inline(proposal.rationale)}",
        f"- why not identical: {inline(proposal.why_not_identical)}",
        f"- hypothesis: {inline(proposal.hypothesis)}",
        f"- risk: **{proposal.risk.value}**",
        f"- rollback: {inline(proposal.rollback)}",
        f"- source: {inline(proposal.source)}",
        "",
        "## Considered since the last ferry",
        *_considered(request.considered),
        "",
        "## Ranking",
        *_ranking(request.considered),
        "",
        "## Launch checklist",
        *(f"- [{'x' if done else ' '}] {text}" for text, done in request.checklist),
    ]
    return "\n".join(lines) + "\n"


def _last(considered: Row) -> Iterator[str]:
    last = cast("Row | None", considered["last"])
    if last is None:
        yield "None: this is the first ferry."
        return
    ended = last["failure"] or last["outcome"] or "the first one, compared with none"
    yield f"- ferry {last['number']}, run `{last['run']}`: {inline(str(ended))}"
    yield f"- commit `{last['commit']}`"
    for name, link in cast("Mapping[str, str]", last["links"]).items():
        yield f"- {name}: {inline(link)}"


def _delta(proposal: Proposal) -> Iterator[str]:
    if not proposal.changes:
        yield "Nothing changes: an identical rerun."
        return
    yield "| knob | before | after |"
    yield "| --- | --- | --- |"
    for change in proposal.changes:
        yield f"| `{change.knob}` | {_value(change.before)} | {_value(change.after)} |"


def _considered(considered: Row) -> Iterator[str]:
    commits = cast("Sequence[Row]", considered["commits"])
    count, note = considered["commits_count"], str(considered["commits_note"])
    yield f"- {count} commits to `{str(considered['head'])[:DIGEST_SHOWN]}`{': ' + inline(note) if note else ''}"
    yield from (f"  - `{str(each['sha'])[:10]}` {_quoted(str(each['subject']))}" for each in commits[:SHOWN])
    if len(commits) > SHOWN:
        yield f"  - and {cast('int', count) - SHOWN} more"
    issues = cast("Sequence[Row]", considered["issues"])
    yield f"- {len(issues)} issues ({inline(str(considered['issues_from']))})"
    yield from (f"  - #{each['number']} {_quoted(str(each['title']))}" for each in issues[:SHOWN])
    incidents = cast("Sequence[Row]", considered["incidents"])
    yield f"- {len(incidents)} incidents"
    yield from (
        f"  - `{each['run']}` {inline(str(each['diagnosis']))}: {inline(str(each['detail']))}"
        for each in incidents[:SHOWN]
    )
    guidance = str(considered["guidance"])
    yield f"- guidance: {_quoted(guidance) if guidance else 'none'}"
    missed = cast("int", considered.get("missed_ticks", 0))
    if missed:
        why = "nobody was there, no yes came, or a ferry was under way"
        yield f"- ticks before this one that it answers as well: {missed} ({why})"
    for each in cast("Sequence[Row]", considered.get("unanswered", ()))[-SHOWN:]:
        yield f"  - `{each['proposal']}` of {each['tick']}, which nobody answered, gives way to this one"


def _ranking(considered: Row) -> Iterator[str]:
    ranking = cast("Sequence[Row]", considered["ranking"])
    identical = str(considered["identical"])
    if identical:
        yield f"Nothing is moved: {inline(identical)}"
        yield ""
    if not ranking:
        yield "There was no candidate change."
        return
    names = [str(part["name"]) for part in cast("Sequence[Row]", ranking[0]["parts"])]
    yield f"| change | {' | '.join(names)} | score | source |"
    yield f"| --- |{' --- |' * len(names)} --- | --- |"
    for each in ranking:
        moved = ", ".join(
            f"{knob} {_value(each['before'])} → {_value(value)}"
            for knob, value in cast("Row", each["overrides"]).items()
        )
        parts = " | ".join(
            f"{part['weight']:.2g} of {part['score']:.2g}: {part['points']:.3f}"
            for part in cast("Sequence[Mapping[str, float]]", each["parts"])
        )
        source = ", ".join(str(name) for name in cast("Sequence[Json]", each["sources"]))
        yield f"| {moved} | {parts} | {cast('float', each['total']):.3f} | {cell(source)} |"


def _quoted(text: str) -> str:
    """Return what somebody else wrote as code in one line; a mark of a letter in it is broken up."""
    line = visible(" ".join(text.split())).replace("<!--", "<! --") or "-"
    fence = "`" * (1 + max((len(ticks) for ticks in TICKS.findall(line)), default=0))
    space = " " if "`" in line else ""
    return f"{fence}{space}{line}{space}{fence}"


def _value(value: Json) -> str:
    """Return a knob's value in a cell; numbers stand as they are."""
    return str(value) if isinstance(value, bool | int | float) else cell(str(value))


def cell(text: str) -> str:
    """Return text that stays within its cell of a table."""
    return inline(text).replace("|", "\\|")
