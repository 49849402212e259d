"""`pilothouse logbook`: the append-only record."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli import outbox
from pilothouse.cli.context import AsJson, open_existing, print_json, say

if TYPE_CHECKING:
    from pilothouse.canonical import Json
    from pilothouse.logbook.entry import Entry

app = typer.Typer(help="The append-only record of what was tried.", no_args_is_help=True)
app.add_typer(outbox.app, name="outbox")
ThreadArgument = Annotated[
    str | None,
    typer.Argument(metavar="[THREAD]", help="The thread, named like its campaign; may be left out if there is one."),
]


@app.command("show")
def show_logbook(ctx: typer.Context, thread: ThreadArgument = None, as_json: AsJson = False) -> None:
    """Show a thread's entries, oldest first."""
    from pilothouse.operations.read_logbook import read_thread

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        entries = read_thread(tx, workspace.product, thread)
    if as_json:
        print_json([_entry_json(entry) for entry in entries])
        return
    for entry in entries:
        say(f"#{entry.number}  {entry.at:%Y-%m-%d %H:%M:%SZ}  {entry.body.label}  [{entry.body.confidence}]")
        for name in ("hypothesis", "config", "result", "interpretation", "next_action"):
            say(f"    {name.replace('_', ' ') + ':':<16} {getattr(entry.body, name)}")
        say(f"    {'hash:':<16} {entry.hash}")


@app.command("verify")
def verify_logbook(
    ctx: typer.Context,
    thread: ThreadArgument = None,
    head: Annotated[
        str | None, typer.Option("--head", help="The last entry's hash as you noted it; finds a cut-off end too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute every hash anew and compare; the first entry that does not follow from the one before it is named."""
    from pilothouse.operations.read_logbook import verify_thread

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        checked = verify_thread(tx, workspace.product, thread, head=head)
    if as_json:
        print_json({"thread": checked.thread, "entries": checked.entries, "head": checked.head, "intact": True})
    else:
        say(f"{checked.thread}: {checked.entries} entries, unbroken; head {checked.head}")


@app.command("export")
def export_logbook(
    ctx: typer.Context,
    thread: ThreadArgument = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of standard output.")] = None,
) -> None:
    """Write a thread as markdown, in the template of a research logbook."""
    from pilothouse.operations.read_logbook import thread_markdown
    from pilothouse.wiring.workspace import write_text

    workspace = open_existing(ctx)
    with workspace.store.read() as tx:
        text = thread_markdown(tx, workspace.product, thread)
    if out is None:
        say(text.rstrip("\n"))
    else:
        write_text(out, text)
        say(f"wrote {out}")


def _entry_json(entry: Entry) -> dict[str, Json]:
    from pilothouse.logbook.chain import body_json

    return {
        "number": entry.number,
        "at": entry.at.isoformat(),
        **body_json(entry.body),
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }
