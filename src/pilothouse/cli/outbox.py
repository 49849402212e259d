"""`pilothouse logbook outbox`: what has been told to the world outside, and what still waits."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, open_existing, print_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilothouse.canonical import Json
    from pilothouse.logbook.letter import LetterState, Posted
    from pilothouse.ports.outbox import Hold
    from pilothouse.ports.store import Transaction
    from pilothouse.wiring.workspace import Workspace

_NUMBER = re.compile(r"\d+")
_KEY_IN_REASON = re.compile(r"^waits for \S+")
app = typer.Typer(help="Letters to GitHub, to chats and to the pages of this home.", no_args_is_help=True)
NumberArgument = Annotated[int, typer.Argument(metavar="LETTER", min=1, help="The letter's number, as listed.")]
NumbersArgument = Annotated[
    list[int] | None, typer.Argument(metavar="LETTER...", min=1, help="The letters' numbers, as listed.")
]
AllOption = Annotated[str | None, typer.Option("--all", metavar="CHANNEL", help="Every one of this channel.")]
SHOWN = ("number", "channel", "kind", "key", "state", "tries", "remote", "last_error")
REASON = ("letters", "channel", "state", "first", "why")
PUBLIC_CHANNELS = ("github", "discord", "apprise")
LETTERS_MAX = 10_000
MANY = 10
TOLD_MAX = 20
"""So many letters are told one by one; of the others it is said how many they are."""


@app.command("list")
def list_letters(
    ctx: typer.Context,
    channel: Annotated[str | None, typer.Option(help="Only of this channel: local, github, discord, apprise.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those that are waiting, sent or dropped.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LETTERS_MAX, help="At most so many, the newest.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List letters, newest first, and which channels wait."""
    from pilothouse.cli.table import print_table
    from pilothouse.errors import BadValue
    from pilothouse.logbook.letter import CHANNELS, LetterState
    from pilothouse.ports.outbox import LetterQuery

    states = [each.value for each in LetterState]
    if state is not None and state not in states:
        raise BadValue(f"no letter is {state!r}", fix=f"write one of {', '.join(states)}")
    _check_channel(channel)
    workspace = open_existing(ctx)
    query = LetterQuery(
        product=workspace.product,
        channel=channel,
        state=None if state is None else LetterState(state),
        limit=limit,
    )
    with workspace.store.read() as tx:
        rows = [_row(each) | _waits_for(tx, each) for each in tx.outbox.listed(query)]
        holds = [hold for name in CHANNELS if (hold := tx.outbox.hold(name)) is not None]
    if as_json:
        print_json({"letters": rows, "holds": [_hold_row(hold) for hold in holds]})
        return
    print_table(SHOWN, rows)
    if len(rows) == limit:
        note(f"the newest {limit}: `--limit` shows more, `pilothouse logbook outbox why` what they wait for")
    _tell_holds(holds)


@app.command("why")
def tell_why(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Tell why letters have not arrived: each reason once, with how many it keeps and the first of them."""
    from pilothouse.cli.table import print_table
    from pilothouse.logbook.letter import CHANNELS

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        reasons = _reasons(tx, workspace)
        holds = [hold for name in CHANNELS if (hold := tx.outbox.hold(name)) is not None]
    if as_json:
        print_json({"reasons": reasons, "holds": [_hold_row(hold) for hold in holds]})
        return
    if reasons:
        print_table(REASON, reasons)
    else:
        say("every letter has arrived")
    _tell_holds(holds)


@app.command("show")
def show_letter(ctx: typer.Context, letter: NumberArgument, as_json: AsJson = False) -> None:
    """Show a letter whole, with what the far side has answered."""
    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        found = _found(tx, workspace, letter)
    told = {**_row(found), "about": found.letter.about, "answer": dict(found.answer), "body": dict(found.letter.body)}
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        if name != "body":
            say(f"{name + ':':<12} {_words(value)}")
    for name, value in found.letter.body.items():
        say(f"\n{name}:\n{value}")


def _words(value: Json) -> str:
    """Return a field of a letter as a person reads it: a dash for none, a table as its entries."""
    if isinstance(value, dict):
        value = ", ".join(f"{name} {each}" for name, each in value.items())
    return "-" if value is None or value == "" else str(value)


@app.command("retry")
def retry_letters(ctx: typer.Context, letters: NumbersArgument = None, every: AllOption = None) -> None:
    """Let letters that wait or were dropped be tried at once, and their channels no longer wait."""
    from pilothouse.logbook.letter import LetterState

    workspace = open_existing(ctx)
    with workspace.store.write() as tx:
        found = _meant(tx, workspace, letters, every, states=(LetterState.WAITING, LetterState.DROPPED))
        for each in found:
            tx.outbox.retry(each, now=workspace.clock.now())
        for channel in {each.letter.channel for each in found}:
            tx.outbox.release(channel)
    for each in found[:TOLD_MAX]:
        say(f"letter {each.number} ({each.letter.key}) is due on {each.letter.channel}")
    _tell_rest(found, "are due as well")


@app.command("drop")
def drop_letters(
    ctx: typer.Context,
    letters: NumbersArgument = None,
    reason: Annotated[str, typer.Option(help="Why they need not be sent.")] = "dropped by hand",
    every: AllOption = None,
    with_replies: Annotated[
        bool, typer.Option("--with-replies", help="Those that speak of them, too, which would wait for ever.")
    ] = False,
) -> None:
    """Give up letters that wait; they stay listed, and can be tried again."""
    from pilothouse.errors import Conflict
    from pilothouse.logbook.letter import LetterState

    workspace = open_existing(ctx)
    with workspace.store.write() as tx:
        found = _meant(tx, workspace, letters, every, states=(LetterState.WAITING,))
        if with_replies:
            # What was dropped already is named for the sake of what speaks of it.
            found = [each for each in _with_replies(tx, workspace, found) if each.state is not LetterState.DROPPED]
        for each in found:
            if each.state is not LetterState.WAITING:
                raise Conflict(f"letter {each.number} is {each.state.value} already", fix="drop one that waits")
            tx.outbox.drop(each, why=reason, now=workspace.clock.now())
        left = [] if with_replies else _with_replies(tx, workspace, found)[len(found) :]
    for each in found[:TOLD_MAX]:
        say(f"dropped letter {each.number} ({each.letter.key})")
    _tell_rest(found, "were dropped as well")
    if left:
        note(f"{len(left)} letters speak of what was dropped, and wait for it: `--with-replies` drops them as well")


@app.command("send")
def send_letters(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="For so long at most.")] = 60,
) -> None:
    """Send what is due now; while a campaign or a server runs in this home, it does so by itself."""
    from pilothouse.wiring.publishing import send_due

    workspace = open_existing(ctx)
    _tell_begin(workspace, seconds)
    left = send_due(workspace, seconds=seconds)
    waiting = {name: left[name] for name in sorted(left) if left[name]}
    say("nothing waits" if not waiting else "; ".join(f"{count} wait on {name}" for name, count in waiting.items()))
    for name in PUBLIC_CHANNELS:
        if name in waiting and name not in _configured(workspace):
            note(f"{name} is not configured; its letters wait until it is")


def _tell_begin(workspace: Workspace, seconds: float) -> None:
    """Say how many letters there are to send where that takes longer than a glance: they leave a second apart."""
    from pilothouse.logbook.letter import LetterState

    configured = _configured(workspace)
    with workspace.store.read() as tx:
        counts = tx.outbox.counts()
    waiting = {name: counts.get((name, LetterState.WAITING), 0) for name in PUBLIC_CHANNELS if name in configured}
    for name, count in waiting.items():
        if count > MANY:
            note(f"{count} letters wait for {name}, and leave a second apart, for {seconds:g} s at most")


def _configured(workspace: Workspace) -> Sequence[str]:
    from pilothouse.wiring.publishing import configured_of

    return configured_of(workspace)


def _check_channel(channel: str | None) -> None:
    from pilothouse.errors import BadValue
    from pilothouse.logbook.letter import CHANNELS

    if channel is not None and channel not in CHANNELS:
        raise BadValue(f"no channel is named {channel!r}", fix=f"write one of {', '.join(CHANNELS)}")


def _tell_holds(holds: Sequence[Hold]) -> None:
    for hold in holds:
        until = "until it is set anew" if hold.closed else f"until {hold.until:%Y-%m-%d %H:%M:%SZ}"
        note(f"{hold.channel} waits {until}: {hold.why}")


def _tell_rest(found: Sequence[Posted], words: str) -> None:
    if len(found) > TOLD_MAX:
        say(f"{len(found) - TOLD_MAX} more {words}")


def _meant(
    tx: Transaction,
    workspace: Workspace,
    letters: Sequence[int] | None,
    every: str | None,
    *,
    states: Sequence[LetterState],
) -> list[Posted]:
    """Return the letters that are named, or every one of a channel in one of these states, oldest first."""
    from pilothouse.errors import UsageError
    from pilothouse.ports.outbox import LetterQuery

    if bool(letters) == (every is not None):
        raise UsageError("no letters are named", fix="name them by their numbers, or a whole channel by --all CHANNEL")
    if every is None:
        return [_found(tx, workspace, number) for number in dict.fromkeys(letters or ())]
    _check_channel(every)
    found: list[Posted] = []
    for state in states:
        query = LetterQuery(product=workspace.product, channel=every, state=state, limit=LETTERS_MAX)
        found += tx.outbox.listed(query)
    return sorted(found, key=lambda each: each.number)


def _with_replies(tx: Transaction, workspace: Workspace, found: Sequence[Posted]) -> list[Posted]:
    """Return the letters, and behind them those that wait and speak of them, or of one that does."""
    from pilothouse.logbook.letter import LetterState
    from pilothouse.ports.outbox import LetterQuery

    query = LetterQuery(product=workspace.product, state=LetterState.WAITING, limit=LETTERS_MAX)
    all_found = list(found)
    known = {(each.letter.channel, each.letter.key) for each in found}
    for each in reversed(tx.outbox.listed(query)):
        key = (each.letter.channel, each.letter.key)
        if key not in known and (each.letter.channel, each.letter.about) in known and not each.remote:
            known.add(key)
            all_found.append(each)
    return all_found


def _reasons(tx: Transaction, workspace: Workspace) -> list[dict[str, Json]]:
    """Return why letters have not arrived, what keeps the most of them first; numbers in a reason tell no two apart."""
    from pilothouse.logbook.letter import LetterState
    from pilothouse.ports.outbox import LetterQuery

    found: dict[tuple[str, str, str], dict[str, Json]] = {}
    counts: Counter[tuple[str, str, str]] = Counter()
    configured = _configured(workspace)
    for state in (LetterState.WAITING, LetterState.DROPPED):
        query = LetterQuery(product=workspace.product, state=state, limit=LETTERS_MAX)
        for each in reversed(tx.outbox.listed(query)):
            row = _row(each) | _waits_for(tx, each)
            unset = each.letter.channel in PUBLIC_CHANNELS and each.letter.channel not in configured
            why = str(row["last_error"] or (f"{each.letter.channel} is not configured" if unset else "it is due"))
            alike = "waits for" if why.startswith("waits for") and not why.endswith("dropped") else why
            kind = (each.letter.channel, state.value, _NUMBER.sub("#", _KEY_IN_REASON.sub("waits for another", alike)))
            counts[kind] += 1
            first: dict[str, Json] = {"channel": kind[0], "state": kind[1], "first": each.number, "why": why}
            found.setdefault(kind, first)
    return [{"letters": count, **found[kind]} for kind, count in counts.most_common()]


def _found(tx: Transaction, workspace: Workspace, number: int) -> Posted:
    from pilothouse.errors import NotFound

    found = tx.outbox.by_number(number)
    if found is None or found.letter.product != workspace.product:
        raise NotFound(f"there is no letter {number}", fix="`pilothouse logbook outbox list` shows what there is")
    return found


def _row(posted: Posted) -> dict[str, Json]:
    letter = posted.letter
    return {
        "number": posted.number,
        "channel": letter.channel,
        "campaign": letter.campaign,
        "kind": letter.kind.value,
        "key": letter.key,
        "state": posted.state.value,
        "tries": posted.tries,
        "remote": posted.remote or None,
        "last_error": posted.last_error or None,
        "posted_at": posted.posted_at.isoformat(),
        "not_before": posted.not_before.isoformat(),
        "ended_at": None if posted.ended_at is None else posted.ended_at.isoformat(),
    }


def _waits_for(tx: Transaction, posted: Posted) -> dict[str, Json]:
    """Return what a letter waits for that has no trouble of its own: the letter that it is about."""
    from pilothouse.logbook.letter import LetterState

    letter = posted.letter
    if posted.state is not LetterState.WAITING or not letter.about or posted.last_error:
        return {}
    about = tx.outbox.by_key(letter.product, letter.channel, letter.about)
    if about is not None and about.remote:
        return {}
    dropped = about is not None and about.state is LetterState.DROPPED
    return {"last_error": f"waits for {letter.about}" + (", which was dropped" if dropped else "")}


def _hold_row(hold: Hold) -> dict[str, Json]:
    return {
        "channel": hold.channel,
        "until": None if hold.closed else hold.until.isoformat(),
        "why": hold.why,
        "closed": hold.closed,
    }
