"""Opening what a program has left under a known name, whatever it has put there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotPlain(OSError):
    """Something else than a file has the name: a link, a pipe, a device, a folder."""


def open_plain(path: Path) -> BinaryIO:
    """Return the plain file, opened for reading; `NotPlain` is raised for anything else, at once.

    A pipe would make whoever opens it wait for a writer, and a link could lead to a device without an end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise NotPlain(error.errno, "it is no plain file", str(path)) from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlain(errno.EINVAL, "it is no plain file", str(path))
    return os.fdopen(descriptor, "rb")
