"""What may be read, what may not, what is told of, and what the level says."""

from __future__ import annotations

import ctypes
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.propose.sandbox.running import task

from pilothouse.errors import OperationFailed, Refused
from pilothouse.propose.sandbox import roots
from pilothouse.propose.sandbox.bubblewrap import arguments
from pilothouse.propose.sandbox.level import Level, Rung, landlocked, level
from pilothouse.propose.sandbox.looking import Looker
from pilothouse.propose.sandbox.plan import Limits, Plan, read_plan, size_of
from pilothouse.propose.sandbox.run import confined

PLAN = Plan(
    command=("agent",),
    environment={"KEY": "secret"},
    folder="/out",
    readable=("/usr", "/usr/lib", "/proc/stat"),
    devices=("/dev/null",),
    limits=Limits(),
    ports=(443,),
)


def test_a_plan_goes_through_a_pipe_unchanged() -> None:
    """One line, read back as it was."""
    assert PLAN.text().count(b"\n") == 1
    assert read_plan(PLAN.text()) == PLAN


def test_a_program_may_read_what_it_was_installed_with_and_no_home(tmp_path: Path) -> None:
    """`bin` and `lib` at every link, never the folder above, where somebody's `share` may lie."""
    real = tmp_path / "versions" / "20" / "bin" / "node"
    link = tmp_path / ".local" / "bin" / "agent"
    for path in (real, link):
        path.parent.mkdir(parents=True)
    (tmp_path / "versions" / "20" / "lib").mkdir()
    (tmp_path / ".local" / "share").mkdir()
    real.touch()
    link.symlink_to("../../versions/20/bin/node")

    found = roots.of_program(link)

    assert {str(real), str(link), str(real.parent), str(link.parent), str(tmp_path / "versions/20/lib")} == set(found)


def test_a_program_that_is_not_there_is_told() -> None:
    """With the place that was looked in."""
    with pytest.raises(OperationFailed, match="'no-such-agent' is not found"):
        roots.find("no-such-agent", "/usr/bin")


def test_a_folder_that_holds_a_secret_is_not_readable(tmp_path: Path) -> None:
    """Not by itself, not from above, not by another name; a part of the secret's own folder may be given."""
    home = tmp_path / "home"
    (home / "agents").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(tmp_path)

    for shown in (home, tmp_path, tmp_path / "alias", Path("/")):
        with pytest.raises(Refused, match="could read"):
            roots.keep_apart([str(shown)], [home])
    roots.keep_apart([str(home / "agents"), "/usr"], [home])


def test_a_secret_among_the_systems_files_stops_the_run(tmp_path: Path) -> None:
    """What every agent may read cannot hold it either."""
    made = replace(task(tmp_path, ""), forbidden=[Path("/usr/local/share/secret")])

    with pytest.raises(Refused, match="may read /usr could read"):
        confined(made, landlocked(), unconfined_allowed_by="Ann")


def test_the_level_says_what_holds_and_what_does_not() -> None:
    """One line, without the words of the code."""
    found = landlocked()

    assert found.told().startswith(str(found.rung))
    assert found.confines == (found.rung is Rung.LANDLOCK)
    assert found.holds or found.why
    assert level(bwrap="") == found


@pytest.mark.parametrize("rung", [Rung.NONE, Rung.SANDBOX_EXEC])
@pytest.mark.parametrize("name", ["", "  "])
def test_a_level_that_confines_nothing_needs_a_name(tmp_path: Path, rung: Rung, name: str) -> None:
    """Blanks are no name."""
    made = task(tmp_path, "raise SystemExit(5)")

    with pytest.raises(Refused, match="cannot confine"):
        confined(made, Level(rung=rung), unconfined_allowed_by=name)
    assert confined(made, Level(rung=rung), unconfined_allowed_by="Ann").exit_code == 5


def test_an_empty_command_is_told(tmp_path: Path) -> None:
    """Nothing is started for it."""
    with pytest.raises(OperationFailed, match="empty"):
        confined(replace(task(tmp_path, ""), command=[]), landlocked(), unconfined_allowed_by="Ann")


def test_a_program_that_cannot_be_executed_is_told(tmp_path: Path) -> None:
    """A file of noise is no program."""
    noise = tmp_path / "noise"
    noise.write_bytes(b"\x00noise")
    noise.chmod(0o755)

    with pytest.raises(OperationFailed, match="cannot be run confined"):
        confined(replace(task(tmp_path, ""), command=[str(noise)]), landlocked(), unconfined_allowed_by="Ann")


def test_bubblewrap_binds_what_is_readable_and_shares_no_network() -> None:
    """The key is in no word, since words are everybody's to read."""
    words = arguments("bwrap", PLAN, inside=["/opt/python"])

    assert words[0] == "bwrap"
    assert "--unshare-all" in words
    assert "--share-net" not in words
    assert "--share-net" in arguments("bwrap", replace(PLAN, network=True), inside=[])
    assert words[words.index("--bind") + 1 :][:2] == ("/out", "/out")
    assert [words[place + 1] for place, word in enumerate(words) if word == "--ro-bind-try"] == ["/usr", "/opt/python"]
    assert not any("secret" in word for word in words)


def test_the_size_of_a_folder_follows_no_links(tmp_path: Path) -> None:
    """What lies elsewhere is not counted, and counting ends beyond the limit."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(1000))
    (tmp_path / "usr").symlink_to("/usr")

    assert 1000 <= size_of(str(tmp_path), most=10_000) < 2000


@pytest.mark.parametrize(
    ("path", "flags", "told"),
    [
        ("{here}/secret", os.O_RDONLY, True),
        ("{here}/out/mine", os.O_RDONLY, False),
        ("{here}/out/../secret", os.O_RDONLY, True),
        ("{here}/out/link", os.O_RDONLY, True),
        ("{here}/missing", os.O_RDONLY, False),
        ("{here}/missing", os.O_WRONLY | os.O_CREAT, True),
        ("{here}/no/where", os.O_WRONLY | os.O_CREAT, False),
        ("{here}/secret", os.O_PATH, False),
        ("/etc/hostname", os.O_RDONLY, False),
        ("/proc/self/environ", os.O_RDONLY, True),
        ("/proc/self/fd", os.O_RDONLY, False),
        ("", os.O_RDONLY, False),
    ],
)
def test_what_is_asked_for_outside_is_told(tmp_path: Path, path: str, flags: int, *, told: bool) -> None:
    """Links and dots are followed, and what programs read by habit is passed over."""
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").touch()
    (tmp_path / "out" / "mine").touch()
    (tmp_path / "out" / "link").symlink_to("../secret")
    text = ctypes.create_string_buffer(os.fsencode(path.format(here=tmp_path)))

    found = Looker([str(tmp_path / "out")]).outside(os.getpid(), "openat", [0, ctypes.addressof(text), flags, 0, 0, 0])

    assert bool(found) == told


@pytest.mark.parametrize("address", [0, 8, (1 << 47) - 8, 1 << 63, (1 << 64) - 1])
def test_an_address_that_leads_nowhere_tells_nothing(address: int) -> None:
    """A hostile pointer is no reason to fall over."""
    for name in ("openat", "renameat2", "symlinkat", "truncate"):
        assert Looker(["/usr"]).outside(os.getpid(), name, [1 << 63, address, 0, address, 0, 0]) == ""
