"""Ways into the kernel."""

# ruff: noqa: S606
# An attack is spelt as the kernel sees it.

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import socket
import struct
import sys

from tests.propose.hostile.kit import AT_FDCWD, LIBRARY, Closed, T, call, escape


@escape
def mount_something() -> None:
    if LIBRARY.mount(b"tmpfs", T["out"].encode(), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


@escape
def become_root_of_a_namespace() -> None:
    if LIBRARY.unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


@escape
def clone_into_a_namespace() -> None:
    child = call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@escape
def clone_into_a_namespace_the_new_way() -> None:
    arguments = struct.pack("Q3Q1Q6Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
    child = call("clone3", arguments, len(arguments))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@escape
def enter_the_namespace_of_the_victim() -> None:
    if LIBRARY.setns(os.pidfd_open(T["victim"]), 0x00020000) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@escape
def change_the_root() -> None:
    os.chroot(T["out"])


@escape
def open_a_tree_of_mounts() -> None:
    call("open_tree", AT_FDCWD, b"/", 1)


@escape
def load_a_program_into_the_kernel() -> None:
    call("bpf", 0, ctypes.create_string_buffer(128), 128)


@escape
def count_performance_events() -> None:
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 128, 0) + bytes(112))
    call("perf_event_open", attributes, 0, -1, -1, 0)


@escape
def read_the_keys_of_the_session() -> None:
    call("keyctl", 0, -3, 1)


@escape
def add_a_key() -> None:
    call("add_key", b"user", b"pilothouse-test", b"x", 1, -2)


@escape
def submit_work_by_a_ring() -> None:
    call("io_uring_setup", 1, ctypes.create_string_buffer(120))


@escape
def handle_page_faults() -> None:
    call("userfaultfd", 1)


@escape
def execute_from_memory() -> None:
    os.execve(os.memfd_create("x"), ["x"], {})


@escape
def make_a_file_in_memory() -> None:
    os.close(os.memfd_create("x"))


@escape
def execute_by_descriptor() -> None:
    program = os.open(sys.executable, os.O_RDONLY)
    child = os.fork()
    if child == 0:
        with contextlib.suppress(OSError):
            call("execveat", program, b"", struct.pack("QQ", ctypes.addressof(WORD), 0), None, 0x1000)
        os._exit(99)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 99:
        raise Closed("it did not become another program")


WORD = ctypes.create_string_buffer(b"--version")


@escape
def change_the_personality() -> None:
    call("personality", 0x0040000)


@escape
def read_the_kernels_log() -> None:
    call("syslog", 3, ctypes.create_string_buffer(64), 64)


@escape
def set_the_clock() -> None:
    call("clock_settime", 0, b"\xff" * 16)


@escape
def rename_the_machine() -> None:
    if T["control"]:
        raise Closed("not tried where it would work")
    socket.sethostname("pwned")


@escape
def type_into_the_terminal() -> None:
    terminal = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(terminal, 0x5412, b"x")


@escape
def raise_own_limits() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if hard == resource.RLIM_INFINITY:
        raise Closed("there is no limit to raise")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard + 1))


@escape
def keep_a_capability() -> None:
    sets = (ctypes.c_uint32 * 6)()
    LIBRARY.capget((ctypes.c_uint32 * 2)(0x20080522, 0), sets)
    if not any(sets):
        raise Closed("no capability is left")


@escape
def gain_by_executing() -> None:
    if LIBRARY.prctl(39, 0, 0, 0, 0) == 1:
        raise Closed("no new privileges")
