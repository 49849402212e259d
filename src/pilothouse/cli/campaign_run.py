"""Run a campaign's loop in the foreground, with its engine, its factory and its signals."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pilothouse.campaigns.action import Finished
from pilothouse.campaigns.definition import Definition
from pilothouse.canonical import Json
from pilothouse.cli.campaign import read_file
from pilothouse.cli.context import note, own_command
from pilothouse.cli.exits import SIGNAL_BASE
from pilothouse.cli.progress import ProgressView
from pilothouse.engine.campaign_loop import Stopped
from pilothouse.errors import UsageError
from pilothouse.knobs.assignment import read_assignments
from pilothouse.settings import Settings
from pilothouse.wiring.listening import Address
from pilothouse.wiring.running import CampaignStart, run_campaign
from pilothouse.wiring.stopping import signals
from pilothouse.wiring.workspace import open_workspace

LOOPBACK, PORT_MAX = "127.0.0.1", 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What the person asked for: the file, how many iterations more (None for endless), which knobs to move.

    `go_on` is the command by which they go on after a stop, where it is not this one. So many `seats` run at once.
    `listen` is where the gate is served meanwhile, as [HOST:]PORT.
    """

    file: Path
    iterations: int | None
    assignments: tuple[str, ...] = ()
    restore_golden: bool = False
    go_on: str = ""
    seats: int = 1
    listen: str | None = None


def run_in_foreground(settings: Settings, request: RunRequest) -> int:
    """Run until finished, failed or signalled; return the exit code, 128 + n after signal n."""
    definition = read_file(request.file)
    overrides = _overrides(definition, request.assignments)
    workspace = open_workspace(settings, create=True)
    stop = threading.Event()
    with signals(stop) as caught, ProgressView() as view:
        ending = run_campaign(
            workspace,
            CampaignStart(
                definition=definition,
                iterations=request.iterations,
                overrides=overrides,
                restore_golden=request.restore_golden,
                warn=note,
                tell=view,
                seats=request.seats,
                file=request.file,
                listen=None if request.listen is None else read_address(request.listen),
            ),
            stop,
        )
    match ending:
        case Finished():
            note(f"finished: {ending.reason}")
            return 0
        case Stopped():
            note(f"stopped; go on with: {request.go_on or f'{own_command(settings)} campaign run {request.file}'}")
            return SIGNAL_BASE + caught[-1] if caught else 0


def read_address(text: str) -> Address:
    """Return the address in the text, a port of the loopback where no host is named."""
    host, colon, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= PORT_MAX) or (colon and not host):
        raise UsageError(f"{text!r} is no address", fix="write --listen 8750, or --listen HOST:PORT")
    return Address(host=host.removeprefix("[").removesuffix("]") or LOOPBACK, port=int(port))


def _overrides(definition: Definition, assignments: tuple[str, ...]) -> Mapping[str, Json]:
    return read_assignments(assignments, definition.knob_rules())
