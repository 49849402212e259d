"""The pages of a ferry: its issue with the status block, its comments, its closure and its promotion, as Markdown.

Texts come from programs and people: they are escaped, and nothing here says more than what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from pilothouse.canonical import Json
from pilothouse.logbook.markdown import inline

Row = Mapping[str, Json]
EVIDENCE_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What an issue says of a launch: everything by which the run is found again."""

    run: str
    campaign: str
    number: int
    proposal: str
    approver: str
    commit: str
    config: Row
    command: str
    watched_by: str
    goal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a closing comment and a log entry say of a ferry; `judged` is a judgement as JSON."""

    run: str
    campaign: str
    number: int
    commit: str
    judged: Row
    jobs: tuple[str, ...]
    ended_at: datetime
    next_action: str
    changes: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)


def issue_title(launched: Launched) -> str:
    """Return the title of the run's issue."""
    return f"Ferry run {launched.run}"


def issue_text(launched: Launched) -> str:
    """Return the body of the run's issue."""
    lines = [
        inline(launched.goal) if launched.goal else f"Ferry {launched.number} of campaign `{launched.campaign}`.",
        "",
        f"- run id, output folder and tracker id: `{launched.run}`",
        f"- proposal: `{launched.proposal}`, approved by {inline(launched.approver)}",
        f"- commit: `{launched.commit}`",
        f"- monitor: {inline(launched.watched_by)}, to the end of the run",
        "",
        "## Config",
        *(f"- `{name}` = {_config_value(value)}" for name, value in sorted(launched.config.items())),
        "",
        "## Watch it",
        "```sh",
        f"pilothouse run watch {launched.run}",
        "```",
    ]
    return "\n".join(lines) + "\n"


def status_text(*, state: str, detail: str, watched_by: str, at: datetime) -> str:
    """Return the sticky block: the one thing about a run that is rewritten."""
    return f"**{state}** · {_within(detail)} · watched by {inline(watched_by)} · {at:%Y-%m-%d %H:%M}Z\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """What somebody needs who mends a small bug: where it is, on which code, how it is run, and what follows."""

    place: str
    commit: str
    command: str
    job: str
    relaunch: str


def incident_text(
    *, run: str, kind: str, signature: str, detail: str, answer: str, evidence: str, mending: Mending | None = None
) -> str:
    """Return the comment on a failure: its class, what was done about it, how it is mended, and the end of the log."""
    lines = evidence.splitlines()[-EVIDENCE_LINES:]
    fence = "`" * max(3, *(_ticks(line) + 1 for line in lines), 3)
    return "\n".join(
        [
            f"Run `{run}` failed: **{inline(kind)}**, {inline(signature)}.",
            "",
            f"- seen: {inline(detail)}",
            f"- answer: {inline(answer)}",
            *(() if mending is None else mending_lines(mending)),
            *(["", f"{fence}text", *map(_visible, lines), fence] if lines else []),
            "",
        ]
    )


def mending_lines(mending: Mending) -> Iterator[str]:
    """Yield what a person can act on without asking anybody."""
    yield f"- where: {inline(mending.place)}"
    yield f"- reproduce: `git switch --detach {mending.commit}`, then {inline(mending.command)}, with the variable"
    yield f"  `PILOTHOUSE_RUN_DIR` naming a copy of the run's folder (`pilothouse run show {mending.job}` tells where)"
    yield f"- then: {inline(mending.relaunch)}"


def first_values_text(*, run: str, progress: str, values: Mapping[str, float]) -> str:
    """Return the comment on the first evaluation."""
    told = ", ".join(f"{inline(name)} {value:.6g}" for name, value in values.items())
    return f"First evaluation of `{run}` at {_within(progress)}: {told}.\n"


def lost_steps_text(*, run: str, words: str) -> str:
    """Return the comment on an attempt that starts below the least step."""
    return f"`{run}` {_within(words)}.\n"


def handover_text(*, run: str, before: str, after: str, signal: str) -> str:
    """Return the comment on another owner of the monitor."""
    return f"The monitor of `{run}` goes from {inline(before)} to {inline(after)}; last seen: {_within(signal)}.\n"


def closing_text(ended: Ended) -> str:
    """Return the last comment: status, evaluation, verdict, and what comes next."""
    judged = ended.judged
    return "\n".join(
        [
            f"Ferry {ended.number} has ended: **{verdict_word(judged)}**.",
            "",
            *_facts(ended),
            "",
            *comparison_table(cast("Sequence[Row]", judged["key"]), str(judged["rival"])),
            *checks_table(cast("Sequence[Row]", judged["checks"])),
            f"Next: {inline(ended.next_action)}",
            "",
        ]
    )


def log_entry(ended: Ended, *, seal: str) -> str:
    """Return the entry of the ferry log, newest first in its file."""
    return "\n".join(
        [
            f"## {ended.ended_at:%Y-%m-%d} · {ended.run}",
            "",
            f"- verdict: {verdict_word(ended.judged)}",
            *_facts(ended),
            f"- seal: {f'`{seal}`' if seal else 'none: only a ferry that counts is sealed'}",
            f"- next: {inline(ended.next_action)}",
            "",
        ]
    )


def promotion_text(ended: Ended, *, template: str, recipe: str) -> str:
    """Return the body of the pull request that makes a better ferry the new template."""
    judged = ended.judged
    against = cast("Sequence[Row]", judged["against_baseline"])
    return "\n".join(
        [
            f"Ferry {ended.number}, run `{ended.run}`, is better than the baseline `{inline(str(judged['base']))}`:",
            "most key metrics improved by verdict, and reliability did not regress.",
            "",
            "## Before and after",
            *comparison_table(against, str(judged["base"])),
            "## What changes in the template",
            *(f"- {inline(change)}" for change in ended.changes),
            *([] if ended.changes else ["- nothing: the template has these values already"]),
            "",
            *(f"- file: `{name}`" for name in (template, recipe) if name),
            f"- commit of the run: `{ended.commit}`",
            f"- rollback: revert this commit; the baseline before is kept in the record of campaign `{ended.campaign}`",
            "",
        ]
    )


def comparison_table(verdicts: Sequence[Row], rival: str) -> Iterator[str]:
    """Yield the table of key metrics, each with its interval and its verdict; nothing without any."""
    if not verdicts:
        return
    yield f"| metric | {inline(rival) or 'before'} | this ferry | change | interval | verdict |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in verdicts:
        low, high = cast("Sequence[float | None]", each["interval"])
        ends = f"[{'-∞' if low is None else f'{low:+.4g}'}, {'+∞' if high is None else f'{high:+.4g}'}]"
        yield (
            f"| `{each['metric']}` ({each['direction']}) | {number(each['baseline'])} | {number(each['candidate'])} | "
            f"{number(each['difference'])} | {ends} | {each['outcome']} |"
        )
    yield ""


def checks_table(checks: Sequence[Row]) -> Iterator[str]:
    """Yield the table of the validators; nothing without any."""
    if not checks:
        return
    yield "| validator | wanted | actual | status |"
    yield "| --- | --- | --- | --- |"
    for each in checks:
        actual = "missing" if each["actual"] is None else number(each["actual"])
        yield f"| `{each['name']}` | {each['bound']} | {actual} | {'passed' if each['passed'] else 'FAILED'} |"
    yield ""


def verdict_word(judged: Row) -> str:
    """Return the verdict in a word or a sentence."""
    failure = str(judged["failure"])
    if failure:
        return f"failed: {inline(failure)}"
    key = cast("Sequence[Row]", judged["key"])
    return str(key[0]["outcome"]) if key else "the first ferry, compared with none"


def number(value: Json) -> str:
    """Return a number as people read it."""
    return "-" if value is None else f"{cast('float', value):.6g}"


def _facts(ended: Ended) -> Iterator[str]:
    judged = ended.judged
    yield f"- run: `{ended.run}`, jobs {', '.join(f'`{job}`' for job in ended.jobs) or 'none'}"
    yield f"- commit: `{ended.commit}`"
    told = {**cast("Mapping[str, float]", judged["metrics"]), **cast("Mapping[str, float]", judged["own"])}
    if told:
        yield f"- measured: {', '.join(f'{inline(name)} {value:.6g}' for name, value in told.items())}"
    if judged["promoted"]:
        yield "- the baseline moves to this ferry"
    elif judged["held_back"]:
        yield f"- the baseline stays: {inline(str(judged['held_back']))}"
    yield from (f"- {inline(name)}: {inline(link)}" for name, link in ended.links.items())


def _config_value(value: Json) -> str:
    return str(value) if isinstance(value, bool | int | float) else inline(str(value))


def _within(text: str) -> str:
    """Return text for the middle of a line, where nothing opens a block."""
    return inline(f"x {text}").removeprefix("x ")


def _ticks(line: str) -> int:
    longest = run = 0
    for letter in line:
        run = run + 1 if letter == "`" else 0
        longest = max(longest, run)
    return longest


def _visible(line: str) -> str:
    """Return a line of a log with what does not print spelt out."""
    return "".join(letter if letter.isprintable() or letter == "\t" else ascii(letter)[1:-1] for letter in line)
