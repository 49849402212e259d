"""The git repository around a folder: what its code is, and commits of one file that touch nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pilothouse.errors import OperationFailed, StorageFailed
from pilothouse.trainer.durable import write_bytes
from pilothouse.trainer.errors import StorageFailed as WritingFailed

GIT_SECONDS = 10.0
_NOT_STARTED = 127
TOO_LATE = 124
"""The code of a command that took longer than it may."""
_UNDERWAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "sequencer": "a sequence of picks",
}
_QUIET = (
    # No program of the repository runs: a hook may ask, take long, change files, or be somebody else's code.
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    # Nobody is there to type a passphrase.
    ("commit.gpgSign", "false"),
    # An author is named by a person, never guessed from the machine.
    ("user.useConfigOnly", "true"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
)


class NotCommitted(OperationFailed):
    """The repository takes no commit now; it is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a git command ended."""

    code: int
    out: str
    err: str


def git(*words: str, folder: Path | None = None, stdin: str | None = None, seconds: float | None = None) -> Ended:
    """Return how `git WORDS` ended in a folder; one that cannot be started ended with 127, a late one with 124."""
    # Without optional locks a look never stands in the way of a commit.
    command = ["git", "--no-optional-locks", *(("-C", str(folder)) if folder is not None else ()), *words]
    try:
        done = subprocess.run(  # noqa: S603  no shell, and every word is made here
            command,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=GIT_SECONDS if seconds is None else seconds,
            check=False,
            input=stdin if stdin is not None else "",
        )
    except subprocess.TimeoutExpired as error:
        return Ended(code=TOO_LATE, out="", err=str(error))
    except (OSError, subprocess.SubprocessError) as error:
        return Ended(code=_NOT_STARTED, out="", err=str(error))
    return Ended(code=done.returncode, out=done.stdout.removesuffix("\n"), err=done.stderr.strip())


def find_commit(folder: Path, *, line: str, since: datetime) -> str | None:
    """Return the newest commit on any branch whose message has this line, made after `since` or a day before it."""
    oldest = (since - timedelta(days=1)).isoformat(timespec="seconds")
    found = git(
        "log",
        "--all",
        "HEAD",
        "-1",
        "--format=%H",
        "--fixed-strings",
        f"--grep={line}",
        f"--since={oldest}",
        folder=folder,
    )
    return found.out or None if found.code == 0 else None


def commit_file(path: Path, *, text: str, message: str) -> str:
    """Write the file, commit it alone on the branch that is checked out, and return the commit.

    What a person has staged or changed stays as it is, and no hook runs. Raises `NotCommitted`, with the file as it was
    where the repository is known to refuse, and `StorageFailed` if it cannot be written.
    """
    folder = path.parent
    _check_ready(path)
    try:
        write_bytes(path, text.encode("utf-8", "replace"))
    except WritingFailed as error:
        raise StorageFailed(error.problem, fix=error.fix) from error
    _must(quietly("add", "--", path.name, folder=folder), f"git does not take {path.name}")
    words = ("commit", "--quiet", "--no-verify", "--allow-empty", "--cleanup=whitespace", "--only", "-F", "-")
    ended = quietly(*words, "--", path.name, folder=folder, stdin=message)
    if ended.code != 0:
        # A person's own next commit must not take along what this one could not.
        quietly("reset", "--quiet", "--", path.name, folder=folder)
    _must(ended, f"git does not commit {path.name}")
    return _must(git("rev-parse", "HEAD", folder=folder), "git does not tell the commit")


def _check_ready(path: Path) -> None:
    """Raise `NotCommitted` for everything that is known to stand in the way, before anything is written."""
    folder = path.parent
    inside = git("rev-parse", "--is-inside-work-tree", folder=folder)
    if inside.out != "true":
        why = (inside.err.splitlines() or ["it is no working tree"])[0]
        fix = "install git" if inside.code == _NOT_STARTED else "`git init` it, or set [records] commit = false"
        raise NotCommitted(f"{folder} is in no git repository that can be used: {why}", fix=fix)
    if git("symbolic-ref", "--quiet", "HEAD", folder=folder).code != 0:
        raise NotCommitted("HEAD is detached: a commit there would belong to no branch", fix="check out a branch")
    if git("rev-parse", "--quiet", "--verify", "HEAD", folder=folder).code != 0:
        raise NotCommitted("the branch has no commit yet", fix="commit the campaign file")
    for name, deed in _UNDERWAY.items():
        if (folder / git("rev-parse", "--git-path", name, folder=folder).out).exists():
            raise NotCommitted(f"{deed} is under way", fix="finish or abort it; the config is committed then")
    if (folder / git("rev-parse", "--git-path", "index.lock", folder=folder).out).exists():
        raise NotCommitted(
            "the index is locked by another git", fix="wait for it; if none runs, remove .git/index.lock"
        )
    for who in ("AUTHOR", "COMMITTER"):
        if quietly("var", f"GIT_{who}_IDENT", folder=folder).code != 0:
            raise NotCommitted("git knows no author", fix="git config user.name NAME && git config user.email ADDRESS")
    if git("check-ignore", "--quiet", "--", path.name, folder=folder).code == 0:
        raise NotCommitted(f"{path.name} is ignored by git", fix=f"add the line !{path.name} to .gitignore")


def quietly(*words: str, folder: Path, stdin: str | None = None) -> Ended:
    """Return how git ended, run so that it neither asks nor runs anything of the repository's."""
    settings = [word for name, value in _QUIET for word in ("-c", f"{name}={value}")]
    return git(*settings, *words, folder=folder, stdin=stdin)


def _must(ended: Ended, what: str) -> str:
    if ended.code != 0:
        lines: Sequence[str] = (ended.err or ended.out).splitlines() or ("no word of why",)
        raise NotCommitted(f"{what}: {' '.join(lines[:3])}", fix="see `git status` there; it is tried again by itself")
    return ended.out
