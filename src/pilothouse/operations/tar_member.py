"""A member of a tar archive that a stranger has sent, for every reader of such archives."""

from __future__ import annotations

import tarfile
from typing import Never, Self

from pilothouse.errors import BadValue

HEADER_MAX = 64 << 10
_EXTRA = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class PlainMember(tarfile.TarInfo):
    """A member whose headers are short and whose content is no map of holes: both are read into memory at once."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the member that a header describes."""
        member = super().frombuf(buf, encoding, errors)
        if member.type in _EXTRA and member.size > HEADER_MAX:
            raise BadValue(
                f"a header in the archive has {member.size} bytes, more than {HEADER_MAX}", fix="use shorter names"
            )
        if member.type == tarfile.GNUTYPE_SPARSE:
            _refuse_holes()
        return member

    def _proc_gnusparse_10(self, *_: object) -> Never:
        """Refuse what the standard library would begin to read here: a map as long as its writer likes."""
        _refuse_holes()


def _refuse_holes() -> Never:
    raise BadValue("a file in the archive is written with holes", fix="pack it without --sparse")
