"""Filling the run folder before the program starts: its order, its config, its inputs, and what it resumes from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.errors import CheckpointMissing, OperationFailed, StorageFailed
from pilothouse.fleet.job import FreshStart
from pilothouse.fleet.least_step import LeastStep, lost_steps, lost_words
from pilothouse.ids import ArtifactDigest
from pilothouse.operations.job_view import FACTORIES, run_folder
from pilothouse.ports.blobs import Blobs
from pilothouse.ports.dispatch import Offer
from pilothouse.trainer import tree
from pilothouse.trainer.checkpoints import steps_in
from pilothouse.trainer.errors import TreeDamaged
from pilothouse.trainer.folder import CONFIG_FILE, LOG_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """An intact checkpoint of an earlier attempt, and the least step to start from."""

    checkpoint: Path
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run folder that a program can start in."""

    folder: Path
    resume: Resume | None

    @property
    def resume_step(self) -> int | None:
        """The step that the attempt goes on from, None where it begins afresh."""
        return None if self.resume is None else self.resume.step


def prepare(
    offer: Offer,
    *,
    home: Path,
    blobs: Blobs,
    touch: Callable[[], None],
    fetch: Callable[[ArtifactDigest], None] | None = None,
) -> Prepared:
    """Make the attempt's folder with run.json and config.json, every input checked, and fetched before.

    `touch` is called between steps. A checkpoint can only be resumed where it lies, in this home or in that of another
    factory beside it: when the earlier attempts ran on another machine, or their folders are gone, this one starts
    below the least step, and its log says what that costs. Raises CheckpointMissing where the job refuses that,
    ArtifactDamaged for an input that does not match its digest, StorageFailed if the folder cannot be written.
    """
    notes: list[str] = []
    earlier = [_inside(home, name) for name in offer.earlier_folders]
    resume = newest_intact([*earlier, *_beside(home, offer.least, earlier)], notes=notes, touch=touch)
    if offer.least is None and earlier and not any(path.exists() for path in earlier):
        notes.append("no folder of an earlier attempt is on this machine; starting afresh")
    _heed_least_step(offer, resume, notes=notes)
    inputs: dict[str, list[str]] = {}
    for name, digests in offer.spec.inputs.items():
        inputs[name] = []
        for digest in digests:
            touch()
            if fetch is not None:
                fetch(digest)
            inputs[name].append(str(blobs.path(digest)))
    folder = _inside(home, offer.folder)
    try:
        # A folder of this very epoch can only be the rest of a factory that died while preparing it.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _write(folder / "run.json", _order(offer, inputs, resume))
        _write(folder / CONFIG_FILE, dict(offer.spec.config))
        if resume is not None:
            notes.append(f"resuming from {resume.checkpoint} at step {resume.step}")
        if notes:
            (folder / LOG_FILE).write_text("".join(f"pilothouse: {note}\n" for note in notes), encoding="utf-8")
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {error.filename or folder}: {error.strerror or error}.",
            fix="free disk space or make the folder writable; the job is then claimed again.",
        ) from error
    return Prepared(folder=folder, resume=resume)


def newest_intact(folders: Sequence[Path], *, notes: list[str], touch: Callable[[], None]) -> Resume | None:
    """Return the checkpoint of the highest step that is whole, among the folders of the earlier attempts.

    Looking at the latest attempt alone would lose everything if that one was ended before its first checkpoint. Those
    that are not whole are passed over, and `notes` tells which and why.
    """
    found = [
        (step, -age, path)
        for age, folder in enumerate(folders)
        for step, path in steps_in(folder / "checkpoints").items()
    ]
    for step, _, path in sorted(found, reverse=True):
        touch()
        try:
            tree.verify(path)
        except (TreeDamaged, OSError) as error:
            notes.append(f"checkpoint of step {step} skipped: {error}")
            continue
        return Resume(checkpoint=path, step=step)
    return None


def _beside(home: Path, least: LeastStep | None, earlier: Sequence[Path]) -> tuple[Path, ...]:
    """Return the folder of the least step where another factory of this machine keeps it, if it is not known yet."""
    if least is None:
        return ()
    outer = home.resolve()
    outer = outer.parent.parent if outer.parent.name == FACTORIES else outer
    found = run_folder(outer, factory=least.factory, folder=least.folder)
    return () if found is None or found.resolve() in earlier else (found.resolve(),)


def _heed_least_step(offer: Offer, resume: Resume | None, *, notes: list[str]) -> None:
    """Note what a start from there would do again; raises CheckpointMissing where the job refuses that."""
    step = None if resume is None else resume.step
    if offer.least is None or not lost_steps(offer.least, step):
        return
    words = lost_words(offer.least, step)
    if offer.spec.fresh_start is FreshStart.REFUSED:
        # What was skipped tells whether the checkpoint is away or damaged.
        raise CheckpointMissing(
            f"The job may not start below its least step: it {words}.{''.join(f' {note}.' for note in notes)}",
            fix="bring that folder back to its place, or allow a fresh start; then run again.",
        )
    notes.append(words)


def _order(offer: Offer, inputs: dict[str, list[str]], resume: Resume | None) -> dict[str, Json]:
    spec = offer.spec
    return {
        "run": offer.job,
        "product": offer.product,
        "campaign": spec.campaign,
        "trial": spec.trial,
        "seed": spec.seed,
        "attempt": offer.epoch,
        "deadline_s": spec.timeout_seconds,
        "resume": None if resume is None else {"checkpoint": str(resume.checkpoint), "step": resume.step},
        "inputs": dict(inputs),
    }


def _write(path: Path, value: dict[str, Json]) -> None:
    """Write one file of the order.

    No fsync: if a power cut ends the attempt, the job is claimed anew in another folder and nobody reads this one's
    order again.
    """
    path.write_text(json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _inside(home: Path, folder: str) -> Path:
    """Return the folder as an absolute path; raises OperationFailed if it is not under the home."""
    path = (home / folder).resolve()
    if not path.is_relative_to(home.resolve()):
        raise OperationFailed(
            f"The run folder {folder!r} lies outside {home}.", fix="start the factory with the engine's own home."
        )
    return path
