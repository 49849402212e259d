"""Checkpoints of a run: made aside, sealed, then renamed into place; the newest sealed one is where a run goes on.

checkpoints/.step-000100.tmp/   being written; never read, swept away by the next attempt
checkpoints/step-000100/        complete: its manifest was written before the rename
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from pilothouse.trainer import tree
from pilothouse.trainer.durable import storage, sync_folder
from pilothouse.trainer.errors import TreeDamaged
from pilothouse.trainer.folder import Resume
from pilothouse.trainer.values import JSON

_NAME = re.compile(r"step-(\d{6,})")


def checkpoint_name(step: int) -> str:
    """Name the folder of a step: six digits at least, so that names sort as steps do."""
    return f"step-{step:06d}"


def place(target: Path, save: Callable[[Path], None], meta: Mapping[str, JSON]) -> Path:
    """Let `save` fill a folder beside `target`, seal it and rename it into place; return `target`.

    A kill at any moment leaves `target` as it was or complete. An equal sealed folder that is already there is kept,
    a different one is replaced.
    """
    temporary = target.with_name(f".{target.name}.tmp")
    with storage(temporary):
        remove_folder(temporary)
        temporary.mkdir(parents=True)
        save(temporary)
    digest = tree.seal(temporary, meta)
    with storage(target):
        if target.exists():
            if _digest_of(target) == digest:
                remove_folder(temporary)
                return target
            remove_folder(target)
        temporary.rename(target)
        sync_folder(target.parent)
    return target


def sweep(folder: Path) -> None:
    """Remove what a killed attempt left half-made in `folder`."""
    for path in folder.glob(".*.tmp"):
        if path.is_dir():
            remove_folder(path)
        else:
            path.unlink(missing_ok=True)


def steps_in(folder: Path) -> dict[int, Path]:
    """Every placed checkpoint in `folder` by step, ascending."""
    if not folder.is_dir():
        return {}
    found = {
        int(match[1]): folder / entry.name for entry in os.scandir(folder) if (match := _NAME.fullmatch(entry.name))
    }
    return dict(sorted(found.items()))


def newest_checkpoint(folder: Path) -> Resume | None:
    """Find the highest step in `folder` whose every file matches its manifest; damaged ones are passed over."""
    for step, path in reversed(steps_in(folder).items()):
        try:
            tree.verify(path)
        except TreeDamaged:
            continue
        return Resume(checkpoint=path, step=step)
    return None


def prune(folder: Path, *, keep: int, spare: Path | None) -> None:
    """Remove all but the last `keep` checkpoints, the marked ones and `spare`."""
    steps = steps_in(folder)
    for path in list(steps.values())[:-keep]:
        if path != spare and not _marked(path):
            remove_folder(path)


def remove_folder(path: Path) -> None:
    """Remove a folder if it is there, its manifest first: a kill half-way leaves it unsealed, not damaged."""
    import shutil  # noqa: PLC0415  it loads every archive format; only a run that saves pays for it

    if path.is_dir():
        (path / tree.MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(path)


def _marked(path: Path) -> bool:
    try:
        return tree.read_manifest(path).meta.get("marked") is True
    except TreeDamaged:
        return False


def _digest_of(path: Path) -> str | None:
    try:
        return tree.verify(path).digest
    except TreeDamaged:
        return None
