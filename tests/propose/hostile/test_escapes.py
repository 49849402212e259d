"""A hostile program gets nowhere: what is open without confinement is closed with it, and all else stays closed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.propose.hostile import kernel_doors, meddling, reaching, reading, writing
from tests.propose.hostile.kit import ESCAPES, MODULES
from tests.propose.hostile.world import World, attack, make_world

from pilothouse.propose.sandbox.level import Level, Rung, landlocked, level
from pilothouse.propose.sandbox.plan import Breach, Ran

LOADED = (reading, writing, reaching, meddling, kernel_doors)
OPEN_WITHOUT = [
    "read_a_token_in_the_home",
    "read_the_database",
    "read_an_ssh_key",
    "read_another_products_files",
    "list_the_home",
    "climb_with_dots",
    "read_through_a_symlink",
    "read_through_a_path_descriptor",
    "reopen_a_path_descriptor",
    "read_own_environment_by_proc",
    "watch_the_home",
    "write_the_home",
    "write_the_database",
    "truncate_the_database",
    "truncate_while_opening_to_read",
    "symlink_outside",
    "link_own_file_outside",
    "make_a_folder_outside",
    "plant_a_git_hook",
    "change_the_git_config",
    "make_a_repository_above",
    "unlock_and_write_the_context",
    "add_to_the_context",
    "open_the_mode_of_the_database",
    "change_the_times_of_the_database",
    "make_a_pipe_as_the_answer",
    "rename_over_the_database",
    "remove_a_file_outside",
    "swap_the_context",
    "connect_by_tcp",
    "send_by_udp",
    "ask_a_name_server",
    "look_a_name_up",
    "connect_to_a_socket_file",
    "connect_to_an_abstract_socket",
    "send_from_a_pair_of_sockets",
    "listen_for_visitors",
    "trace_itself",
    "starve_the_victim_by_a_limit",
    "signal_the_parent",
    "signal_by_a_process_descriptor",
    "make_a_file_in_memory",
    "change_the_personality",
]
"""What any user may do on any Linux, in an order in which no step takes the next one's target away."""

TOLD_CALLS = {
    "bpf", "chroot", "connect", "keyctl", "mount", "prlimit64", "ptrace", "shmget", "socket(1)", "socket(2)",
    "socket(10)", "socketpair(1)", "unshare", "userfaultfd",
}  # fmt: skip


TOLD_FILES = {
    *("openat {token}", "openat {database}", "openat {ssh_key}", "openat {other_product}", "openat {home}"),
    *("openat /etc/shadow", "openat {home}/planted", "openat /proc/1/environ"),
    *("openat {repository}/.git/hooks/pre-commit", "openat {repository}/.git/config"),
}


@dataclass(frozen=True, kw_only=True)
class Aftermath:
    """What the program reported, and the world as it was and is."""

    report: Mapping[str, str]
    ran: Ran
    world: World
    before: Mapping[str, tuple[int, int, bytes]]


def looks(world: World) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time and content of every file that lies outside the writable folder."""
    return {
        str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_bytes())
        for path in world.root.rglob("*")
        if world.out not in path.parents and path.is_file() and not path.is_symlink()
    }


def bubblewrapped() -> Level:
    """Return the level of bubblewrap, or skip where it is not found."""
    found = level()
    if found.rung is not Rung.BWRAP:
        pytest.skip("bwrap is not found")
    return found


@pytest.fixture(scope="module", name="aftermath", params=["landlock", "landlock without a namespace", "bwrap"])
def _aftermath(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Run everything once on each level."""
    used = bubblewrapped() if request.param == "bwrap" else landlocked()
    if not used.confines:
        pytest.skip(used.told())
    with ExitStack() as stack:
        world = make_world(tmp_path_factory.mktemp("hostile"), stack)
        before = looks(world)
        ran = attack(world, used, own_processes=request.param == "landlock")
        assert ran.exit_code == 0, ran
        report = json.loads((world.out / "report.json").read_text(encoding="utf-8"))
        yield Aftermath(report=report, ran=ran, world=world, before=before)


@pytest.mark.parametrize("name", sorted(ESCAPES))
def test_no_way_is_open(aftermath: Aftermath, name: str) -> None:
    """Each way of getting out is closed."""
    assert aftermath.report[name].startswith("closed")


def test_nothing_outside_has_changed(aftermath: Aftermath) -> None:
    """Whatever the program believes, every file has its content, its mode and its time, and no other is there."""
    assert looks(aftermath.world) == aftermath.before


def test_no_other_process_was_touched(aftermath: Aftermath) -> None:
    """The victim runs, unsignalled and at its old place in the queue."""
    victim = aftermath.world.victim

    assert victim.poll() is None
    assert os.getpriority(os.PRIO_PROCESS, victim.pid) == os.getpriority(os.PRIO_PROCESS, 0)
    assert os.sched_getaffinity(victim.pid) == os.sched_getaffinity(0)


@pytest.mark.parametrize("breach", [Breach.SYSTEM_CALL, Breach.FILE])
def test_what_is_refused_is_told(aftermath: Aftermath, breach: Breach) -> None:
    """The supervisor names the system calls that it refused and the files that Landlock did, where it is asked."""
    told = {each.detail for each in aftermath.ran.refusals if each.breach is breach}
    names = {name: str(path) for name, path in aftermath.world.targets.items() if isinstance(path, str)}
    wanted = {Breach.SYSTEM_CALL: TOLD_CALLS, Breach.FILE: {each.format(**names) for each in TOLD_FILES}}[breach]

    if "told" in aftermath.ran.held:
        assert wanted - told == set()
    else:
        assert told == set()


def test_the_list_of_ways_does_not_shrink_unnoticed() -> None:
    """Fifty are asked for, and there are more."""
    assert {each.__name__.rpartition(".")[2] for each in LOADED} == set(MODULES)
    assert len(ESCAPES) >= 110


def test_the_ways_are_real(tmp_path: Path) -> None:
    """Without confinement the same program gets out by each of the ways that need no privilege."""
    nothing = Level(rung=Rung.NONE)
    with ExitStack() as stack:
        world = make_world(tmp_path, stack)
        world.targets["control"] = True
        ran = attack(world, nothing, *OPEN_WITHOUT, waived="the test")
        report = json.loads((world.out / "report.json").read_text(encoding="utf-8"))
        signalled = world.victim.wait(timeout=30)

    assert {name: said for name, said in report.items() if said != "open"} == {}
    assert signalled == 7, "the victim ends with this code when the signal reaches it"
    assert ran.refusals == ()
