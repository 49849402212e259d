"""Sealed folders: a manifest with the digest of every file, written last.

A folder is sealed when `manifest.json` stands in it; the manifest is the commit. It reads

    {"format": 1, "files": {"relative/posix/path": {"sha256": "<hex>", "size": 123}}, "meta": {...}}

and the digest of the tree is the SHA-256 of the canonical JSON (sorted keys, no spaces, UTF-8) of `files` and `meta`.
Bytes and names count; times, owners and permissions do not. A symbolic link counts as the file it points to, and is
refused where it leaves the folder or points to a folder.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pilothouse.trainer.durable import storage, sync_file, sync_folder, write_bytes
from pilothouse.trainer.errors import TreeDamaged
from pilothouse.trainer.values import JSON, canonical, decode

MANIFEST = "manifest.json"
FORMAT = 1
_MEND = "restore the folder from a copy, or remove it so that it is made again."


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One file of a sealed folder: hex SHA-256 of its bytes and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a sealed folder holds, by relative POSIX path, and what its maker added."""

    files: Mapping[str, FileEntry]
    meta: Mapping[str, JSON]

    @property
    def digest(self) -> str:
        """The hex SHA-256 that names this tree by its content."""
        return hashlib.sha256(canonical(self._body())).hexdigest()

    def document(self) -> dict[str, JSON]:
        """Give the manifest as it stands in `manifest.json`."""
        return {"format": FORMAT, **self._body()}

    def _body(self) -> dict[str, JSON]:
        files: dict[str, JSON] = {
            name: {"sha256": entry.sha256, "size": entry.size} for name, entry in self.files.items()
        }
        return {"files": files, "meta": dict(self.meta)}


def seal(folder: Path, meta: Mapping[str, JSON] | None = None) -> str:
    """Write the manifest of `folder` last, after every file and folder is on the disk; return the tree's digest.

    Sealing a sealed folder again replaces its manifest. Raises TreeDamaged for a link that leaves the folder.
    """
    with storage(folder):
        files = {}
        for name in sorted(_walk(folder)):
            path = folder / name
            sync_file(path)
            files[name] = _entry(path)
        for parent, _, _ in os.walk(folder, topdown=False):
            sync_folder(Path(parent))
    manifest = Manifest(files=files, meta=dict(meta or {}))
    write_bytes(folder / MANIFEST, canonical(manifest.document()) + b"\n")
    return manifest.digest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a sealed folder without looking at its files; raises TreeDamaged if there is none."""
    path = folder / MANIFEST
    try:
        document = decode(path.read_bytes())
    except FileNotFoundError:
        raise TreeDamaged(f"{folder} has no {MANIFEST}: it was never completed.", fix=_MEND) from None
    except NotADirectoryError:
        raise TreeDamaged(f"{folder} is no folder.", fix=_MEND) from None
    except (OSError, ValueError, RecursionError) as error:
        raise TreeDamaged(f"{path} cannot be read: {error}.", fix=_MEND) from error
    manifest = _parse(path, document)
    try:
        canonical(manifest.document())
    except (ValueError, RecursionError) as error:
        # NaN, or half a character: JSON readers take them, and no digest can name them.
        raise TreeDamaged(f"{path} has no canonical form: {error}.", fix=_MEND) from error
    return manifest


def verify(folder: Path) -> Manifest:
    """Compare every file of `folder` with its manifest and return the manifest.

    Raises TreeDamaged naming the first file that is missing, changed or not listed.
    """
    manifest = read_manifest(folder)
    present = set(_walk(folder))
    for name in sorted(present - manifest.files.keys()):
        raise TreeDamaged(f"{folder / name} is not in the manifest.", fix=_MEND)
    for name, expected in sorted(manifest.files.items()):
        if name not in present:
            raise TreeDamaged(f"{folder / name} is missing.", fix=_MEND)
        _compare(folder / name, expected)
    return manifest


def _compare(path: Path, expected: FileEntry) -> None:
    try:
        size = path.stat().st_size
        found = _entry(path) if size == expected.size else None
    except OSError as error:
        raise TreeDamaged(f"{path} cannot be read: {error}.", fix=_MEND) from error
    if found is None:
        raise TreeDamaged(f"{path} has {size} bytes where its manifest says {expected.size}.", fix=_MEND)
    if found.sha256 != expected.sha256:
        raise TreeDamaged(
            f"{path} has the SHA-256 {found.sha256[:12]}… where its manifest says {expected.sha256[:12]}….", fix=_MEND
        )


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileEntry(sha256=digest, size=stream.tell())


def _walk(folder: Path) -> Iterator[str]:
    """Yield the relative POSIX path of every file but the manifest, refusing what is neither file nor folder."""
    root = folder.resolve()
    for parent, folders, names in os.walk(folder):
        for name in folders:
            if (Path(parent) / name).is_symlink():
                raise TreeDamaged(f"{Path(parent) / name} is a link to a folder.", fix="copy the folder instead.")
        for name in names:
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            _refuse_foreign(path, root)
            if relative not in {MANIFEST, f".{MANIFEST}.tmp"}:
                yield relative


def _refuse_foreign(path: Path, root: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        raise TreeDamaged(f"{path} is a link that leaves the folder.", fix="copy the file instead.")
    if not path.is_file():
        raise TreeDamaged(f"{path} is no regular file.", fix="remove it from the folder.")


def _parse(path: Path, document: JSON) -> Manifest:
    match document:
        case {"format": int(format_), "files": dict(files), "meta": dict(meta)} if format_ == FORMAT:
            return Manifest(files={name: _parse_entry(path, name, entry) for name, entry in files.items()}, meta=meta)
        case {"format": int(format_)} if format_ != FORMAT:
            raise TreeDamaged(f"{path} has the format {format_}; this version reads {FORMAT}.", fix=_MEND)
        case _:
            raise TreeDamaged(f"{path} is no manifest: format, files or meta is missing.", fix=_MEND)


def _parse_entry(path: Path, name: str, entry: JSON) -> FileEntry:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise TreeDamaged(f"{path} lists {json.dumps(name)}, which leaves the folder.", fix=_MEND)
    match entry:
        case {"sha256": str(sha256), "size": int(size)}:
            return FileEntry(sha256=sha256, size=size)
        case _:
            raise TreeDamaged(f"{path} has a malformed entry for {json.dumps(name)}.", fix=_MEND)
