"""A copy of the code at one commit for somebody who is not trusted, and what became of it.

The copy has no `.git`: whoever may write there decides what the next git runs. It is read back name by name, nothing is
followed, no filter and no attribute of it is heeded, and only what git counts between two plain texts is counted.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilothouse.errors import OperationFailed, StorageFailed
from pilothouse.proposals.answer import clean, unseen
from pilothouse.proposals.patch import Deed, FileChange
from pilothouse.propose.agent_context import read_regular
from pilothouse.settings import search_path

GIT_SECONDS = 60.0
COPY_BYTES_MAX = 128 * 2**20
FILE_BYTES_MAX = 2**20
"""A file that was changed and is larger is no small mend."""
ENTRIES_MORE = 5_000
"""So many more names than the copy had are looked at, and no more."""
PLAIN, PROGRAM = "100644", "100755"
_SHA256_CHARACTERS = 64
_BLOB_WORDS = 3
_CACHES = "__pycache__"
_NO_SYSTEM = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
_ODD_PARTS = frozenset({"", ".", "..", ".git"})
"""What a path in a repository never has between its slashes, unless somebody forged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    """A file of the commit."""

    mode: str
    sha: str
    size: int


@dataclass(frozen=True, slots=True)
class CodeCopy:
    """`propose.patch_agent.Copy` of the repository that a folder is part of."""

    folder: Path
    commit: str

    def lay(self, folder: Path) -> None:
        """Write the plain files of the commit; links and modules of it are left out."""
        tree = self._tree()
        if sum(blob.size for blob in tree.values()) > COPY_BYTES_MAX:
            raise OperationFailed(
                f"the code at {self.commit[:12]} has more than {COPY_BYTES_MAX >> 20} MiB: too much to copy",
                fix="mend the bug by hand; keep large files out of the repository",
            )
        contents = self._contents([blob.sha for blob in tree.values()])
        try:
            for path, blob in tree.items():
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(contents[blob.sha])
                place.chmod(0o700 if blob.mode == PROGRAM else 0o600)
        except OSError as error:
            raise StorageFailed(f"Cannot write {folder}: {error.strerror or error}.", fix="free disk space.") from error

    def changes(self, folder: Path) -> Sequence[FileChange]:
        """Return what is not as it was laid, by path; what git ignores in the repository is passed over."""
        try:
            if stat.S_ISDIR(folder.lstat().st_mode):
                return self._changes(folder)
        except OSError:
            pass  # What cannot be read back is no copy any more.
        return [FileChange(path=folder.name, deed=Deed.NO_PLAIN_FILE)]

    def within(self, path: str) -> str:
        """Return the path of a file of the working folder in the copy, empty where it is none of its files."""
        if not path:
            return ""
        try:
            inside = (self.folder / path).resolve().relative_to(self._top().resolve())
        except (OSError, ValueError, RuntimeError):  # the last one is a link in a circle, up to Python 3.12
            return ""
        return str(inside) if str(inside) in self._tree() else ""

    def _changes(self, folder: Path) -> Sequence[FileChange]:
        tree = self._tree()
        found: list[FileChange] = []
        added: list[str] = []
        seen: set[str] = set()
        for path in _names(folder, most=len(tree) + ENTRIES_MORE):
            seen.add(path)
            blob = tree.get(path)
            if blob is None:
                added.append(path)
            elif (change := self._change(folder / path, path, blob)) is not None:
                found.append(change)
        ignored = self._ignored(added)
        found += [FileChange(path=path, deed=Deed.ADDED) for path in added if path not in ignored]
        found += [FileChange(path=path, deed=Deed.REMOVED) for path in tree.keys() - seen]
        return sorted(found, key=lambda each: each.path)

    def _change(self, place: Path, path: str, blob: _Blob) -> FileChange | None:
        content = read_regular(place, most=max(FILE_BYTES_MAX, blob.size))
        if content is None:
            return FileChange(path=path, deed=Deed.NO_PLAIN_FILE)
        if blob.mode == PLAIN and place.lstat().st_mode & 0o111:
            return FileChange(path=path, deed=Deed.MADE_EXECUTABLE)
        if _sha_of(content, like=blob.sha) == blob.sha:
            return None
        return self._text_change(path, blob, content)

    def _text_change(self, path: str, blob: _Blob, content: bytes) -> FileChange:
        if len(content) > FILE_BYTES_MAX:
            return FileChange(path=path, deed=Deed.TOO_LARGE)
        was = self._contents([blob.sha])[blob.sha]
        lines, text = _lines_between(was, content), _text(content)
        if lines is None or text is None:
            return FileChange(path=path, deed=Deed.NO_TEXT)
        if unseen(text) - unseen(was.decode("utf-8", "replace")):
            return FileChange(path=path, deed=Deed.UNSEEN)
        return FileChange(path=path, deed=Deed.CHANGED, text=text, lines=lines, executable=blob.mode == PROGRAM)

    def _tree(self) -> Mapping[str, _Blob]:
        """Return the plain files of the commit by path."""
        listed = self._git("ls-tree", "-r", "-l", "-z", "--full-tree", self.commit)
        tree = {}
        for line in os.fsdecode(listed).split("\0"):
            about, _, path = line.partition("\t")
            if path and about.split()[0] in {PLAIN, PROGRAM}:
                mode, _, sha, size = about.split()
                self._check(path, size)
                tree[path] = _Blob(mode=mode, sha=sha, size=int(size))
        return tree

    def _check(self, path: str, size: str) -> None:
        """Raise `OperationFailed` for a file that git has only by name, or whose name leads somewhere else."""
        if not size.isdigit():
            raise OperationFailed(
                f"git does not have {clean(path)!r} of {self.commit[:12]}", fix="fetch the whole history, or mend it"
            )
        if not _ODD_PARTS.isdisjoint(path.split("/")):
            raise OperationFailed(
                f"the code at {self.commit[:12]} holds {clean(path)!r}, which no folder can hold",
                fix="find out who made that commit: git itself makes none like it",
            )

    def _contents(self, shas: Sequence[str]) -> Mapping[str, bytes]:
        out = self._git("cat-file", "--batch", stdin="".join(f"{sha}\n" for sha in shas).encode("ascii"))
        found, at = {}, 0
        for sha in shas:
            end = out.index(b"\n", at)
            told = out[at:end].split()
            if len(told) != _BLOB_WORDS:
                raise OperationFailed(f"git does not have {sha} of {self.commit[:12]}", fix="mend the repository")
            size = int(told[2])
            found[sha] = out[end + 1 : end + 1 + size]
            at = end + 1 + size + 1
        return found

    def _ignored(self, paths: Sequence[str]) -> set[str]:
        """Return which of the new names git would ignore, by the repository's own rules and never the copy's."""
        caches = {path for path in paths if _CACHES in path.split("/")}
        rest = [path for path in paths if path not in caches]
        if not rest:
            return caches
        words = ["git", "-C", str(self._top()), "check-ignore", "--no-index", "-z", "--stdin"]
        out = _run(words, stdin=b"\0".join(os.fsencode(path) for path in rest)).stdout
        return caches | set(os.fsdecode(out).split("\0"))

    def _top(self) -> Path:
        return Path(os.fsdecode(self._git("rev-parse", "--show-toplevel").removesuffix(b"\n")))

    def _git(self, *words: str, stdin: bytes = b"") -> bytes:
        done = _run(["git", "--no-optional-locks", "-C", str(self.folder), *words], stdin=stdin)
        if done.returncode != 0:
            why = (os.fsdecode(done.stderr).splitlines() or ["no word of why"])[0]
            raise OperationFailed(f"git does not tell the code at {self.commit[:12]}: {why}", fix="see `git log` there")
        return done.stdout


def _names(folder: Path, *, most: int) -> Iterator[str]:
    """Yield the path of everything below a folder that is no folder; an endless one is cut off."""
    waiting, count = [folder], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if count > most:
                    return
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                else:
                    yield str(Path(entry.path).relative_to(folder))


def _sha_of(content: bytes, *, like: str) -> str:
    """Return git's name of a content, in the repository's own kind of digest."""
    kind = "sha256" if len(like) == _SHA256_CHARACTERS else "sha1"
    return hashlib.new(kind, b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _text(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _lines_between(before: bytes, after: bytes) -> int | None:
    """Return how many lines git counts as added and taken away, None for what it calls binary.

    No setting of the person or of the machine has a say: with some of them a change of every line end is none.
    """
    with tempfile.TemporaryDirectory() as place:
        for name, content in (("before", before), ("after", after)):
            (Path(place) / name).write_bytes(content)
        words = ["git", "-C", place, "diff", "--no-index", "--numstat", "--no-ext-diff", "--no-textconv", "--no-color"]
        alone = {"PATH": search_path() or os.defpath, "HOME": place, "GIT_CONFIG_GLOBAL": os.devnull, **_NO_SYSTEM}
        told = _run([*words, "--", "before", "after"], stdin=b"", env=alone).stdout.split()
    if len(told) < 2 or b"-" in told[:2]:
        return None
    return int(told[0]) + int(told[1])


def _run(
    words: Sequence[str], *, stdin: bytes, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603  no shell, and every word is made here
            words, input=stdin, capture_output=True, timeout=GIT_SECONDS, check=False, env=env
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise OperationFailed(
            f"git cannot be asked for the code: {error}", fix="install git, or see why it hangs"
        ) from error
