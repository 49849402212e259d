"""Sealed folders in a folder of this machine."""

from __future__ import annotations

import errno
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from pilothouse.errors import ArtifactDamaged, BadValue, StorageFailed
from pilothouse.ids import ArtifactDigest
from pilothouse.ports.blobs import Stored
from pilothouse.trainer import tree
from pilothouse.trainer.durable import sync_file, sync_folder
from pilothouse.trainer.errors import StorageFailed as SealingFailed
from pilothouse.trainer.errors import TreeDamaged

_DIGEST = re.compile(r"[0-9a-f]{64}")
_INCOMING = ".incoming"
_READ_ONLY = 0o444
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NOT_EMPTY = frozenset({errno.ENOTEMPTY, errno.EEXIST})
SETTLES_MAX = 100
"""How often a folder is renamed into a place that other processes fill at the same time."""

_serial = itertools.count()


class LocalBlobs:
    """Blobs under one root, which is made when the first one is put; several processes may share it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, source: Path) -> Stored:
        """Keep a sealed folder, or a single file as a folder of one."""
        with _writing(self._root):
            if source.is_file():
                return self._put_file(source)
            return self._put_folder(source)

    def path(self, digest: ArtifactDigest) -> Path:
        """Return the folder after comparing every file with its manifest."""
        folder = self._place(digest)
        damage = self._damage(digest)
        if damage is not None:
            raise ArtifactDamaged(
                f"Artifact {digest} is damaged: {damage}",
                fix="start the campaign again: the job that made the artifact is run anew. "
                "A golden set comes back from its own copy.",
                artifact=digest,
            )
        return folder

    def folder(self, digest: ArtifactDigest) -> Path:
        """Return where the folder is kept, unchecked."""
        return self._place(digest)

    def remove(self, digest: ArtifactDigest) -> bool:
        """Move the folder aside in one step, so that no reader sees half of it, and delete it there."""
        folder = self._place(digest)
        with _writing(self._root):
            aside = self._incoming()
            try:
                folder.rename(aside / digest)
            except FileNotFoundError:
                return False
            finally:
                shutil.rmtree(aside, ignore_errors=True)
            sync_folder(folder.parent)
        return True

    # ------------------------------------------------------------------ putting

    def _put_file(self, source: Path) -> Stored:
        aside = self._incoming()
        try:
            _take(source, aside / source.name)
            sync_file(aside / source.name)
            tree.seal(aside)
            stored = _stored(tree.read_manifest(aside))
            self._settle(aside, stored.digest)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return stored

    def _put_folder(self, source: Path) -> Stored:
        try:
            manifest = tree.verify(source)
        except TreeDamaged as error:
            raise _source_damaged(source, error) from error
        digest = ArtifactDigest(manifest.digest)
        if self._damage(digest) is None:
            return _stored(manifest)
        aside = self._incoming()
        try:
            for name in [*manifest.files, tree.MANIFEST]:
                target = aside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _take(source / name, target)
            for parent, _, _ in os.walk(aside, topdown=False):
                sync_folder(Path(parent))
            self._settle(aside, digest)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return _stored(manifest)

    def _settle(self, aside: Path, digest: ArtifactDigest) -> None:
        """Rename the filled folder into place; an intact one that is there already wins, a damaged one gives way.

        Other processes may put and remove the same one meanwhile: each time that they do, it is tried again.
        """
        folder = self._place(digest)
        if not folder.parent.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            sync_folder(self._root)
        for tries_left in reversed(range(SETTLES_MAX)):
            if folder.is_dir():
                if self._damage(digest) is None:
                    return
                self.remove(digest)
            try:
                aside.rename(folder)
                break
            except OSError as error:
                if error.errno not in _NOT_EMPTY or not tries_left:
                    raise
        sync_folder(folder.parent)

    def _incoming(self) -> Path:
        """Make a folder of this process's own beside the blobs, and clear those of processes that are gone."""
        incoming = self._root / _INCOMING
        incoming.mkdir(parents=True, exist_ok=True)
        for left in incoming.iterdir():
            owner = left.name.partition("-")[0]
            if not owner.isdigit() or not psutil.pid_exists(int(owner)):
                shutil.rmtree(left, ignore_errors=True)
        aside = incoming / f"{os.getpid()}-{next(_serial)}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        return aside

    # ------------------------------------------------------------------ reading

    def _place(self, digest: ArtifactDigest) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise BadValue(
                f"{digest!r} is no artifact digest.",
                fix="give the 64 hexadecimal letters that `pilothouse run show` prints.",
            )
        return self._root / digest[:2] / digest

    def _damage(self, digest: ArtifactDigest) -> str | None:
        """Return what is wrong with the folder of that name, or None if every byte is right."""
        folder = self._place(digest)
        try:
            found = tree.verify(folder).digest
        except TreeDamaged as error:
            return error.problem
        except OSError as error:
            return f"{error.filename or folder} cannot be read: {error.strerror or error}."
        return None if found == digest else f"{folder / tree.MANIFEST} is the manifest of {found}."


def _take(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy on the disk where the file system refuses the link.

    A linked file needs no fsync: its folder's manifest was written after the file was on the disk.
    """
    original = source.resolve(strict=True)
    try:
        target.hardlink_to(original)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(original, target)
        sync_file(target)
    with suppress(PermissionError):  # a linked file may belong to another user; then its mode is theirs
        target.chmod(_READ_ONLY)


def _stored(manifest: tree.Manifest) -> Stored:
    size = sum(entry.size for entry in manifest.files.values())
    return Stored(digest=ArtifactDigest(manifest.digest), size_bytes=size, meta=manifest.meta)


def _source_damaged(source: Path, error: TreeDamaged) -> ArtifactDamaged:
    return ArtifactDamaged(
        f"{source} cannot be kept: {error.problem}",
        fix="let the program seal the folder after its last write (`pilothouse.trainer` does), then run it again.",
        artifact=str(source),
    )


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Turn what the disk refuses into a StorageFailed with its mend."""
    try:
        yield
    except OSError as error:
        where = error.filename or root
        fix = (
            f"free space on the disk of {root}; nothing that was kept before is lost."
            if error.errno in _FULL
            else f"make {root} a folder that you may write to."
        )
        raise StorageFailed(f"Cannot keep an artifact at {where}: {error.strerror or error}.", fix=fix) from error
    except SealingFailed as error:
        raise StorageFailed(error.problem, fix=error.fix) from error
