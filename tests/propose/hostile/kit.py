"""A program that tries to get out, run by a bare interpreter: `kit.py TARGETS.json REPORT.json [NAME ...]`.

Each function of the modules beside this one tries one way. It raises, mostly what the kernel said, if the way is
closed, and returns if it is open.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = ("reading", "writing", "reaching", "meddling", "kernel_doors")
ESCAPES: dict[str, Callable[[], object]] = {}
T: dict[str, Any] = {}
LIBRARY = ctypes.CDLL(None, use_errno=True)
LIBRARY.syscall.restype = ctypes.c_long
AT_FDCWD = -100


class Closed(Exception):
    """The way is closed without an error of the kernel: what was done has no effect."""


def escape(function: Callable[[], object]) -> Callable[[], object]:
    ESCAPES[function.__name__] = function
    return function


def call(name: str, *arguments: object) -> int:
    if name not in T["numbers"]:
        raise Closed(f"{name} does not exist here")
    result = int(LIBRARY.syscall(ctypes.c_long(T["numbers"][name]), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def secret_in(path: str) -> None:
    if T["canary"].encode() not in Path(path).read_bytes():
        raise Closed(f"{path} does not hold the secret")


def own(name: str, content: str = "mine") -> str:
    path = Path(T["out"], name)
    path.write_text(content, encoding="utf-8")
    return str(path)


def put(path: str) -> None:
    Path(path).write_text("pwned", encoding="utf-8")


def tried(name: str) -> str:
    """Try one way in a process of its own, so that what it changes of itself does not help the next."""
    near, far = os.pipe()
    T["pipe"] = (near, far)
    child = os.fork()
    if child == 0:
        os.write(far, outcome(name).encode())
        os._exit(0)
    os.close(far)
    with os.fdopen(near) as told:
        said = told.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return said or f"closed: ended with {code}"


def outcome(name: str) -> str:
    try:
        ESCAPES[name]()
    except Closed as why:
        return f"closed: {why}"
    except OSError as error:
        return f"closed: {errno.errorcode.get(error.errno or 0, error)}"
    except ValueError as error:
        return f"closed: {error}"
    return "open"


def load() -> None:
    """Run the modules beside this one with this one in the place of the package that they import from."""
    name = "tests.propose.hostile.kit"
    for end in range(1, name.count(".") + 1):
        package = ".".join(name.split(".")[:end])
        sys.modules[package] = ModuleType(package)
    sys.modules[name] = sys.modules[__name__]
    for module in MODULES:
        runpy.run_path(str(Path(__file__).with_name(f"{module}.py")))


def main() -> None:
    """Try every way, or those that are named, and report."""
    load()
    T.update(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    T["supervisor"] = os.getppid()
    report = {name: tried(name) for name in sys.argv[3:] or ESCAPES}
    Path(sys.argv[2]).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main()
