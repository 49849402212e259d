"""What a confined run may use, and that nothing of it is left afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.propose.sandbox.running import PATIENT, breaches, run, task

from pilothouse.propose.sandbox.level import Level, landlocked
from pilothouse.propose.sandbox.plan import Breach
from pilothouse.propose.sandbox.run import confined

ROOT = Path(__file__).resolve().parents[3]
NAMESPACES = pytest.mark.parametrize("own_processes", [True, False], ids=["namespace", "no namespace"])


@pytest.fixture(name="level")
def _level() -> Level:
    found = landlocked()
    if not found.confines:
        pytest.skip(found.told())
    return found


def patiently(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for half a minute at most."""
    turn = threading.Event()
    for _ in range(600):
        if condition():
            return
        turn.wait(0.05)
    pytest.fail("it did not come to be")


def marked(mark: str) -> list[int]:
    """Return the running processes with a word in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        ends = process.info["status"] == psutil.STATUS_ZOMBIE
        if not ends and any(mark in word for word in process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def test_a_run_returns_what_was_said(level: Level, tmp_path: Path) -> None:
    """Output, errors and the exit code come back, and nothing was refused."""
    ran = run(tmp_path, level, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    assert (ran.output, ran.errors, ran.exit_code, ran.refusals) == (b"out\n", b"err\n", 3, ())


def test_the_end_by_a_signal_is_a_negative_code(level: Level, tmp_path: Path) -> None:
    """It is told from an exit with a large code."""
    assert run(tmp_path, level, "import os; os.kill(os.getpid(), 9)").exit_code == -9
    assert run(tmp_path, level, "import sys; sys.exit(137)").exit_code == 137


@NAMESPACES
def test_a_run_that_takes_too_long_is_killed(level: Level, tmp_path: Path, *, own_processes: bool) -> None:
    """Ignoring signals does not help."""
    source = "import signal; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; signal.pause()"

    ran = run(tmp_path, level, source, limits=replace(PATIENT, wall_seconds=0.5), own_processes=own_processes)

    assert (ran.exit_code, breaches(ran)) == (None, [Breach.WALL_TIME])


def test_processor_time_is_limited(level: Level, tmp_path: Path) -> None:
    """A busy loop ends by the kernel's signal."""
    ran = run(tmp_path, level, "while True: pass", limits=replace(PATIENT, cpu_seconds=1))

    assert breaches(ran) == [Breach.CPU_TIME]


def test_memory_is_limited(level: Level, tmp_path: Path) -> None:
    """More data than allowed is refused to the process that asks for it."""
    ran = run(tmp_path, level, "bytearray(400 << 20)", limits=replace(PATIENT, memory_mb=200))

    assert ran.exit_code == 1
    assert b"MemoryError" in ran.errors


def test_memory_of_all_processes_together_is_limited(level: Level, tmp_path: Path) -> None:
    """Shared pages, which no process's own limit counts, end the run."""
    source = "import mmap, signal; m = mmap.mmap(-1, 300 << 20); m.write(b'x' * (300 << 20)); signal.pause()"

    ran = run(tmp_path, level, source, limits=replace(PATIENT, memory_mb=310))

    assert (ran.exit_code, breaches(ran)) == (None, [Breach.MEMORY])


def test_a_huge_file_cannot_be_written(level: Level, tmp_path: Path) -> None:
    """It ends at the limit, and so does the writer unless it takes the error."""
    source = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); open('big', 'wb').write(bytes(4 << 20))"

    ran = run(tmp_path, level, source, limits=replace(PATIENT, file_mb=1))

    assert breaches(ran) == [Breach.FILE_SIZE]
    assert (tmp_path / "out" / "big").stat().st_size == 1 << 20


def test_many_files_cannot_fill_the_disk(level: Level, tmp_path: Path) -> None:
    """The folder as a whole has a limit, and a run that passes it is ended."""
    source = """
import signal
for number in range(8):
    open(str(number), "wb").write(bytes(1 << 20))
signal.pause()
"""
    ran = run(tmp_path, level, source, limits=replace(PATIENT, folder_mb=4))

    assert ran.exit_code is None
    assert set(breaches(ran)) == {Breach.FOLDER_SIZE}


def test_huge_output_ends_the_run(level: Level, tmp_path: Path) -> None:
    """What is beyond the limit is not kept, and the writer does not go on."""
    source = "import sys\nwhile True: sys.stdout.write('x' * 65536)"

    ran = run(tmp_path, level, source, limits=replace(PATIENT, output_bytes=100_000))

    assert (ran.exit_code, len(ran.output)) == (None, 100_000)
    assert breaches(ran) == [Breach.OUTPUT]


@NAMESPACES
def test_a_fork_bomb_stays_small_and_leaves_nobody(level: Level, tmp_path: Path, *, own_processes: bool) -> None:
    """Whoever multiplies is ended with all the others."""
    mark = f"bomb-{tmp_path.name}"
    source = f"""
import os, signal
mark = "{mark}"
for _ in range(9):
    try:
        os.fork()
    except OSError:
        pass
signal.pause()
"""
    limits = replace(PATIENT, wall_seconds=1, processes=40)

    ran = run(tmp_path, level, source, limits=limits, own_processes=own_processes)

    assert (ran.exit_code, set(breaches(ran))) == (None, {Breach.PROCESSES, Breach.WALL_TIME})
    assert ran.processes_most <= 80
    assert marked(mark) == []


@NAMESPACES
def test_nobody_survives_the_command(level: Level, tmp_path: Path, *, own_processes: bool) -> None:
    """A new session and a second fork do not hide a process."""
    mark = f"survivor-{tmp_path.name}"
    source = f"""
import os, signal
mark = "{mark}"
near, far = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(far, b"x")
        os.closerange(0, 3)
        signal.pause()
    os._exit(0)
os.read(near, 1)
"""
    ran = run(tmp_path, level, source, own_processes=own_processes)

    assert (ran.exit_code, breaches(ran)) == (0, [Breach.SURVIVORS])
    assert marked(mark) == []


@NAMESPACES
def test_a_caller_that_is_killed_takes_the_run_along(level: Level, tmp_path: Path, *, own_processes: bool) -> None:
    """Nobody works on for a server that is gone."""
    assert level.confines
    mark = f"orphan-{tmp_path.name}"
    agent = f"mark = '{mark}'; import signal; open('ready', 'w').close(); signal.pause()"
    source = f"""
import pathlib
from tests.propose.sandbox.running import task
from pilothouse.propose.sandbox.level import landlocked
from pilothouse.propose.sandbox.run import confined
confined(task(pathlib.Path({str(tmp_path)!r}), {agent!r}, own_processes={own_processes}), landlocked())
"""
    search = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    with subprocess.Popen([sys.executable, "-c", source], env={"PYTHONPATH": search}) as caller:
        patiently((tmp_path / "out" / "ready").exists)
        assert marked(f"mark = '{mark}'") != []
        caller.kill()

    patiently(lambda: marked(f"mark = '{mark}'") == [])


@NAMESPACES
def test_a_survivor_that_keeps_the_output_open_does_not_hold_the_caller(
    level: Level, tmp_path: Path, *, own_processes: bool
) -> None:
    """The caller waits for the command, not for whoever inherited its pipes."""
    source = "import os, signal\nif os.fork() == 0:\n    os.setsid(); signal.pause()\nprint('done', flush=True)"

    ran = run(tmp_path, level, source, own_processes=own_processes)

    assert (ran.output, ran.exit_code) == (b"done\n", 0)


def test_a_call_of_another_architecture_is_the_last(level: Level, tmp_path: Path) -> None:
    """The old way into the kernel has other numbers, so whoever uses it is killed."""
    source = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
"""
    if not Path("/lib64/ld-linux-x86-64.so.2").exists():
        pytest.skip("this is the machine code of x86")

    assert breaches(run(tmp_path, level, source)) == [Breach.ILLEGAL_CALL]


def test_what_programs_need_works(level: Level, tmp_path: Path) -> None:
    """Threads, children, pairs of sockets, temporary files and renames are no breach."""
    source = """
import os, pathlib, shutil, socket, subprocess, tempfile, threading
worker = threading.Thread(target=print, args=("thread",)); worker.start(); worker.join()
near, far = socket.socketpair(); near.send(b"pair"); print(far.recv(9).decode())
print(subprocess.run(["sh", "-c", "echo child"], capture_output=True, text=True, check=True).stdout.strip())
os.mkdir("sub")
with tempfile.NamedTemporaryFile("w", dir="sub", delete=False) as file: file.write("moved")
os.replace(file.name, "answer"); shutil.copy2("answer", "copy"); os.chmod("copy", 0o600)
os.symlink("answer", "link"); print(pathlib.Path("link").read_text()); shutil.rmtree("sub")
print(len(os.urandom(8)))
"""
    ran = run(tmp_path, level, source)

    assert ran.errors == b""
    assert ran.output.decode().split() == ["thread", "pair", "child", "moved", "8"]
    assert ran.refusals == ()


def test_a_permitted_port_is_the_only_one(level: Level, tmp_path: Path) -> None:
    """With the network on, TCP reaches the ports that are named and no others."""
    if level.landlock < 4:
        pytest.skip("ports need Landlock 4")
    with socket.create_server(("127.0.0.1", 0)) as good, socket.create_server(("127.0.0.1", 0)) as bad:
        source = f"""
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
socket.create_connection(("127.0.0.1", {good.getsockname()[1]})).close(); print("reached")
try: socket.create_connection(("127.0.0.1", {bad.getsockname()[1]}))
except PermissionError: print("refused")
try: socket.create_server(("127.0.0.1", 0))
except PermissionError: print("deaf")
try: socket.socket(socket.AF_UNIX)
except PermissionError: print("alone")
"""
        made = replace(task(tmp_path, source), network=True, ports=(good.getsockname()[1],))
        ran = confined(made, level)

    assert ran.output.decode().split() == ["reached", "refused", "deaf", "alone"]
