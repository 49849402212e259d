"""The filter of system calls says the same on both architectures, read as the kernel reads it."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.propose.sandbox.calls import Machine, machine
from pilothouse.propose.sandbox.looking import PATHS
from pilothouse.propose.sandbox.seccomp import FORKS, RULES, Answer, program

ALLOW, NOTIFY, KILL, ERRNO = 0x7FFF0000, 0x7FC00000, 0x80000000, 0x00050000
REFUSED = ERRNO | errno.EPERM
ABSENT = ERRNO | errno.ENOSYS
INSTRUCTIONS_MAX = 4096


def known(name: str) -> Machine:
    found = machine(name)
    assert found is not None
    return found


MACHINES = {name: known(name) for name in ("x86_64", "aarch64")}
EACH_MACHINE = pytest.mark.parametrize("name", sorted(MACHINES))


def verdict(code: bytes, number: int, *arguments: int, audit: int) -> int:
    """Run the program over one call, by the rules of classic BPF."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *(arguments + (0,) * 6)[:6])
    place, held = 0, 0
    while True:
        operation, true, false, value = struct.unpack_from("=HBBI", code, place * 8)
        place += 1
        match operation:
            case 0x20:
                (held,) = struct.unpack_from("=I", data, value)
            case 0x54:
                held &= value
            case 0x15:
                place += true if held == value else false
            case 0x35:
                place += true if held >= value else false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"operation {operation:#x} is none of the filter's")


def answer(name: str, call: str, *arguments: int, network: bool = False, told: bool = False) -> int:
    """Return what one call meets on one architecture."""
    on = MACHINES[name]
    code = program(on, network=network, told=told)
    return verdict(code, on.numbers[call], *arguments, audit=on.audit)


@EACH_MACHINE
def test_the_program_is_one_that_the_kernel_takes(name: str) -> None:
    """It is short enough, ends with an answer, and no jump leaves it."""
    for network in (True, False):
        code = program(MACHINES[name], network=network, told=True)
        lines = [struct.unpack_from("=HBBI", code, place) for place in range(0, len(code), 8)]

        assert len(lines) <= INSTRUCTIONS_MAX
        assert lines[-1][0] == 0x06
        assert all(place + 1 + max(line[1], line[2]) < len(lines) for place, line in enumerate(lines[:-1]))


@EACH_MACHINE
def test_every_rule_without_a_test_holds(name: str) -> None:
    """Each call of the list meets its answer, and one that a supervisor is told of waits for it."""
    wanted = {Answer.REFUSED: (REFUSED, NOTIFY), Answer.ABSENT: (ABSENT, ABSENT), Answer.IGNORED: (ERRNO, ERRNO)}
    seen = 0
    for rule in RULES:
        for call in rule.calls:
            if not rule.tests and rule.answer in wanted and call in MACHINES[name].numbers:
                seen += 1
                assert (answer(name, call), answer(name, call, told=True)) == wanted[rule.answer], call
    assert seen > 80


@EACH_MACHINE
def test_forks_and_paths_are_looked_at_and_go_on(name: str) -> None:
    """Told, they wait for the supervisor; untold, they are none of the filter's business."""
    for call in (*FORKS, *PATHS):
        if call in MACHINES[name].numbers:
            assert (answer(name, call, told=True), answer(name, call)) == (NOTIFY, ALLOW), call


@EACH_MACHINE
@pytest.mark.parametrize(
    ("call", "arguments", "wanted"),
    [
        ("clone", (0x10000000 | 17,), REFUSED),
        ("clone", (0x00020000,), REFUSED),
        ("clone", (0x003D0F00,), ALLOW),  # a thread
        ("prctl", (1, 0), ERRNO),
        ("prctl", (38, 1), ALLOW),
        ("ioctl", (0, 0x5412), REFUSED),
        ("ioctl", (0, 0x541C), REFUSED),
        ("ioctl", (0, 0x5413), ALLOW),
        ("ioctl", (0, (1 << 32) | 0x5412), REFUSED),
        ("prlimit64", (0, 7), ALLOW),
        ("prlimit64", (1, 7), REFUSED),
        ("setpriority", (0, 0, 5), ALLOW),
        ("setpriority", (0, 1, 5), REFUSED),
        ("setpriority", (2, 0, 5), REFUSED),
        ("sched_setaffinity", (0,), ALLOW),
        ("sched_setaffinity", (1,), REFUSED),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (1, 1 | 0o2000000), ALLOW),
        ("socketpair", (1, 5), ALLOW),
        ("socketpair", (1, 2), REFUSED),
        ("socketpair", (2, 1), REFUSED),
        ("socket", (1, 1), REFUSED),
        ("socket", (2, 1), REFUSED),
        ("connect", (3,), REFUSED),
    ],
)
def test_arguments_are_read(name: str, call: str, arguments: tuple[int, ...], wanted: int) -> None:
    """What is refused to some arguments is allowed to others, whatever the upper half of the word says."""
    assert answer(name, call, *arguments) == wanted


@EACH_MACHINE
@given(family=st.integers(0, 50), kind=st.integers(0, 15), flags=st.sampled_from([0, 0o2000000, 0o4000]))
def test_with_the_network_on_only_the_internet_is_spoken(name: str, family: int, kind: int, flags: int) -> None:
    """Streams and datagrams of both internets, and no other family or kind."""
    good = family in {socket.AF_INET, socket.AF_INET6} and kind in {1, 2}

    assert (answer(name, "socket", family, kind | flags, network=True) == ALLOW) == good


@EACH_MACHINE
def test_numbers_of_another_architecture_kill(name: str) -> None:
    """They mean other calls, so no rule could judge them."""
    on = MACHINES[name]
    code = program(on, network=False, told=True)

    assert verdict(code, 1, audit=0x40000003) == KILL
    if on.foreign_from is not None:
        assert verdict(code, on.foreign_from + 1, audit=on.audit) == KILL


def test_an_unknown_architecture_has_no_filter() -> None:
    """There agents are refused rather than half confined."""
    assert machine("riscv64") is None
