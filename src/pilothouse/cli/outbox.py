"""`pilothouse logbook outbox`: what has been told to the world outside, and what still waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, open_existing, print_json, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pilothouse.canonical import Json
    from pilothouse.logbook.letter import Posted
    from pilothouse.ports.outbox import Hold
    from pilothouse.ports.store import Transaction
    from pilothouse.wiring.workspace import Workspace

app = typer.Typer(help="Letters to GitHub, to chats and to the pages of this home.", no_args_is_help=True)
NumberArgument = Annotated[int, typer.Argument(metavar="LETTER", min=1, help="The letter's number, as listed.")]
SHOWN = ("number", "channel", "kind", "key", "state", "tries", "remote", "last_error")
PUBLIC_CHANNELS = ("github", "discord", "apprise")


@app.command("list")
def list_letters(
    ctx: typer.Context,
    channel: Annotated[str | None, typer.Option(help="Only of this channel: local, github, discord, apprise.")] = None,
    state: Annotated[str | None, typer.Option(help="Only those that are waiting, sent or dropped.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 50,
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
    if channel is not None and channel not in CHANNELS:
        raise BadValue(f"no channel is named {channel!r}", fix=f"write one of {', '.join(CHANNELS)}")
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
    for hold in holds:
        until = "until it is set anew" if hold.closed else f"until {hold.until:%Y-%m-%d %H:%M:%SZ}"
        note(f"{hold.channel} waits {until}: {hold.why}")


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
            say(f"{name + ':':<12} {value}")
    for name, value in found.letter.body.items():
        say(f"\n{name}:\n{value}")


@app.command("retry")
def retry_letter(ctx: typer.Context, letter: NumberArgument) -> None:
    """Let a letter that waits or was dropped be tried at once, and its channel no longer wait."""
    workspace = open_existing(ctx)
    with workspace.store.write() as tx:
        found = _found(tx, workspace, letter)
        tx.outbox.retry(found, now=workspace.clock.now())
        tx.outbox.release(found.letter.channel)
    say(f"letter {letter} ({found.letter.key}) is due on {found.letter.channel}")


@app.command("drop")
def drop_letter(
    ctx: typer.Context,
    letter: NumberArgument,
    reason: Annotated[str, typer.Option(help="Why it need not be sent.")] = "dropped by hand",
) -> None:
    """Give up a letter that waits; it stays listed, and can be tried again."""
    from pilothouse.errors import Conflict
    from pilothouse.logbook.letter import LetterState

    workspace = open_existing(ctx)
    with workspace.store.write() as tx:
        found = _found(tx, workspace, letter)
        if found.state is not LetterState.WAITING:
            raise Conflict(f"letter {letter} is {found.state.value} already", fix="drop one that waits")
        tx.outbox.drop(found, why=reason, now=workspace.clock.now())
    say(f"dropped letter {letter} ({found.letter.key})")


@app.command("send")
def send_letters(
    ctx: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="For so long at most.")] = 60,
) -> None:
    """Send what is due now; while a campaign or a server runs in this home, it does so by itself."""
    from pilothouse.wiring.publishing import send_due

    workspace = open_existing(ctx)
    left = send_due(workspace, seconds=seconds)
    waiting = {name: left[name] for name in sorted(left) if left[name]}
    say("nothing waits" if not waiting else "; ".join(f"{count} wait on {name}" for name, count in waiting.items()))
    for name in PUBLIC_CHANNELS:
        if name in waiting and name not in _configured(workspace):
            note(f"{name} is not configured; its letters wait until it is")


def _configured(workspace: Workspace) -> Sequence[str]:
    from pilothouse.wiring.publishing import configured_of

    return configured_of(workspace)


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
