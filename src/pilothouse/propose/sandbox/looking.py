"""Seeing which files a confined command asks for that it may not have.

Landlock refuses them; this only tells of it. What is seen can be changed by the caller before the kernel looks, so
whoever takes the trouble is not told of, and is refused all the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

PATHS: Mapping[str, Sequence[tuple[int | None, int]]] = {
    "creat": [(None, 0)],
    "link": [(None, 0), (None, 1)],
    "linkat": [(0, 1), (2, 3)],
    "mkdir": [(None, 0)],
    "mkdirat": [(0, 1)],
    "open": [(None, 0)],
    "openat": [(0, 1)],
    "openat2": [(0, 1)],
    "rename": [(None, 0), (None, 1)],
    "renameat": [(0, 1), (2, 3)],
    "renameat2": [(0, 1), (2, 3)],
    "rmdir": [(None, 0)],
    "symlink": [(None, 1)],
    "symlinkat": [(1, 2)],
    "truncate": [(None, 0)],
    "unlink": [(None, 0)],
    "unlinkat": [(0, 1)],
}
"""By call: which arguments are paths, each with the argument that holds the folder it is relative to."""

_OPENS = {"open": 1, "openat": 2}
"""By call: which argument holds the flags."""

_AT_FDCWD = -100
_PATH_BYTES_MAX = 4096
_SHOWN_MAX = 200
_SEEN_MAX = 20_000
_USUAL = ("/dev", "/etc", "/proc", "/sys")
"""Folders of which programs read this and that by habit; there only what is not everybody's is told."""
_HABITS = ("/fd", "/fdinfo", "/task")


class Looker:
    """Tells whether a call asks for a path outside the places that are allowed."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = tuple({os.path.realpath(path) for path in allowed})
        self._seen: set[str] = set()

    def outside(self, pid: int, name: str, arguments: Sequence[int]) -> str:
        """Return the first path of the call that exists outside, or would be made there; empty if there is none."""
        flags = arguments[_OPENS[name]] if name in _OPENS else 0
        makes = name not in {"open", "openat", "openat2"} or bool(flags & os.O_CREAT)
        if flags & os.O_PATH:
            return ""  # such a descriptor opens nothing
        for folder, place in PATHS[name]:
            try:
                path = _path(pid, arguments[place], None if folder is None else arguments[folder])
            except (OSError, ValueError, OverflowError):
                continue  # the caller is gone, or gave no path
            if path in self._seen:
                continue
            found = _real(path)
            if not self._is_allowed(found):
                if _is_telling(found, makes=makes):
                    return found[:_SHOWN_MAX]
            elif len(self._seen) < _SEEN_MAX:
                self._seen.add(path)
        return ""

    def _is_allowed(self, path: str) -> bool:
        return any(path == each or path.startswith(f"{each}/") for each in self._allowed)


def _real(path: str) -> str:
    """Follow links as far as they can be read; what cannot is a door of another process, and outside."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.path.normpath(path)


def _is_telling(path: str, *, makes: bool) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return makes and os.path.lexists(os.path.dirname(path))  # noqa: PTH120  text that may be no path at all
    if path.startswith("/proc/") and path.endswith(_HABITS):
        return False
    usual = any(path == each or path.startswith(f"{each}/") for each in _USUAL)
    return makes or not usual or not mode & 0o004


def _path(pid: int, address: int, folder: int | None) -> str:
    """Read the text at an address of another process and make it absolute as that process would."""
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A page at a time: the next one may not be there.
        size = _PATH_BYTES_MAX - address % _PATH_BYTES_MAX
        content = os.pread(memory, size, address)
        if b"\0" not in content:
            content += os.pread(memory, _PATH_BYTES_MAX, address + size)
    finally:
        os.close(memory)
    text = os.fsdecode(content.split(b"\0", 1)[0])
    if not text:
        raise ValueError("an empty path")
    if not text.startswith("/"):
        number = _AT_FDCWD if folder is None else _signed(folder)
        base = f"/proc/{pid}/cwd" if number == _AT_FDCWD else f"/proc/{pid}/fd/{number}"
        return str(Path(base).readlink() / text)
    for own in ("/proc/self", "/proc/thread-self"):
        if text == own or text.startswith(f"{own}/"):
            return f"/proc/{pid}{text.removeprefix(own)}"
    return text


def _signed(value: int) -> int:
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low
