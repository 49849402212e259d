"""`pilothouse init`: a commented campaign file for a script that is there, or a small one to start from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pilothouse.cli.context import AsJson, note, print_json, say

if TYPE_CHECKING:
    from pilothouse.scripts.campaign_text import Draft

STARTER = Path("starter.toml")


def init(
    script: Annotated[
        Path | None, typer.Argument(metavar="[SCRIPT]", help="The training script; a starter is written without one.")
    ] = None,
    command: Annotated[
        str | None, typer.Option("--command", metavar="WORDS", help="How it is started; python SCRIPT if left out.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to write; SCRIPT's name with .toml.")
    ] = None,
    run_help: Annotated[
        bool, typer.Option("--run-help", help="Start the command with --help, and read what it prints.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a commented campaign file for a script by reading its arguments; nothing is run unless told so."""
    if script is None and command is None:
        _write_starter(output or STARTER, force=force)
        return
    from pilothouse.errors import UsageError
    from pilothouse.operations.draft_campaign import Wish, draft_campaign
    from pilothouse.scripts.campaign_text import FILL_IN, campaign_text
    from pilothouse.settings import environment

    file = output or Path(f"{script.stem if script is not None else 'campaign'}.toml")
    if script is not None and file.resolve() == script.resolve():
        raise UsageError(f"{file} is the script itself", fix="name another file by --output")
    draft = draft_campaign(
        Wish(script=script, command=command, run_help=run_help, file=file, environment=environment())
    )
    if as_json:
        _print_reading(draft)
        return
    text = campaign_text(draft)
    _write({file: text}, force=force)
    for unclear in draft.reading.notes:
        note(f"note: {unclear}")
    knobs = sum(found.role.value == "knob" for _, found in draft.guesses())
    say(f"wrote {file}: {knobs} knobs of {len(draft.reading.arguments)} arguments, read from {draft.reading.by}")
    if any(FILL_IN in line.partition("#")[0] for line in text.splitlines()):
        say(f"to do: replace {FILL_IN} where it stands, then: pilothouse campaign check {file}")
    else:
        say(f"next: read the lines marked GUESS, then: pilothouse campaign check {file}")


def _write_starter(file: Path, *, force: bool) -> None:
    from pilothouse.operations.draft_campaign import campaign_name
    from pilothouse.scripts.starter import starter

    script = file.with_name(f"{file.stem.replace('-', '_')}_train.py")
    text, trainer = starter(file=file.as_posix(), script=script.as_posix(), name=campaign_name(file))
    _write({file: text, script: trainer}, force=force)
    say(f"wrote {file} and {script}; next: pilothouse campaign run {file} --iterations 3")


def _write(texts: dict[Path, str], *, force: bool) -> None:
    """Write all files, or none where one is there already."""
    from pilothouse.errors import UsageError
    from pilothouse.wiring.workspace import write_text

    there = next((file for file in texts if file.exists() or file.is_symlink()), None)
    if there is not None and not force:
        raise UsageError(
            f"{there} is there already", fix="choose another name by --output, or write over it by --force"
        )
    for file, text in texts.items():
        write_text(file, text)


def _print_reading(draft: Draft) -> None:
    print_json(
        {
            "campaign": draft.name,
            "command": list(draft.command),
            "read_from": draft.reading.by,
            "notes": list(draft.reading.notes),
            "arguments": [
                {**argument.as_json(), "role": found.role.value, "why": found.why}
                for argument, found in draft.guesses()
            ],
            "metrics": [{"name": each.name, "direction": each.direction or None} for each in draft.metrics],
        }
    )
