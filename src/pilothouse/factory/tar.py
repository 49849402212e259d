"""A sealed folder as a stream of bytes: a plain tar of its manifest and its files, the same bytes for the same folder.

A stream is trusted with nothing: what comes in is unpacked file by file into an empty folder, and whoever unpacks
compares the folder with its manifest afterwards.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from pilothouse.errors import BadValue, StorageFailed
from pilothouse.operations.tar_member import PlainMember
from pilothouse.trainer import tree

CHUNK_BYTES = 1 << 20
_BLOCK_BYTES = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK_BYTES)


def tar_length(folder: Path) -> int:
    """Return how many bytes `tar_stream` gives for a sealed folder."""
    return sum(len(_header(name, size)) + _padded(size) for name, size in _members(folder)) + len(_END)


def tar_stream(folder: Path) -> Iterator[bytes]:
    """Yield a sealed folder, its manifest first; raises StorageFailed if a file cannot be read as it was sealed."""
    for name, size in _members(folder):
        yield _header(name, size)
        try:
            yield from _content(folder / name, size)
        except OSError as error:
            raise StorageFailed(
                f"Cannot read {folder / name}: {error.strerror or error}.", fix="look at the disk; then try again."
            ) from error
        yield bytes(_padded(size) - size)
    yield _END


def untar(
    chunks: Iterable[bytes], into: Path, *, bytes_max: int | None = None, touch: Callable[[], None] = lambda: None
) -> None:
    """Unpack the stream into a folder that is empty.

    Raises BadValue for anything but files with paths that stay inside, or for more than `bytes_max` bytes of them;
    StorageFailed if the disk refuses.
    """
    left = bytes_max
    try:
        with tarfile.open(fileobj=_Reader(chunks, touch), mode="r|", tarinfo=PlainMember) as archive:
            for member in archive:
                path = into / _checked(member)
                left = None if left is None else left - member.size
                if left is not None and left < 0:
                    raise _refused(f"it holds more than {bytes_max} bytes")
                stream = archive.extractfile(member)
                assert stream is not None, f"{member.name} is a file"
                _write(path, stream)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _refused(f"it cannot be read: {error}") from error


def _members(folder: Path) -> list[tuple[str, int]]:
    manifest = tree.read_manifest(folder)
    files = sorted((name, entry.size) for name, entry in manifest.files.items())
    return [(tree.MANIFEST, (folder / tree.MANIFEST).stat().st_size), *files]


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def _content(path: Path, size: int) -> Iterator[bytes]:
    """Yield as many bytes as the manifest says; a file of another length would shift all that follows."""
    left = size
    with path.open("rb") as stream:
        while left > 0:
            data = stream.read(min(CHUNK_BYTES, left))
            if not data:
                raise OSError(f"{left} bytes are missing")
            left -= len(data)
            yield data


def _checked(member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if not member.isreg():
        raise _refused(f"{member.name!r} is no plain file")
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in member.name:
        raise _refused(f"{member.name!r} leaves the folder")
    return path


def _write(path: Path, stream: io.BufferedIOBase | io.RawIOBase | object) -> None:
    read = getattr(stream, "read")  # noqa: B009  tarfile's reader has no public type
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            while data := read(CHUNK_BYTES):
                out.write(data)
            out.flush()
            os.fsync(out.fileno())
    except FileExistsError as error:
        raise _refused(f"{path.name!r} comes twice") from error
    except OSError as error:
        raise StorageFailed(
            f"Cannot write {path}: {error.strerror or error}.", fix="free disk space or make the folder writable."
        ) from error


def _refused(why: str) -> BadValue:
    return BadValue(f"The archive is refused: {why}.", fix="send a plain tar of a sealed folder's own files.")


class _Reader(io.RawIOBase):
    """Reads a sequence of chunks as a file."""

    def __init__(self, chunks: Iterable[bytes], touch: Callable[[], None]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._touch = touch
        self._rest = b""

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, and fewer only at the end."""
        parts, left = [], size if size >= 0 else CHUNK_BYTES
        while left > 0:
            if not self._rest:
                self._touch()
                self._rest = next(self._chunks, b"")
                if not self._rest:
                    break
            part, self._rest = self._rest[:left], self._rest[left:]
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
