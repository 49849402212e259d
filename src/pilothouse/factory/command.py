"""What an attempt starts: the job's own command, or an engine that is given the job's body as its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pilothouse.errors import BadValue, OperationFailed, StorageFailed
from pilothouse.fleet import capability
from pilothouse.fleet.arguments import arguments_from_json, fill
from pilothouse.fleet.job import JobSpec
from pilothouse.ports.dispatch import Offer
from pilothouse.ports.launcher import Order
from pilothouse.trainer.folder import CONFIG_FILE

TASK_FILE = "task.md"
TASK_WORD = "{task}"
"""Stands, in an engine's command, for the path of the file with the task."""

Engines = Mapping[str, Sequence[str]]
"""Command words by the engine's name."""


class NoEngine(OperationFailed):
    """The job wants an engine that this factory does not have."""


class CapabilityMissing(OperationFailed):
    """The job requires what this machine does not have."""


def check_requirements(spec: JobSpec, abilities: capability.Offer) -> None:
    """Raise CapabilityMissing, naming each, for what the machine does not have."""
    try:
        lacking = capability.unmet(capability.parse_all(spec.requires), abilities)
    except BadValue as error:
        raise CapabilityMissing(error.message, fix=error.fix) from error
    if lacking:
        named = ", ".join(str(requirement) for requirement in lacking)
        raise CapabilityMissing(
            f"This machine does not have {named}.",
            fix="give the capability to a factory, or take it out of the job's requirements.",
        )


def order_of(offer: Offer, folder: Path, *, work_folder: Path, engines: Engines) -> Order:
    """Return what to start in the run folder; an engine's task is written there first.

    Raises OperationFailed for a folder that the job may not start in, NoEngine for an engine that is not known here,
    BadValue for a command that cannot be filled.
    """
    spec = offer.spec
    command: Sequence[str] = _filled(spec, folder) if spec.arguments else spec.command
    stdin = None
    cwd = folder_of(spec, work_folder)
    if not spec.command and spec.engine:
        words = engines.get(spec.engine)
        if words is None:
            known = ", ".join(sorted(engines)) or "none"
            raise NoEngine(
                f"The engine {spec.engine!r} is not known to this factory, which has: {known}.",
                fix="name its command under [factory.engines] in the factory's pilothouse.toml, or by --engine.",
            )
        task = _write_task(folder / TASK_FILE, spec.body)
        command = [word.replace(TASK_WORD, str(task)) for word in words]
        stdin = None if any(TASK_WORD in word for word in words) else task
    return Order(command=command, cwd=cwd, folder=folder, cookie=f"{offer.job}:{offer.epoch}", stdin=stdin)


def _filled(spec: JobSpec, folder: Path) -> Sequence[str]:
    """Return the command with what this attempt and its config put into it."""
    rules = arguments_from_json(spec.arguments)
    return fill(
        spec.command,
        rules,
        config=spec.config,
        seed=spec.seed,
        run_dir=str(folder),
        config_file=str(folder / CONFIG_FILE),
    )


def folder_of(spec: JobSpec, work_folder: Path) -> Path:
    """Return the folder that the job's commands start in, which lies in the work folder whatever links say."""
    asked = Path(spec.cwd)
    root = work_folder.resolve()
    try:
        path = (root / asked).resolve()
        there = path.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise _bad_folder(spec.cwd, f"cannot be used: {error}") from error
    if asked.is_absolute() or ".." in asked.parts or not path.is_relative_to(root):
        raise _bad_folder(spec.cwd, "leaves the factory's work folder")
    if not there:
        raise _bad_folder(spec.cwd, f"is no folder in {root}")
    return path


def _write_task(path: Path, body: str) -> Path:
    try:
        path.write_text(body, encoding="utf-8", errors="replace")
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {path}: {error.strerror or error}.",
            fix="free disk space or make the folder writable; the job is then claimed again.",
        ) from error
    return path


def _bad_folder(cwd: str, why: str) -> OperationFailed:
    return OperationFailed(
        f"The job's cwd {cwd!r} {why}.", fix="give a folder inside the factory's work folder, relative to it."
    )
