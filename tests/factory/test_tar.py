"""A sealed folder crosses a line as it is, and nothing else gets in."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.errors import BadValue, StorageFailed
from pilothouse.factory.tar import tar_length, tar_stream, untar
from pilothouse.trainer import tree

names = st.from_regex(r"[a-zé0-9_]{1,8}(/[a-z0-9_]{1,120}){0,2}", fullmatch=True)
contents = st.binary(max_size=1200)


def sealed(folder: Path, files: dict[str, bytes]) -> str:
    """Make a sealed folder of these files; one whose name is another's folder is left out."""
    for name, content in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError:
            continue
    folder.mkdir(exist_ok=True)
    return tree.seal(folder, {"step": 3})


@settings(max_examples=25)
@given(files=st.dictionaries(names, contents, max_size=5), cut=st.integers(1, 3000))
def test_a_folder_arrives_as_it_was_sealed(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], cut: int
) -> None:
    """Wherever the stream is cut on its way; its length is known before."""
    root = tmp_path_factory.mktemp("tar")
    digest = sealed(root / "out", files)
    whole = b"".join(tar_stream(root / "out"))
    (root / "in").mkdir()

    untar((whole[start : start + cut] for start in range(0, len(whole), cut)), root / "in")

    assert len(whole) == tar_length(root / "out")
    assert tree.verify(root / "in").digest == digest
    assert whole == b"".join(tar_stream(root / "in"))


def test_other_programs_read_it(tmp_path: Path) -> None:
    """It is a plain tar, its manifest first."""
    sealed(tmp_path / "out", {"weights": b"w" * 700, "sub/ünï": b""})

    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_stream(tmp_path / "out")))) as archive:
        assert archive.getnames() == ["manifest.json", "sub/ünï", "weights"]


def archive_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a tar of these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """Return a member of this name and kind."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd" if kind in {tarfile.SYMTYPE, tarfile.LNKTYPE} else ""
    return info


@pytest.mark.parametrize(
    "data",
    [
        archive_of((member("../out"), b"x")),
        archive_of((member("a/../../out"), b"x")),
        archive_of((member("/etc/out"), b"x")),
        archive_of((member("."), b"")),
        archive_of((member("link", tarfile.SYMTYPE), b"")),
        archive_of((member("link", tarfile.LNKTYPE), b"")),
        archive_of((member("pipe", tarfile.FIFOTYPE), b"")),
        archive_of((member("disk", tarfile.BLKTYPE), b"")),
        archive_of((member("folder", tarfile.DIRTYPE), b"")),
        archive_of((member("twice"), b"x"), (member("twice"), b"y")),
        archive_of((member("large"), b"x" * 5000)),
        archive_of((member("torn"), b"x" * 900))[:1000],
        b"no tar at all, but long enough to be taken for one" * 20,
        b"",
    ],
)
def test_whatever_is_no_plain_folder_is_refused(data: bytes, tmp_path: Path) -> None:
    """And nothing is written beside the folder."""
    into = tmp_path / "in"
    into.mkdir()

    with pytest.raises(BadValue, match="archive is refused"):
        untar([data], into, bytes_max=4000)

    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_file_that_has_shrunk_since_it_was_sealed_is_named(tmp_path: Path) -> None:
    """A stream of another length would shift all that follows."""
    sealed(tmp_path / "out", {"weights": b"w" * 700})
    (tmp_path / "out" / "weights").write_bytes(b"w")

    with pytest.raises(StorageFailed, match="weights"):
        b"".join(tar_stream(tmp_path / "out"))
