"""What a result of this moment stands on: the code of the working folder, and the class of this machine."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from pilothouse.campaigns.applied import SUFFIX
from pilothouse.wiring.repository import git

UNTRACKED_BYTES_MAX = 1 << 20
CODE = (":/", f":(top,exclude,glob)**/*{SUFFIX}", f":(top,exclude,glob)**/.*{SUFFIX}.tmp")
"""Everything but the files in which a campaign records what it has applied: they say what came of the code."""


def hardware_class() -> str:
    """Return what makes two machines comparable: system, architecture and number of cores."""
    return f"{platform.system()} {platform.machine()} {os.cpu_count()} cores"


def code_commit(home: Path) -> str:
    """Return the commit of the working folder, or `unversioned`; a changed tree adds a hash of its changes.

    It is the newest commit in which any code has changed, so that one which only records an applied config is none.
    Untracked files count, but for those that git ignores and those in `home`, which a campaign writes itself.
    """
    head = _git("rev-list", "-1", "HEAD", "--", *CODE) or _git("rev-parse", "--verify", "HEAD")
    if head is None:
        return "unversioned"
    digest = hashlib.sha256((_git("diff", "HEAD", "--binary", "--", *CODE) or "").encode("utf-8", "surrogateescape"))
    untracked = (_git("ls-files", "--others", "--exclude-standard", "-z", "--full-name", *CODE) or "").split("\0")
    top = Path(_git("rev-parse", "--show-toplevel") or ".")
    for path in sorted(top / name for name in untracked if name):
        if not path.is_relative_to(home):
            digest.update(str(path.relative_to(top)).encode("utf-8", "surrogateescape"))
            digest.update(_fingerprint(path))
    clean = hashlib.sha256().hexdigest()
    return head if digest.hexdigest() == clean else f"{head}+{digest.hexdigest()[:12]}"


def _fingerprint(path: Path) -> bytes:
    """Return the content's hash of a small untracked file, the size and time of a large one; nothing if it has gone."""
    try:
        status = path.stat()
        if status.st_size > UNTRACKED_BYTES_MAX:
            return f"{status.st_size}:{status.st_mtime_ns}".encode()
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""


def _git(*words: str) -> str | None:
    ended = git(*words)
    return ended.out if ended.code == 0 else None
