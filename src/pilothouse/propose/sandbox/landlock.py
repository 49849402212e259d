"""Landlock: what a process may do to files, ports and other processes, kept by the kernel for it and all it starts."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from pilothouse.propose.sandbox import kernel

ABI_LEAST = 3
"""Before it, a file that may not be written can still be cut to nothing."""
ABI_PORTS = 4
ABI_DEVICES = 5
ABI_SCOPES = 6

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
REMOVE_DIR = 1 << 4
REMOVE_FILE = 1 << 5
MAKE_DIR = 1 << 7
MAKE_REG = 1 << 8
MAKE_SYM = 1 << 12
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15
_ALL_OF_3 = (1 << 15) - 1
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
WRITE = READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SYM | REFER
"""No devices, sockets or named pipes: whoever opens one of those for reading might wait for ever."""
DEVICE = READ_FILE | WRITE_FILE
_CONNECT_TCP = 1 << 1
_ALL_PORTS = 3
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Path(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("access", ctypes.c_uint64), ("port", ctypes.c_uint64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is allowed; everything else that Landlock knows is not. Paths that do not exist are passed over."""

    readable: Sequence[str]
    writable: Sequence[str]
    devices: Sequence[str] = ()
    ports: Sequence[int] = ()


def abi() -> int:
    """Return the version of Landlock in this kernel, 0 where there is none."""
    try:
        return kernel.syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def restrict(rules: Rules, version: int) -> None:
    """Hold this process, and all that it starts, to the rules; a failure is an `OSError`, and nothing may run then."""
    handled = _ALL_OF_3 | (IOCTL_DEV if version >= ABI_DEVICES else 0)
    attributes = _Ruleset(
        files=handled,
        ports=_ALL_PORTS if version >= ABI_PORTS else 0,
        scoped=_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if version >= ABI_SCOPES else 0,
    )
    # An older kernel refuses fields that it does not know, unless they are left out or zero.
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = kernel.syscall(_CREATE, ctypes.byref(attributes), size, ctypes.c_uint32(0))
    try:
        for access, paths in ((READ, rules.readable), (WRITE, rules.writable), (DEVICE, rules.devices)):
            for path in paths:
                _allow(ruleset, path, access & handled)
        for port in rules.ports if version >= ABI_PORTS else ():
            _add(ruleset, _RULE_PORT, _Port(access=_CONNECT_TCP, port=port))
        kernel.syscall(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # what this user cannot reach needs no rule
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= _OF_FILES
        _add(ruleset, _RULE_PATH, _Path(access=access, parent=descriptor))
    finally:
        os.close(descriptor)


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    kernel.syscall(_ADD, ctypes.c_int(ruleset), ctypes.c_int(kind), ctypes.byref(rule), ctypes.c_uint32(0))
