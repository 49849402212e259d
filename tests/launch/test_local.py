"""A command is started apart from everything else, and ends with everything it has started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pilothouse.errors import OperationFailed, StorageFailed
from pilothouse.launch import identity
from pilothouse.launch.environment import filtered
from pilothouse.launch.exits import ExitWatch
from pilothouse.launch.local import LocalHandle, LocalLauncher
from pilothouse.ports.launcher import Order

Until = Callable[[Callable[[], object]], None]
Start = Callable[..., LocalHandle]
IsRunning = Callable[[int], bool]

WRITE_PID = """
import os, signal, sys, threading
from pathlib import Path
run = Path(os.environ["PILOTHOUSE_RUN_DIR"])
def mark(name):
    part = run / (name + ".part")
    part.write_text(str(os.getpid()))
    part.rename(run / name)
def rest():
    while True:
        signal.pause()
"""


def pid_in(folder: Path, name: str) -> int:
    """Return the process number that a program has left in its run folder."""
    return int((folder / "run" / name).read_text(encoding="utf-8"))


def test_success_leaves_exit_zero_and_the_output_in_the_log(start: Start, tmp_path: Path) -> None:
    """Standard output and standard error meet in log.txt."""
    handle = start("import sys\nprint('out')\nprint('err', file=sys.stderr)")

    assert handle.wait(20)
    assert handle.stop(grace_seconds=0) == 0
    assert set((tmp_path / "run" / "log.txt").read_text(encoding="utf-8").split()) == {"out", "err"}
    assert (handle.peak_memory_mb() or 0) > 1


def test_the_environment_is_denied_by_default(start: Start, tmp_path: Path) -> None:
    """A token of the parent does not reach the program; the run folder and the cookie do."""
    handle = start("import json, os\nprint(json.dumps(dict(os.environ)))", cookie="job-a:7")
    handle.wait(20)
    handle.stop(grace_seconds=0)

    seen = json.loads((tmp_path / "run" / "log.txt").read_text(encoding="utf-8"))
    assert seen["PILOTHOUSE_RUN_DIR"] == str(tmp_path / "run")
    assert seen["PILOTHOUSE_ATTEMPT"] == "job-a:7"
    assert seen["PILOTHOUSE_FACTORY"].startswith(f"{os.getpid()}:")
    assert seen["PATH"] == os.defpath
    assert "SECRET_TOKEN" not in seen


def test_named_variables_and_library_settings_pass() -> None:
    """The list is a list of names and of beginnings; an extra name can be let through."""
    given = {"LC_ALL": "C", "XLA_FLAGS": "a", "WANDB_API_KEY": "k", "HF_TOKEN": "t", "LCD": "x"}

    assert filtered(given) == {"LC_ALL": "C", "XLA_FLAGS": "a"}
    assert filtered(given, extra=frozenset({"HF_TOKEN"})) == {"LC_ALL": "C", "XLA_FLAGS": "a", "HF_TOKEN": "t"}


def test_the_exit_code_is_the_programs(start: Start) -> None:
    """A crash keeps its code, a signal is negative."""
    crashed, killed = start("raise SystemExit(3)"), start("import os\nos.abort()")
    assert crashed.wait(20)
    assert killed.wait(20)

    assert crashed.stop(grace_seconds=0) == 3
    assert killed.stop(grace_seconds=0) == -signal.SIGABRT
    assert killed.stop(grace_seconds=0) == -signal.SIGABRT


def test_the_program_sits_in_a_session_of_its_own(start: Start, tmp_path: Path, until: Until) -> None:
    """So a Ctrl-C at the terminal never reaches it."""
    handle = start(WRITE_PID + "mark('up')\nrest()")
    until((tmp_path / "run" / "up").exists)

    assert pid_in(tmp_path, "up") == handle.pid
    assert os.getsid(handle.pid) == os.getpgid(handle.pid) == handle.pid != os.getsid(0)
    assert identity.is_alive(handle.pid, started=handle.pid_started)
    assert not identity.is_alive(handle.pid, started=handle.pid_started - 100)


def test_sigterm_gives_the_program_its_grace(start: Start, tmp_path: Path, until: Until) -> None:
    """It may write its checkpoint and leave with a code of its own."""
    handle = start(
        WRITE_PID + "signal.signal(signal.SIGTERM, lambda *_: (mark('saved'), sys.exit(75)))\n" + "mark('up')\nrest()"
    )
    until((tmp_path / "run" / "up").exists)

    assert handle.stop(grace_seconds=20) == 75
    assert (tmp_path / "run" / "saved").exists()


def test_a_stopped_program_still_hears_sigterm(start: Start, tmp_path: Path, until: Until) -> None:
    """It is continued, so that its grace is worth something."""
    handle = start(WRITE_PID + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\nmark('up')\nrest()")
    until((tmp_path / "run" / "up").exists)
    os.kill(handle.pid, signal.SIGSTOP)

    assert handle.stop(grace_seconds=20) == 75


def test_ignoring_sigterm_ends_in_sigkill(start: Start, tmp_path: Path, until: Until) -> None:
    """The grace has an end."""
    handle = start(WRITE_PID + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmark('up')\nrest()")
    until((tmp_path / "run" / "up").exists)

    assert handle.stop(grace_seconds=0.2) == -signal.SIGKILL


def test_a_wrapper_does_not_take_the_grace_from_the_program(start: Start, tmp_path: Path, until: Until) -> None:
    """A leader that dies of SIGTERM at once leaves its child the rest of the grace to save in."""
    handle = start(
        WRITE_PID
        + "if os.fork() == 0:\n"
        + "    signal.signal(signal.SIGTERM, lambda *_: (threading.Event().wait(0.3), mark('saved'), os._exit(75)))\n"
        + "    mark('up')\n    rest()\n"
        + "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nrest()"
    )
    until((tmp_path / "run" / "up").exists)

    assert handle.stop(grace_seconds=20) == -signal.SIGTERM
    assert (tmp_path / "run" / "saved").exists()


DAEMON = {
    "setsid": "if os.fork() == 0:\n    os.setsid()\n    {ignore}\n    mark('up')\n    rest()\n",
    "double fork": (
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() != 0:\n        os._exit(0)\n"
        "    {ignore}\n    mark('up')\n    rest()\n"
    ),
    "double fork without setsid and without environment": (
        "if os.fork() == 0:\n    if os.fork() != 0:\n        os._exit(0)\n    {ignore}\n"
        "    os.execve(sys.executable, [sys.executable, '-c', 'import os, signal\\n'\n"
        "        'open(' + repr(str(run / 'up')) + ', \"w\").write(str(os.getpid()))\\n'\n"
        "        'while True: signal.pause()'], {{}})\n"
    ),
}


@pytest.mark.parametrize("leader", ["stays", "leaves"])
@pytest.mark.parametrize("kind", list(DAEMON))
def test_no_grandchild_outlives_the_attempt(
    kind: str, leader: str, start: Start, tmp_path: Path, until: Until, is_running: IsRunning
) -> None:
    """Whatever it does to get away, and whether or not the leader waits for it."""
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    handle = start(WRITE_PID + DAEMON[kind].format(ignore=ignore) + ("rest()" if leader == "stays" else ""))
    up = tmp_path / "run" / "up"
    until(lambda: up.exists() and up.read_text(encoding="utf-8"))
    daemon = pid_in(tmp_path, "up")
    if leader == "leaves":
        assert handle.wait(20)
    assert is_running(daemon)

    handle.stop(grace_seconds=0.1)

    assert not is_running(daemon)


def test_memory_of_the_whole_tree_is_counted(start: Start, tmp_path: Path, until: Until) -> None:
    """A worker's memory is the attempt's memory."""
    handle = start(
        WRITE_PID + "if os.fork() == 0:\n    held = b'x' * (200 * 2**20)\n    mark('up')\n    rest()\nrest()"
    )
    until((tmp_path / "run" / "up").exists)

    peak = handle.peak_memory_mb()

    assert peak is not None
    assert peak > 200


@pytest.mark.parametrize(
    ("command", "named"), [(["no-such-program"], "no-such-program"), (["./missing.sh"], "missing.sh"), ([], "empty")]
)
def test_a_command_that_cannot_start_is_named(
    command: list[str], named: str, launcher: LocalLauncher, tmp_path: Path
) -> None:
    """Before anything is started, with the mend."""
    with pytest.raises(OperationFailed, match=named) as failure:
        launcher.start(Order(command=command, cwd=tmp_path, folder=tmp_path, cookie="job-a:1"))

    assert "command" in failure.value.fix


def test_a_missing_run_folder_is_named(launcher: LocalLauncher, tmp_path: Path) -> None:
    """The log cannot be opened; the path is in the message."""
    with pytest.raises(StorageFailed, match="gone"):
        launcher.start(Order(command=["python"], cwd=tmp_path, folder=tmp_path / "gone", cookie="job-a:1"))


def test_a_missing_working_folder_is_named(launcher: LocalLauncher, tmp_path: Path) -> None:
    """The command is right and the folder is not."""
    with pytest.raises(OperationFailed, match="nowhere"):
        launcher.start(Order(command=["python"], cwd=tmp_path / "nowhere", folder=tmp_path, cookie="job-a:1"))


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no signal for the death of a parent")
@pytest.mark.parametrize("by", ["setpriv", "shim"])
def test_the_leader_dies_with_the_process_that_started_it(
    by: str, tmp_path: Path, until: Until, is_running: IsRunning
) -> None:
    """SIGKILL of the factory leaves no leader behind, whichever program has tied the two."""
    program = tmp_path / "program.py"
    program.write_text(WRITE_PID + "mark('up')\nrest()", encoding="utf-8")
    (tmp_path / "run").mkdir()
    starter = (
        "import sys, signal\nfrom pathlib import Path\nfrom pilothouse.launch import local\n"
        "if sys.argv[2] == 'shim':\n    local._setpriv = lambda: None\n"
        "from pilothouse.launch.local import LocalLauncher\nfrom pilothouse.ports.launcher import Order\n"
        "here = Path(sys.argv[1])\n"
        "handle = LocalLauncher({}).start(Order(command=['python', str(here / 'program.py')], cwd=here,"
        " folder=here / 'run', cookie='job-a:1'))\nsignal.pause()"
    )
    factory = subprocess.Popen([sys.executable, "-c", starter, str(tmp_path), by])
    up = tmp_path / "run" / "up"
    try:
        until(up.exists)
    finally:
        factory.kill()
        factory.wait(20)

    until(lambda: not is_running(pid_in(tmp_path, "up")))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux needs the shim")
def test_the_shim_becomes_the_command(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its arguments, its code, and no process in between."""
    monkeypatch.setattr("pilothouse.launch.local._setpriv", lambda: None)
    handle = start("import os, sys\nprint(os.getpid())\nsys.exit(9)")
    handle.wait(20)

    assert handle.stop(grace_seconds=0) == 9
    assert int((tmp_path / "run" / "log.txt").read_text(encoding="utf-8")) == handle.pid


def test_a_kernel_without_pidfd_is_asked_instead(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait means the same there."""
    monkeypatch.setattr("pilothouse.launch.exits._pidfd", lambda _: None)
    handle = start("import signal\nsignal.pause()")
    watch = ExitWatch(handle.pid)

    assert not watch.wait(0.05)
    os.kill(handle.pid, signal.SIGKILL)
    assert watch.wait(20)
    watch.close()
    assert handle.stop(grace_seconds=0) == -signal.SIGKILL
