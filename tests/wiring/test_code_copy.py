"""A copy of the code in hands that are not trusted: what it holds, and what may come of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.wiring.conftest import Repository

from pilothouse.errors import BadValue, OperationFailed
from pilothouse.proposals.patch import Bounds, Deed, FileChange, check_changes
from pilothouse.wiring.code_copy import CodeCopy

BOUNDS = Bounds(paths=("src",), lines=4, kept=("src/daily.toml",))


@pytest.fixture(name="copy")
def _copy(repository: Repository, tmp_path: Path) -> tuple[CodeCopy, Path]:
    """Return a copy of a repository with files of every kind, as it was laid."""
    for name, text in {
        "src/train.py": "batch = 1\nprint(batchh)\n",
        "src/windows.py": "a = 1\r\nb = 2\r\n",
        "src/é b.py": "x\n",
        "src/\udcff.py": "x\n",
        "src/daily.toml": "a = 1\n",
        ".github/workflows/ci.yml": "on: push\n",
        ".gitignore": "*.log\n",
        "Jenkinsfile": "x\n",
        "run.sh": "#!/bin/sh\n",
    }.items():
        place = repository.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode())
    (repository.folder / "run.sh").chmod(0o755)
    (repository.folder / "src" / "blob.bin").write_bytes(b"\0\1\2")
    (repository.folder / "src" / "link").symlink_to("train.py")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--no-verify", "-m", "Every kind")
    repository.write("src/train.py", "changed since\n")
    copy = CodeCopy(repository.folder, repository.git("rev-parse", "HEAD"))
    copy.lay(tmp_path / "code")
    return copy, tmp_path / "code"


def test_a_copy_is_the_commit_and_not_the_folder_and_nothing_has_changed_in_it(copy: tuple[CodeCopy, Path]) -> None:
    """Line ends, names and bytes as committed; no `.git`, no link."""
    code, place = copy

    assert (place / "src" / "train.py").read_text(encoding="utf-8") == "batch = 1\nprint(batchh)\n"
    assert (place / "src" / "windows.py").read_bytes() == b"a = 1\r\nb = 2\r\n"
    assert not (place / ".git").exists()
    assert not os.path.lexists(place / "src" / "link")
    assert code.changes(place) == []
    assert code.within(str(code.folder / "src" / "train.py")) == "src/train.py"
    assert code.within("/etc/passwd") == code.within("") == ""
    with pytest.raises(BadValue, match="changes nothing"):
        check_changes(code.changes(place), BOUNDS)


def test_a_small_mend_is_taken_with_its_lines_counted_by_git(copy: tuple[CodeCopy, Path]) -> None:
    """What an editor writes aside and renames, and what git ignores, are no matter."""
    code, place = copy
    (place / "src" / "new").write_text("batch = 1\nprint(batch)\nprint(2)\n", encoding="utf-8")
    (place / "src" / "new").rename(place / "src" / "train.py")
    (place / "src" / "run.log").write_text("noise", encoding="utf-8")
    (place / "src" / "__pycache__").mkdir()
    (place / "src" / "__pycache__" / "train.pyc").write_bytes(b"\0")

    changes = code.changes(place)

    text = "batch = 1\nprint(batch)\nprint(2)\n"
    assert changes == [FileChange(path="src/train.py", deed=Deed.CHANGED, text=text, lines=3)]
    check_changes(changes, BOUNDS)


def test_lines_are_counted_as_they_are_whatever_git_is_set_to_here(
    copy: tuple[CodeCopy, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line ends count also where a person's git would not show them."""
    code, place = copy
    write(place, "src/windows.py", b"a = 1\nb = 3\n")
    for name, value in (("COUNT", "1"), ("KEY_0", "core.autocrlf"), ("VALUE_0", "true")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)

    (change,) = code.changes(place)

    assert (change.deed, change.lines) == (Deed.CHANGED, 4)


def write(place: Path, name: str, content: bytes = b"x\n") -> None:
    """Write a file of the copy."""
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)


def link_to(place: Path, name: str, target: str) -> None:
    """Put a link in a file's place."""
    (place / name).unlink(missing_ok=True)
    (place / name).symlink_to(target)


def share(place: Path) -> None:
    """Give a file a second name."""
    write(place.parent, "other")
    (place / "src" / "train.py").unlink()
    os.link(place.parent / "other", place / "src" / "train.py")


def empty(place: Path) -> None:
    """Put a link in the place of the whole copy."""
    place.rename(place.with_name("moved"))
    place.symlink_to("/etc", target_is_directory=True)


def crowd(place: Path) -> None:
    """Make more names than anybody would look at."""
    for number in range(6_000):
        write(place, f"n/{number}")


def become_folder(place: Path) -> None:
    """Put a folder in a file's place."""
    (place / "src" / "train.py").unlink()
    write(place, "src/train.py/x")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "continuous integration": lambda place: write(place, ".github/workflows/ci.yml"),
    "a new workflow": lambda place: write(place, ".github/workflows/new.yml"),
    "git's own": lambda place: write(place, ".git/config", b"[core]\nfsmonitor = touch /tmp/owned\n"),
    "git's own, in capitals": lambda place: write(place, "src/.GIT/config"),
    "attributes": lambda place: write(place, "src/.gitattributes", b"* filter=x\n"),
    "modules": lambda place: write(place, ".gitmodules"),
    "a build service": lambda place: write(place, "Jenkinsfile", b"y\n"),
    "the campaign's file": lambda place: write(place, "src/daily.toml", b"a = 2\n"),
    "outside the paths": lambda place: write(place, "run.sh", b"#!/bin/sh\nrm -rf x\n"),
    "a new file": lambda place: write(place, "src/new.py"),
    "a file away": lambda place: (place / "src" / "train.py").unlink(),
    "a rename": lambda place: (place / "src" / "train.py").rename(place / "src" / "trained.py"),
    "a link": lambda place: link_to(place, "src/train.py", "/etc/passwd"),
    "a link to a folder": lambda place: link_to(place, "src/more", "/etc"),
    "a second name": share,
    "a pipe": lambda place: os.mkfifo(place / "src" / "pipe"),
    "a program made of text": lambda place: (place / "src" / "train.py").chmod(0o755),
    "bytes": lambda place: write(place, "src/train.py", b"\0\0"),
    "no text": lambda place: write(place, "src/train.py", b"\xff\xfe\n"),
    "a changed blob": lambda place: write(place, "src/blob.bin", b"\0\1\3"),
    "text that turns around": lambda place: write(place, "src/train.py", "batch = 1\na = 1  # \u202e x\n".encode()),
    "text that a terminal hides": lambda place: write(place, "src/train.py", b"batch = 1\nevil()\x1b[2K\n"),
    "text that writes over itself": lambda place: write(place, "src/train.py", b"batch = 1\nevil()\rgood()\n"),
    "a name that cannot be shown": lambda place: write(place, "src/\udcff.py", b"y\n"),
    "ten thousand lines": lambda place: write(place, "src/train.py", b"x = 1\n" * 10_000),
    "a large file": lambda place: write(place, "src/train.py", b"x" * (2**20 + 1)),
    "many names": crowd,
    "another folder": empty,
    "a folder in its place": become_folder,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_else_is_done_to_it_the_patch_is_refused(copy: tuple[CodeCopy, Path], what: str) -> None:
    """As a whole, beside a mend that alone would be taken, and nothing in the repository has moved."""
    code, place = copy
    before = _seen(code.folder)
    write(place, "src/windows.py", b"a = 1\r\nb = 3\r\n")
    check_changes(code.changes(place), BOUNDS)

    HOSTILE[what](place)

    with pytest.raises(BadValue, match="the agent's patch"):
        check_changes(code.changes(place), BOUNDS)
    assert _seen(code.folder) == before


def _seen(folder: Path) -> dict[str, bytes]:
    """Return everything that a folder holds, git's own included."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def test_a_trace_that_names_a_link_in_a_circle_names_no_file_of_the_code(copy: tuple[CodeCopy, Path]) -> None:
    """The name was read in a log, and whoever wrote that may have made the link."""
    code, _ = copy
    (code.folder / "loop").symlink_to("loop")

    assert code.within("loop/train.py") == ""


def test_a_content_that_git_has_lost_is_told(copy: tuple[CodeCopy, Path], tmp_path: Path) -> None:
    """A damaged repository, or one that was fetched without its contents."""
    code, _ = copy
    sha = Repository(code.folder).git("rev-parse", "HEAD:src/train.py")
    (code.folder / ".git" / "objects" / sha[:2] / sha[2:]).unlink()

    with pytest.raises(OperationFailed, match=r"git does not have 'src/train\.py'"):
        code.lay(tmp_path / "none")
    with pytest.raises(OperationFailed, match="git does not have"):
        code._contents([sha])


@pytest.mark.parametrize("name", [b"..", b".git", b"a/../../b"])
def test_a_forged_name_of_the_commit_leads_nowhere(copy: tuple[CodeCopy, Path], tmp_path: Path, name: bytes) -> None:
    """Git makes no such tree; one that was sent by somebody is copied nowhere."""
    code, _ = copy
    git = ("git", "-C", str(code.folder), "-c", "user.name=x", "-c", "user.email=x@x")
    blob = Repository(code.folder).git("rev-parse", "HEAD:src/train.py")
    tree = b"100644 " + name + b"\0" + bytes.fromhex(blob)
    words = (*git, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    forged = subprocess.run(words, input=tree, capture_output=True, check=True).stdout.decode().strip()
    commit = Repository(code.folder).git("commit-tree", "-m", "x", forged)

    with pytest.raises(OperationFailed, match="which no folder can hold"):
        CodeCopy(code.folder, commit).lay(tmp_path / "deep" / "none")

    assert not (tmp_path / "deep").exists()


def test_code_that_git_does_not_have_is_not_copied(copy: tuple[CodeCopy, Path], tmp_path: Path) -> None:
    """A commit that is gone is told, with no half of a copy."""
    code, _ = copy

    with pytest.raises(OperationFailed, match="git does not tell the code"):
        CodeCopy(code.folder, "0" * 40).lay(tmp_path / "none")

    assert not (tmp_path / "none").exists()
