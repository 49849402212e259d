"""Sealed folders are kept by content, and a damaged one is named and never handed out."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pilothouse.blobs.local import LocalBlobs
from pilothouse.errors import ArtifactDamaged, BadValue, StorageFailed
from pilothouse.ids import ArtifactDigest
from pilothouse.trainer import tree


@pytest.fixture(name="blobs")
def _blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def sealed(folder: Path, *, text: str = "weights") -> str:
    """Make a sealed folder with a file in a folder of its own, and return its digest."""
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "weights.bin").write_text(text, encoding="utf-8")
    (folder / "note.txt").write_text("note", encoding="utf-8")
    return tree.seal(folder, {"step": 7})


def overwrite(path: Path, text: str) -> None:
    """Damage a read-only file in place, as a disk would."""
    path.chmod(0o644)
    path.write_text(text, encoding="utf-8")


def test_a_folder_comes_back_by_its_digest(blobs: LocalBlobs, tmp_path: Path) -> None:
    """With every byte, its size and its meta."""
    digest = sealed(tmp_path / "made")

    stored = blobs.put(tmp_path / "made")

    assert (stored.digest, stored.size_bytes, stored.meta) == (digest, len("weights") + len("note"), {"step": 7})
    folder = blobs.path(stored.digest)
    assert folder == tmp_path / "blobs" / digest[:2] / digest
    assert (folder / "deep" / "weights.bin").read_text(encoding="utf-8") == "weights"
    assert blobs.folder(stored.digest).is_dir()


def test_the_kept_files_are_read_only_and_outlive_the_source(blobs: LocalBlobs, tmp_path: Path) -> None:
    """Removing the run folder takes nothing away."""
    sealed(tmp_path / "made")
    digest = blobs.put(tmp_path / "made").digest
    for path in sorted((tmp_path / "made").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    kept = blobs.path(digest) / "deep" / "weights.bin"

    assert stat.S_IMODE(kept.stat().st_mode) == 0o444


def test_putting_twice_changes_nothing(blobs: LocalBlobs, tmp_path: Path) -> None:
    """An intact folder stays the folder it is."""
    sealed(tmp_path / "made")
    first = blobs.put(tmp_path / "made")
    before = blobs.path(first.digest).stat().st_ino

    assert blobs.put(tmp_path / "made") == first
    assert blobs.path(first.digest).stat().st_ino == before


@pytest.mark.parametrize("damage", ["changed", "missing", "added", "manifest"])
def test_damage_is_named_and_mended_by_putting_again(damage: str, blobs: LocalBlobs, tmp_path: Path) -> None:
    """The error names the digest and the file; an intact source takes the damaged one's place."""
    sealed(tmp_path / "made")
    digest = blobs.put(tmp_path / "made").digest
    folder = blobs.path(digest)
    victim = {"changed": "deep/weights.bin", "missing": "note.txt", "added": "extra", "manifest": "manifest.json"}
    target = folder / victim[damage]
    match damage:
        case "changed":
            overwrite(target, "WEIGHTS")
        case "missing" | "manifest":
            target.unlink()
        case _:
            target.write_text("?", encoding="utf-8")

    with pytest.raises(ArtifactDamaged, match=target.name) as failure:
        blobs.path(digest)

    assert digest in str(failure.value)
    assert failure.value.artifact == digest
    sealed(tmp_path / "again")
    assert blobs.put(tmp_path / "again").digest == digest
    assert blobs.path(digest) == folder


def test_a_folder_under_another_name_is_damage(blobs: LocalBlobs, tmp_path: Path) -> None:
    """A whole and consistent folder is still the wrong one."""
    sealed(tmp_path / "one", text="one")
    sealed(tmp_path / "two", text="two")
    one, two = (blobs.put(tmp_path / name).digest for name in ("one", "two"))
    place = blobs.path(one)
    other = blobs.path(two)
    blobs.remove(one)
    place.parent.mkdir(exist_ok=True)
    other.rename(place)

    with pytest.raises(ArtifactDamaged, match=f"manifest of {two}"):
        blobs.path(one)


def test_one_file_becomes_a_folder_of_one(blobs: LocalBlobs, tmp_path: Path) -> None:
    """Equal files have one name, wherever they come from."""
    for parent in ("a", "b"):
        (tmp_path / parent).mkdir()
        (tmp_path / parent / "samples.parquet").write_bytes(b"PAR1")

    stored = blobs.put(tmp_path / "a" / "samples.parquet")

    assert stored == blobs.put(tmp_path / "b" / "samples.parquet")
    assert (blobs.path(stored.digest) / "samples.parquet").read_bytes() == b"PAR1"
    assert stored.size_bytes == 4


@pytest.mark.parametrize("fault", ["unsealed", "changed", "link out", "absent"])
def test_a_source_that_is_not_whole_is_refused(fault: str, blobs: LocalBlobs, tmp_path: Path) -> None:
    """Nothing of it is kept."""
    made = tmp_path / "made"
    if fault != "absent":
        sealed(made)
    match fault:
        case "unsealed":
            (made / "manifest.json").unlink()
        case "changed":
            (made / "note.txt").write_text("n0te", encoding="utf-8")
        case "link out":
            (made / "note.txt").unlink()
            (made / "note.txt").symlink_to("/etc/hostname")
        case _:
            pass

    with pytest.raises(ArtifactDamaged, match="made"):
        blobs.put(made)

    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


def test_a_link_inside_the_folder_is_kept_as_its_file(blobs: LocalBlobs, tmp_path: Path) -> None:
    """The kept folder has no links that could be turned elsewhere."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "real").write_text("r", encoding="utf-8")
    (tmp_path / "made" / "alias").symlink_to("real")
    tree.seal(tmp_path / "made")

    kept = blobs.path(blobs.put(tmp_path / "made").digest)

    assert not (kept / "alias").is_symlink()
    assert (kept / "alias").read_text(encoding="utf-8") == "r"


def test_removing_says_whether_it_was_there(blobs: LocalBlobs, tmp_path: Path) -> None:
    """Also for one that is damaged."""
    sealed(tmp_path / "made")
    digest = blobs.put(tmp_path / "made").digest
    (blobs.path(digest) / "note.txt").unlink()

    assert blobs.remove(digest)
    assert not blobs.remove(digest)
    assert not blobs.folder(digest).exists()
    with pytest.raises(ArtifactDamaged, match="never completed"):
        blobs.path(digest)


@pytest.mark.parametrize("digest", ["", "../../etc", "A" * 64, "0" * 63])
def test_only_a_digest_names_a_folder(digest: str, blobs: LocalBlobs) -> None:
    """Anything else never becomes a path."""
    with pytest.raises(BadValue, match="digest"):
        blobs.path(ArtifactDigest(digest))


def test_without_links_the_files_are_copied(blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another disk gives the same artifact."""

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link", str(self), None, str(target))

    digest = sealed(tmp_path / "made")
    monkeypatch.setattr(Path, "hardlink_to", refuse)

    kept = blobs.path(blobs.put(tmp_path / "made").digest)

    assert kept.name == digest
    assert (kept / "note.txt").stat().st_nlink == 1


def test_a_full_disk_is_told_with_its_mend_and_loses_nothing(
    blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next put succeeds, and no half of the folder is left."""
    sealed(tmp_path / "made")

    def refuse(self: Path, _: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    with monkeypatch.context() as full:
        full.setattr(Path, "hardlink_to", refuse)
        with pytest.raises(StorageFailed, match="No space left") as failure:
            blobs.put(tmp_path / "made")

    assert "free space" in failure.value.fix
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    assert blobs.folder(blobs.put(tmp_path / "made").digest).is_dir()


def test_a_root_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    """The message has the path, the fix says what to do."""
    (tmp_path / "blobs").write_text("a file in the way", encoding="utf-8")
    sealed(tmp_path / "made")

    with pytest.raises(StorageFailed, match="blobs") as failure:
        LocalBlobs(tmp_path / "blobs").put(tmp_path / "made")

    assert "write" in failure.value.fix


def test_what_a_killed_process_left_half_put_is_cleared(blobs: LocalBlobs, tmp_path: Path) -> None:
    """The next put removes the rest of a process that is gone, and not that of one that lives."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(20)
    incoming = tmp_path / "blobs" / ".incoming"
    gone, alive = incoming / f"{ended.pid}-0", incoming / f"{os.getppid()}-0"
    for folder in (gone, alive):
        folder.mkdir(parents=True)
        (folder / "part").write_text("half", encoding="utf-8")
    sealed(tmp_path / "made")

    blobs.put(tmp_path / "made")

    assert not gone.exists()
    assert (alive / "part").exists()


def test_two_processes_may_put_the_same_folder(blobs: LocalBlobs, tmp_path: Path) -> None:
    """Both get the digest, and one folder is there."""
    digest = sealed(tmp_path / "made")
    text = (
        "import sys\nfrom pathlib import Path\nfrom pilothouse.blobs.local import LocalBlobs\n"
        "blobs = LocalBlobs(Path(sys.argv[1]))\n"
        "for _ in range(60):\n    print(blobs.put(Path(sys.argv[2])).digest)\n    blobs.remove(sys.argv[3])\n"
        "blobs.put(Path(sys.argv[2]))\n"
    )
    arguments = [sys.executable, "-c", text, str(tmp_path / "blobs"), str(tmp_path / "made"), digest]
    racers = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]

    outputs = [racer.communicate(timeout=60)[0].split() for racer in racers]

    assert [racer.returncode for racer in racers] == [0, 0]
    assert outputs == [[digest] * 60] * 2
    assert blobs.path(ArtifactDigest(digest)).is_dir()
