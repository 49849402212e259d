"""A home with secrets, a victim, open doors, and a hostile program let loose among them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.propose.hostile.kit import MODULES

from pilothouse.propose.sandbox.calls import machine
from pilothouse.propose.sandbox.level import Level
from pilothouse.propose.sandbox.plan import Limits, Ran
from pilothouse.propose.sandbox.run import Task, confined

PROGRAM = Path(__file__).with_name("kit.py")
CANARY = "canary-6f1d2c"
VICTIM = """
import os, signal, sys
signal.signal(signal.SIGURG, lambda *_: os._exit(7))
print("ready", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, kw_only=True)
class World:
    """Where everything is, and what it looked like before."""

    root: Path
    out: Path
    context: Path
    targets: dict[str, Any]
    victim: subprocess.Popen[bytes]


def make_world(root: Path, stack: ExitStack) -> World:
    """Lay out a home, a context and a folder, and start a victim with a secret in its environment."""
    files = {
        "token": root / "home" / "server.json",
        "database": root / "home" / "pilothouse.db",
        "ssh_key": root / "person" / ".ssh" / "id_ed25519",
        "other_product": root / "home" / "artifacts" / "other" / "secret.txt",
        "doomed": root / "home" / "doomed.db",
        "removable": root / "home" / "removable",
        "context_file": root / "context" / "history.json",
        "hook": root / "repository" / ".git" / "hooks" / "sample",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{CANARY} {path.name}", encoding="utf-8")
        path.chmod(0o600)
    files["context_file"].chmod(0o444)
    out = root / "out"
    out.mkdir()
    victim = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", VICTIM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"SECRET": CANARY, "PATH": os.defpath},
        )
    )
    stack.callback(victim.kill)
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"ready\n"
    known = machine()
    assert known is not None
    targets: dict[str, Any] = {name: str(path) for name, path in files.items()}
    targets |= {"numbers": dict(known.numbers), "canary": CANARY, "out": str(out), "context": str(root / "context")}
    targets |= {"home": str(root / "home"), "repository": str(root / "repository"), "control": False}
    targets |= {"pid": os.getpid(), "victim": victim.pid, "shared_key": 0x6F1D2C, "address": 0}
    targets |= doors(root, stack)
    return World(root=root, out=out, context=root / "context", targets=targets, victim=victim)


def doors(root: Path, stack: ExitStack) -> dict[str, Any]:
    """Open a door of each kind and return where they are."""
    tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    found: dict[str, Any] = {"tcp": tcp.getsockname()[1], "tcp6": tcp.getsockname()[1]}
    if socket.has_ipv6:
        tcp6 = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        found["tcp6"] = tcp6.getsockname()[1]
    udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    found["udp"] = udp.getsockname()[1]
    for name, kind in (("unix", socket.SOCK_STREAM), ("unix_datagram", socket.SOCK_DGRAM)):
        door = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        # The name of a socket file is short, so it is given relative to a folder of its own.
        door.bind(os.path.relpath(root / name))
        if kind is socket.SOCK_STREAM:
            door.listen()
        found[name] = str(root / name)
    hidden = stack.enter_context(socket.socket(socket.AF_UNIX))
    abstract = f"{CANARY}-{os.getpid()}-{root.name}"
    hidden.bind(f"\0{abstract}")
    hidden.listen()
    return {**found, "abstract": abstract}


def attack(world: World, level: Level, *names: str, waived: str = "", own_processes: bool = True) -> Ran:
    """Run the hostile program with the world's targets."""
    targets = world.out / "targets.json"
    targets.write_text(json.dumps(world.targets), encoding="utf-8")
    command = [sys.executable, "-I", "-S", str(PROGRAM), str(targets)]
    task = Task(
        command=[*command, str(world.out / "report.json"), *names],
        folder=world.out,
        environment={"HOME": str(world.out)},
        readable=(world.context, *(PROGRAM.with_name(f"{name}.py") for name in (*MODULES, "kit"))),
        forbidden=(world.root / "home", world.root / "person"),
        limits=Limits(wall_seconds=100, cpu_seconds=60, memory_mb=2048),
        own_processes=own_processes,
    )
    return confined(task, level, unconfined_allowed_by=waived)
