"""Writes that survive a power cut: data, fsync, rename, fsync of the folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilothouse.trainer.errors import StorageFailed


@contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn an operating-system error on `path` into a StorageFailed that names it."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise StorageFailed(
            f"Cannot write {where}: {error.strerror or error}.",
            fix="free disk space or make the folder writable, then start the run again.",
        ) from error


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, so that a rename inside it is lasting."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step: a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    with storage(path):
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
