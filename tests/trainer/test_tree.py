"""Sealed folders: the manifest is the commit, and every byte is answered for."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from pilothouse.trainer import TreeDamaged, tree


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"alpha")
    (folder / "deep" / "b.bin").write_bytes(bytes(range(256)))
    return folder


def test_manifest_has_the_contract_form(folder: Path) -> None:
    """A manifest is readable by anyone who has the contract and a SHA-256."""
    digest = tree.seal(folder, {"step": 7})

    document = json.loads((folder / "manifest.json").read_text())
    assert document == {
        "format": 1,
        "files": {
            "a.txt": {"sha256": hashlib.sha256(b"alpha").hexdigest(), "size": 5},
            "deep/b.bin": {"sha256": hashlib.sha256(bytes(range(256))).hexdigest(), "size": 256},
        },
        "meta": {"step": 7},
    }
    body = {"files": document["files"], "meta": document["meta"]}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    assert digest == hashlib.sha256(text.encode()).hexdigest()
    assert tree.verify(folder).digest == digest


def test_digest_ignores_times_and_answers_to_meta(folder: Path) -> None:
    """Equal bytes and meta give an equal digest, whenever they were written."""
    first = tree.seal(folder, {"step": 1})
    os.utime(folder / "a.txt", (1, 1))

    assert tree.seal(folder, {"step": 1}) == first
    assert tree.seal(folder, {"step": 2}) != first


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "a.txt").write_bytes(b"alphb"), "a.txt"),
        (lambda folder: (folder / "a.txt").write_bytes(b"alph"), "a.txt"),
        (lambda folder: (folder / "deep" / "b.bin").unlink(), "b.bin"),
        (lambda folder: (folder / "deep" / "new").write_bytes(b""), "new"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text('{"format":2,"files":{},"meta":{}}'), "format 2"),
        (lambda folder: (folder / "manifest.json").write_text('{"format":1,"files":{}}'), "meta"),
        (lambda folder: (folder / "manifest.json").write_text('{"format":1,"files":{"a.txt":3},"meta":{}}'), "a.txt"),
    ],
)
def test_damage_is_named(folder: Path, damage: object, named: str) -> None:
    """Whatever happens to a sealed folder, the complaint names the file."""
    tree.seal(folder)
    assert callable(damage)
    damage(folder)

    with pytest.raises(TreeDamaged, match=named):
        tree.verify(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hosts", "deep/../../outside", "."])
def test_manifest_may_not_point_outside(folder: Path, name: str) -> None:
    """A manifest from elsewhere cannot make us read outside its folder."""
    entry = {"sha256": "0" * 64, "size": 1}
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": {name: entry}, "meta": {}}))

    with pytest.raises(TreeDamaged, match="leaves the folder"):
        tree.read_manifest(folder)


def test_links_inside_count_as_their_file(folder: Path) -> None:
    """A link within the folder is sealed by the bytes it points to."""
    (folder / "same").symlink_to("a.txt")

    tree.seal(folder)

    assert tree.verify(folder).files["same"].size == 5


@pytest.mark.parametrize("target", ["../secret", "deep", "nowhere"])
def test_other_links_are_refused(folder: Path, target: str) -> None:
    """A link that leaves the folder, points to a folder or to nothing cannot be sealed."""
    (folder.parent / "secret").write_text("x")
    (folder / "link").symlink_to(target)

    with pytest.raises(TreeDamaged, match="link"):
        tree.seal(folder)


def test_missing_folder_is_damage(tmp_path: Path) -> None:
    """A folder that is not there is reported as one that was never completed."""
    with pytest.raises(TreeDamaged, match="never completed"):
        tree.verify(tmp_path / "none")


@pytest.mark.parametrize("note", ['"\\ud800"', "NaN", "[" * 100_000 + "]" * 100_000])
def test_a_manifest_that_no_digest_can_name_is_damaged(tmp_path: Path, note: str) -> None:
    """A program may have written it by itself; reading it must not end whoever reads."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "manifest.json").write_text(f'{{"format":1,"files":{{}},"meta":{{"note":{note}}}}}', encoding="utf-8")

    with pytest.raises(TreeDamaged, match=r"manifest\.json"):
        tree.read_manifest(folder)
