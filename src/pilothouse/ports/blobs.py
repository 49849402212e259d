"""Sealed folders by their content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pilothouse.canonical import Json
from pilothouse.ids import ArtifactDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A sealed folder as it is kept: its digest, the bytes of its files, and what its maker noted in the manifest."""

    digest: ArtifactDigest
    size_bytes: int
    meta: Mapping[str, Json]


class Blobs(Protocol):
    """Content-addressed sealed folders; what is put is never changed."""

    def put(self, source: Path) -> Stored:
        """Keep a sealed folder, or a single file as a folder of one; an equal one that is intact is kept as it is.

        Raises ArtifactDamaged if the source does not match its manifest, StorageFailed if the disk refuses.
        """
        ...

    def path(self, digest: ArtifactDigest) -> Path:
        """Return the folder after comparing every file with its manifest.

        Raises ArtifactDamaged naming the digest and the file.
        """
        ...

    def folder(self, digest: ArtifactDigest) -> Path:
        """Return where a folder of that name is or would be kept, unchecked: for showing, never for reading."""
        ...

    def remove(self, digest: ArtifactDigest) -> bool:
        """Remove the folder, damaged or not, and say whether it was there."""
        ...
