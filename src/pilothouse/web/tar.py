"""Folders as plain tar archives; what comes in is believed in nothing but its bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pilothouse.errors import BadValue
from pilothouse.operations.tar_member import PlainMember

FILES_MAX = 100_000
PATH_MAX = 1024
CHUNK_BYTES = 1 << 20
_PLAIN = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})


def packed(folder: Path) -> Iterator[bytes]:
    """Yield the archive of a folder in pieces; names and bytes go in, times, owners and permissions do not."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        size = path.stat().st_size
        info = tarfile.TarInfo(path.relative_to(folder).as_posix())
        info.size = size
        yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
        yield bytes(-size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def unpack(archive: Path, folder: Path) -> None:
    """Write the archive's files under a new folder; anything but a plain file below it is refused."""
    folder.mkdir()
    count = 0
    try:
        with tarfile.open(archive, "r:", tarinfo=PlainMember) as tar:
            for member in tar:
                count += 1
                if count > FILES_MAX:
                    raise BadValue(f"the archive has more than {FILES_MAX} files", fix="make fewer and larger files")
                if not member.isdir():
                    _write(tar, member, folder)
    except (tarfile.TarError, UnicodeError, EOFError, OverflowError, ValueError) as error:
        raise BadValue(f"the body is no tar archive: {error}", fix="send a plain tar, not compressed") from error


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = _safe(member.name)
    if member.type not in _PLAIN or member.issparse():
        raise BadValue(f"{member.name!r:.100} in the archive is no plain file", fix="send plain files only, no links")
    source = tar.extractfile(member)
    assert source is not None, f"{member.name!r} is a plain file"
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise BadValue(f"{member.name!r:.100} stands twice in the archive", fix="send each file once") from error
    with os.fdopen(descriptor, "wb") as out:
        while chunk := source.read(CHUNK_BYTES):
            out.write(chunk)


def _safe(name: str) -> PurePosixPath:
    """Return the name as a path below the folder, or refuse it."""
    path = PurePosixPath(name)
    parts = name.split("/")
    unsafe = path.is_absolute() or not name or len(name) > PATH_MAX or "\\" in name or not name.isprintable()
    if unsafe or any(part in {"", ".", ".."} for part in parts):
        raise BadValue(
            f"{name!r:.100} in the archive is no path below it", fix="pack the folder's own files by relative paths"
        )
    return path
