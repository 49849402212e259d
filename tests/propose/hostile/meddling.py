"""Ways to meddle with other processes."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct

from tests.propose.hostile.kit import Closed, T, call, escape


@escape
def trace_the_victim() -> None:
    call("ptrace", 0x4206, T["victim"], 0, 0)  # PTRACE_SEIZE, which stops nobody


@escape
def trace_itself() -> None:
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        call("ptrace", 0x4206, child, 0, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@escape
def read_the_victims_memory_directly() -> None:
    room = ctypes.create_string_buffer(8)
    local = struct.pack("QQ", ctypes.addressof(room), 8)
    call("process_vm_readv", T["victim"], local, 1, struct.pack("QQ", T["address"], 8), 1, 0)


@escape
def signal_the_victim() -> None:
    os.kill(T["victim"], signal.SIGURG)


@escape
def signal_the_parent() -> None:
    os.kill(T["pid"], signal.SIGURG)


@escape
def signal_the_supervisor() -> None:
    os.kill(T["supervisor"], signal.SIGURG)


@escape
def signal_by_a_process_descriptor() -> None:
    signal.pidfd_send_signal(os.pidfd_open(T["victim"]), signal.SIGURG)


@escape
def steal_a_descriptor() -> None:
    call("pidfd_getfd", os.pidfd_open(T["victim"]), 0, 0)


@escape
def starve_the_victim_by_a_limit() -> None:
    resource.prlimit(
        T["victim"], resource.RLIMIT_NOFILE, (50, resource.prlimit(T["victim"], resource.RLIMIT_NOFILE)[1])
    )


@escape
def slow_the_victim_down() -> None:
    os.setpriority(os.PRIO_PROCESS, T["victim"], 19)


@escape
def slow_every_process_of_the_user_down() -> None:
    if T["control"]:
        raise Closed("not tried where it would work")
    os.setpriority(os.PRIO_USER, 0, 19)


@escape
def pin_the_victim_to_one_processor() -> None:
    os.sched_setaffinity(T["victim"], {min(os.sched_getaffinity(0))})


@escape
def put_the_victim_to_idle_scheduling() -> None:
    os.sched_setscheduler(T["victim"], os.SCHED_IDLE, os.sched_param(0))


@escape
def kill_all_that_can_be_reached() -> None:
    if T["control"]:
        raise Closed("not tried where it would work")
    os.kill(-1, signal.SIGURG)
    raise Closed("the victim says whether it was reached")


@escape
def share_memory_with_the_victim() -> None:
    call("shmget", T["shared_key"], 4096, 0o1600)


@escape
def open_a_queue_of_messages() -> None:
    call("mq_open", f"pilothouse-{T['canary']}".encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
