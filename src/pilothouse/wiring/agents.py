"""From the tables of a campaign file to an agent that can be run here, or to what hinders it."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pilothouse.campaigns.agent_section import Agent as Section
from pilothouse.campaigns.agent_section import AgentLimits
from pilothouse.campaigns.autopilot_definition import AutopilotDefinition
from pilothouse.campaigns.definition import Definition
from pilothouse.errors import OperationFailed, Refused
from pilothouse.launch.local import PYTHON
from pilothouse.operations.agent_artefacts import best_folder, last_folder
from pilothouse.ports.store import Transaction
from pilothouse.propose.agent_presets import Preset, Setting, command, preset
from pilothouse.propose.asking import Agent
from pilothouse.propose.sandbox import roots
from pilothouse.propose.sandbox.level import Level, level
from pilothouse.propose.sandbox.plan import Limits
from pilothouse.propose.sandbox.run import MODEL_PORTS
from pilothouse.settings import environment, search_path
from pilothouse.wiring.workspace import Workspace

FOLDER = "agents"
"""Where in the home the questions to agents lie, by product and campaign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The table of the file that names an agent, and what it says."""

    section: Section
    table: str


_PROBE = Setting(context=Path("/context"), folder=Path("/folder"), schema="{}")


def agent_of(workspace: Workspace, definition: Definition, place: Place, found: Level | None = None) -> Agent:
    """Return the agent that the file names; `found` is how well this machine confines it, looked up if it is None.

    Raises `Refused` where nothing confines it and no waiver holds, or where it could read what it must not, and
    `OperationFailed` where its program is not there.
    """
    home, found, section = workspace.home, level() if found is None else found, place.section
    _check_waiver(place, found, now=workspace.clock.now())
    chosen, own = _preset(place)
    readable = [*own, *(_absolute(each) for each in section.readable)]
    _keep_apart(readable, chosen, home)
    table = definition.campaign
    return Agent(
        preset=chosen,
        work=home / FOLDER / table.product / table.name,
        level=found,
        variables=environment(),
        readable=readable,
        forbidden=(home,),
        limits=_limits(section.limits),
        ports=MODEL_PORTS if section.ports is None else tuple(section.ports),
        model=section.model,
        cost_limit_usd=section.cost_limit_usd,
        cost_estimate_usd=section.cost_estimate_usd,
        unconfined_allowed_by=section.unconfined.by if section.unconfined is not None else "",
        waiver_ended=lambda: _has_ended(section, now=workspace.clock.now()),
    )


def with_folders(agent: Agent, workspace: Workspace, definition: AutopilotDefinition) -> Agent:
    """Return an autopilot's agent, who is shown the small files of the last run and of the baseline's."""
    last, best = _folder(workspace, definition, last_folder), _folder(workspace, definition, best_folder)
    return replace(agent, artefacts=last, best=best)


def _folder(
    workspace: Workspace,
    definition: AutopilotDefinition,
    find: Callable[[Transaction, AutopilotDefinition, Path], Path | None],
) -> Callable[[], Path | None]:
    def found() -> Path | None:
        with workspace.store.read() as tx:
            return find(tx, definition, workspace.home)

    return found


def _check_waiver(place: Place, found: Level, *, now: datetime) -> None:
    section = place.section
    waiver = section.unconfined
    if found.confines:
        return
    if waiver is None:
        raise Refused(
            f"this machine cannot confine an agent: {found.told()}",
            fix=f"run the campaign on Linux 6.2 or newer, or add [{place.table}.unconfined] with by, reason and until",
        )
    if _has_ended(section, now=now):
        raise Refused(
            f"the waiver of confinement by {waiver.by} ended at {waiver.until}",
            fix=f"let somebody answer for another one in [{place.table}.unconfined]",
        )


def _has_ended(section: Section, *, now: datetime) -> bool:
    return section.unconfined is None or datetime.fromisoformat(section.unconfined.until) <= now


def _preset(place: Place) -> tuple[Preset, list[Path]]:
    """Return the preset with its program located, and the files of the command, which it may read."""
    section = place.section
    if section.command is None:
        named = preset(section.preset)
        program = _program(named.command(_PROBE)[0], place)
        return replace(named, command=lambda setting: [program, *named.command(setting)[1:]]), []
    files = [_absolute(word) for word in section.command[1:] if (Path.cwd() / word).is_file()]
    words = [str(_absolute(word)) if (Path.cwd() / word).is_file() else word for word in section.command[1:]]
    return (
        command(
            [_program(section.command[0], place), *words],
            network=section.reaches_network(),
            variables=frozenset(section.variables),
        ),
        files,
    )


def _program(word: str, place: Place) -> str:
    """Return where the program lies; `python` means the interpreter that runs pilothouse."""
    if word in PYTHON:
        return sys.executable
    found = shutil.which(str(_absolute(word)) if os.sep in word else word, path=search_path())
    if found is None:
        raise OperationFailed(
            f"the agent's program {word!r} is not found", fix=f"install it, or name its path in [{place.table}]"
        )
    return str(Path(found).absolute())


def _absolute(name: str) -> Path:
    """Return the path as seen from the working folder, its links not followed."""
    return Path(os.path.normpath(Path.cwd() / name))


def _keep_apart(readable: Sequence[Path], chosen: Preset, home: Path) -> None:
    """Refuse what would let the agent read the home: the database, other campaigns, other products."""
    for path in readable:
        if not path.exists():
            raise OperationFailed(f"the agent is to read {path}, which is not there", fix="correct `readable`")
        if path.resolve().is_relative_to(home.resolve()):
            raise Refused(
                f"the agent is to read {path}, which lies in the home {home}",
                fix="take it away from `readable`: its context holds a copy of what it may know",
            )
    program = Path(chosen.command(_PROBE)[0])
    roots.keep_apart((*roots.SYSTEM, *roots.of_program(program), *(str(path) for path in readable)), (home,))


def _limits(table: AgentLimits) -> Limits:
    return Limits(
        wall_seconds=table.time,
        cpu_seconds=math.ceil(table.cpu_time),
        memory_mb=table.memory_mb,
        file_mb=min(Limits().file_mb, table.folder_mb),
        folder_mb=table.folder_mb,
        processes=table.processes,
        output_bytes=table.output_bytes,
    )
