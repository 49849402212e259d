"""Writing a campaign for an existing script: its text is read, and only where it was asked for, its help is run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pilothouse.errors import OperationFailed, UsageError
from pilothouse.scripts.argument import Reading, ScriptUnreadable
from pilothouse.scripts.campaign_text import Draft
from pilothouse.scripts.help_text import read_help
from pilothouse.scripts.metrics import FoundMetric
from pilothouse.scripts.reading import enriched, metrics_of, parse, read_script

HELP_SECONDS = 60.0
SCRIPT_BYTES_MAX = 2 << 20
_HELP_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a campaign is wanted for. `run_help` allows the command to be started with `--help`, once."""

    script: Path | None
    command: str | None
    run_help: bool
    file: Path
    environment: Mapping[str, str]


def draft_campaign(wish: Wish) -> Draft:
    """Return what the campaign file is written from.

    Raises ScriptUnreadable for what cannot be read as a script, or tells nothing; UsageError for a command that cannot
    be split; OperationFailed where the help cannot be had.
    """
    command = _command(wish)
    declared, metrics, refusal = _by_text(wish)
    if wish.run_help:
        told = read_help(_help(command, wish.environment), program=shlex.join(command))
        reading = enriched(told, declared)
    elif declared is not None:
        reading = declared
    elif refusal is not None:
        raise refusal
    else:
        raise UsageError(
            f"What {shlex.join(command)} takes is not known without its script.",
            fix="name the script, or let the program tell by --run-help, which starts it with --help",
        )
    return Draft(file=str(wish.file), name=campaign_name(wish.file), command=command, reading=reading, metrics=metrics)


def _by_text(wish: Wish) -> tuple[Reading | None, tuple[FoundMetric, ...], ScriptUnreadable | None]:
    """Return what the script's text tells; what its arguments hide is told by the third."""
    if wish.script is None:
        return None, (), None
    name = wish.script.as_posix()
    tree = parse(_text(wish.script), script=name)
    try:
        return read_script(tree, script=name), metrics_of(tree), None
    except ScriptUnreadable as error:
        return None, metrics_of(tree), error


def _command(wish: Wish) -> tuple[str, ...]:
    """Return how the program is started: as stated, else the script by Python."""
    if wish.command is None:
        if wish.script is None:
            raise UsageError("Neither a script nor a command is named.", fix="name one of them")
        return ("python", wish.script.as_posix())
    try:
        words = tuple(shlex.split(wish.command))
    except ValueError as error:
        raise UsageError(f"--command {wish.command!r} cannot be split: {error}.", fix="close its quotes") from error
    if not words:
        raise UsageError("--command names no program.", fix='write one, such as --command "python train.py"')
    return words


def _text(script: Path) -> str:
    try:
        if script.is_dir():
            raise ScriptUnreadable(f"{script} is a folder.", fix="name the file that is started")
        if not script.is_file():
            raise ScriptUnreadable(f"There is no script {script}.", fix="check the name; it is sought from this folder")
        if script.stat().st_size > SCRIPT_BYTES_MAX:
            raise ScriptUnreadable(f"{script} has more than {SCRIPT_BYTES_MAX} bytes.", fix="name a script of Python")
        return script.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScriptUnreadable(
            f"{script} is no text in UTF-8: {error.reason} at byte {error.start}.",
            fix="name a script of Python; of another program, say --command and --run-help",
        ) from error
    except OSError as error:
        raise ScriptUnreadable(
            f"{script} cannot be read: {error.strerror or error}.", fix="make it readable, or name another"
        ) from error


def _help(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Start the command with `--help` in a group of its own, and return what it prints."""
    program = sys.executable if command[0] in {"python", "python3"} else command[0]
    plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
    try:
        process = subprocess.Popen(  # noqa: S603  the person has asked for exactly this command to be run
            [program, *command[1:], "--help"],
            env={**environment, **plain},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise OperationFailed(
            f"{command[0]!r} cannot be started: {error.strerror or error}.", fix="correct --command"
        ) from error
    try:
        output, _ = process.communicate(timeout=HELP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OperationFailed(
            f"{shlex.join(command)} --help took longer than {HELP_SECONDS:g} s.",
            fix="let it answer before it loads anything, or name its script without --run-help",
        ) from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    text = output[:_HELP_BYTES_MAX].decode("utf-8", "replace")
    if process.returncode != 0:
        last = text.strip().splitlines()[-1:] or ["it printed nothing"]
        raise OperationFailed(
            f"{shlex.join(command)} --help ended with {process.returncode}: {last[0]}", fix="correct --command"
        )
    return text


def campaign_name(file: Path) -> str:
    """Return a name for a campaign, made from the file's own."""
    plain = re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"c-{plain}".rstrip("-"))[:63]
