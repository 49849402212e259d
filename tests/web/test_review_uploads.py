"""An archive is read without more memory than its files are copied with."""

from __future__ import annotations

import tarfile
import tracemalloc
from pathlib import Path

import pytest

from pilothouse.errors import BadValue
from pilothouse.factory.tar import untar
from pilothouse.operations.tar_member import HEADER_MAX
from pilothouse.web.tar import unpack

KINDS = {"pax": tarfile.XHDTYPE, "global": tarfile.XGLTYPE, "name": tarfile.GNUTYPE_LONGNAME}


def archive_with(folder: Path, kind: bytes, size: int) -> Path:
    """Return an archive that begins with an extra header of so many bytes."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, size
    archive = folder / "archive.tar"
    with archive.open("wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(4 * tarfile.BLOCKSIZE + size)
    return archive


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_is_not_read_into_memory_however_long_it_says_it_is(tmp_path: Path, kind: str) -> None:
    """A name of a gigabyte would be one, for every upload at the same time."""
    archive = archive_with(tmp_path, KINDS[kind], 64 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(BadValue, match="a header in the archive has"):
            unpack(archive, tmp_path / "folder")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_long_name_of_an_ordinary_length_is_read(tmp_path: Path) -> None:
    """Names beyond a header's hundred bytes stand in such an extra header."""
    name = "/".join(["long" * 10] * 10)
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))

    unpack(archive, tmp_path / "folder")

    assert len(name) < HEADER_MAX
    assert (tmp_path / "folder" / name).is_file()


def with_holes(form: str) -> bytes:
    """Return an archive of a file that says that it has a hole a line: the reader would keep all of these in memory."""
    member = tarfile.TarInfo("model.bin")
    content = b"1000000\n" + b"0\n" * 4000
    member.size = len(content)
    if form == "gnu":
        member.type = tarfile.GNUTYPE_SPARSE
        return member.tobuf(tarfile.GNU_FORMAT) + content
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "8000000"}
    return member.tobuf(tarfile.PAX_FORMAT) + content


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_map_of_holes_is_refused_before_it_is_read(tmp_path: Path, form: str) -> None:
    """On the way up as on the way down."""
    archive = tmp_path / "archive.tar"
    archive.write_bytes(with_holes(form))

    with pytest.raises(BadValue, match="holes"):
        unpack(archive, tmp_path / "up")
    (tmp_path / "down").mkdir()
    with pytest.raises(BadValue, match="holes"):
        untar([with_holes(form)], tmp_path / "down")
