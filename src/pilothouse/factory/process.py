"""The factory as a process: `python -m pilothouse.factory`, started by `child`."""

from __future__ import annotations

import argparse
import ctypes
import functools
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pilothouse.blobs.local import LocalBlobs
from pilothouse.factory.attempt import ENGINE_GONE_GRACE_SECONDS, Surroundings
from pilothouse.factory.channel import PipeDispatch
from pilothouse.factory.discover import Facts, discover
from pilothouse.factory.gpus import VISIBLE, GpuPool
from pilothouse.factory.loop import SEATS, Factory, FactorySettings, Leaving
from pilothouse.ids import BootId, FactoryName
from pilothouse.launch.ears import Ears
from pilothouse.launch.local import LocalLauncher

_LEAVE_SECONDS = ENGINE_GONE_GRACE_SECONDS + 15.0
_PR_SET_DUMPABLE = 4
LEFT_BEHIND = 70
"""Exit code of a factory that could not end its job in time after its engine had gone (EX_SOFTWARE)."""
BOOT_OVER = 75
"""Exit code of a factory whose session was given up: another boot may begin anew (EX_TEMPFAIL)."""


def main(argv: Sequence[str], *, variables: Mapping[str, str]) -> int:
    """Run a factory until SIGTERM or the end of its line; `variables` is the environment to filter for jobs.

    This is the composition root of the process: it alone names the local launcher and the local blobs.
    """
    given = _arguments(argv)
    keep_to_itself()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Ears(lambda _: stop.set()):
        return _run(given, variables, stop)


def _run(given: argparse.Namespace, variables: Mapping[str, str], stop: threading.Event) -> int:
    """Work until `stop` is set or the line ends, and return the exit code."""
    dispatch = PipeDispatch(socket.socket(fileno=given.line))
    threading.Thread(target=_leave_in_time, args=(dispatch.gone,), name="leave-in-time", daemon=True).start()
    facts = _facts(given, variables)
    around = Surroundings(
        dispatch=dispatch,
        launcher=LocalLauncher(variables, extra=frozenset(given.variable)),
        blobs=LocalBlobs(given.home / "blobs"),
        home=given.home,
        work_folder=given.work_folder,
        gone=dispatch.gone,
        monotonic=time.monotonic,
        engines=given.engines,
        abilities=lambda: facts().abilities,
        gpus=GpuPool(lambda: facts().gpu_names),
    )
    settings = FactorySettings(seats=given.seats, pools=given.pool or None)
    factory = Factory(name=FactoryName(given.name), boot=BootId(given.boot), around=around, settings=settings)
    leaving = factory.run(stop)
    dispatch.close()
    return BOOT_OVER if leaving is Leaving.SESSION_OVER else 0


def keep_to_itself() -> None:
    """Let no other process of this user, such as a job, look into this one (Linux); programs it starts are as ever.

    What finds orphans still works: command line, start time and state of such a process can be read by anybody.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pilothouse.factory", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="folder of runs and blobs, shared with the engine")
    parser.add_argument("--work-folder", type=Path, required=True, help="folder in which commands start")
    parser.add_argument("--name", required=True)
    parser.add_argument("--boot", required=True)
    parser.add_argument("--engine", required=True, help="<pid>:<start time> of the engine's process")
    parser.add_argument("--line", type=int, required=True, help="descriptor of the line to the engine")
    parser.add_argument("--seats", type=int, default=SEATS)
    parser.add_argument("--pool", action="append", default=[], help="a pool to serve; any, if none is given")
    parser.add_argument("--engines", type=json.loads, default={}, help="JSON: command words by the engine's name")
    parser.add_argument("--capability", action="append", default=[], help="what else this machine has")
    parser.add_argument("--variable", action="append", default=[], help="one more variable that jobs may see")
    return parser.parse_args(argv)


def _facts(given: argparse.Namespace, variables: Mapping[str, str]) -> Callable[[], Facts]:
    """Return what tells of this machine; it is looked into when the first job asks for anything."""

    @functools.cache
    def told() -> Facts:
        return discover(
            seats=given.seats,
            engines=given.engines,
            path=variables.get("PATH"),
            extra=given.capability,
            visible=variables.get(VISIBLE),
        )

    return told


def _leave_in_time(gone: threading.Event) -> None:
    """End this process if it does not end by itself after the engine has gone, whatever holds it."""
    while not gone.wait(3600):
        continue
    idle = threading.Event()
    idle.wait(_LEAVE_SECONDS)
    os._exit(LEFT_BEHIND)
