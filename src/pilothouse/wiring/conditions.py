"""What a result of this moment stands on: the code of the working folder, and the class of this machine."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from pilothouse.campaigns.applied import SUFFIX
from pilothouse.errors import OperationFailed
from pilothouse.wiring.repository import TOO_LATE, Ended, git

LOOK_SECONDS = 60.0
"""How long git may take to tell what the code is: on a busy disk a large tree takes its time."""
UNTRACKED_BYTES_MAX = 1 << 20
CODE = (":/", f":(top,exclude,glob)**/*{SUFFIX}", f":(top,exclude,glob)**/.*{SUFFIX}.tmp")
"""Everything but the files in which a campaign records what it has applied: they say what came of the code."""


def hardware_class() -> str:
    """Return what makes two machines comparable: system, architecture and number of cores."""
    return f"{platform.system()} {platform.machine()} {os.cpu_count()} cores"


def code_commit(home: Path) -> str:
    """Return the commit of the working folder, or `unversioned`; a changed tree adds a hash of its changes.

    It is the newest commit in which any code has changed, so that one which only records an applied config is none.
    Untracked files count, but for those that git ignores and those in `home`, which a campaign writes itself. Raises
    `OperationFailed` where git knows the commit and does not tell what has changed since: that is never no change.
    """
    head = _asked("rev-list", "-1", "HEAD", "--", *CODE).out or _asked("rev-parse", "--verify", "HEAD").out
    if not head:
        return "unversioned"
    # What a person has set to show changes by might show the same for any two of them.
    changes = _told("diff", "HEAD", "--binary", "--no-ext-diff", "--no-textconv", "--", *CODE)
    digest = hashlib.sha256(changes.encode("utf-8", "surrogateescape"))
    untracked = _told("ls-files", "--others", "--exclude-standard", "-z", "--full-name", *CODE).split("\0")
    top, own = Path(_told("rev-parse", "--show-toplevel")), home.resolve()
    for path in sorted(top / name for name in untracked if name):
        if not path.is_relative_to(own):
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


def _told(*words: str) -> str:
    """Return what git says, which it must."""
    ended = _asked(*words)
    if ended.code != 0:
        why = (ended.err.splitlines() or ["no word of why"])[0]
        raise OperationFailed(f"git does not tell what has changed: {why}", fix=f"see why `git {words[0]}` fails here")
    return ended.out


def _asked(*words: str) -> Ended:
    """Return how git ended, with no output where it failed; one that takes too long is an `OperationFailed`."""
    ended = git(*words, seconds=LOOK_SECONDS)
    if ended.code == TOO_LATE:
        raise OperationFailed(
            f"git took longer than {LOOK_SECONDS:g} s to tell what the code is",
            fix="let git ignore large folders that are no code, or begin from a smaller tree",
        )
    return ended if ended.code == 0 else Ended(code=ended.code, out="", err=ended.err)
