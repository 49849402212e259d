"""Runs pytest again and again without importing the world each time: each run is a fork of this process.

    python forked_pytest.py SECONDS

Every line of the input is a JSON list of pytest's arguments. The answer is one line: the first test that failed, null
if none did. What this process has imported is others' code only, so each run takes the product as it is on the disk.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import Phase, settings

OTHERS = (
    "fastapi",
    "hypothesis.stateful",
    "hypothesis.strategies",
    "prometheus_client",
    "psycopg",
    "schemathesis",
    "starlette.testclient",
)
IMPORTED_EARLY = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
OPTIONS = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist", *IMPORTED_EARLY)
NOTHING_COLLECTED = 5


class First:
    """Notes the first test, or file of tests, that fails."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def pytest_collection_finish(self) -> None:
        """Let properties tell that they fail, and not look for the least example for minutes."""
        settings.register_profile("first", settings.default, phases=(Phase.explicit, Phase.generate))
        settings.load_profile("first")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that failed."""
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be read."""
        self._note(report)

    def _note(self, report: Any) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid.partition("[")[0]


def run(arguments: list[str]) -> str | None:
    """Return what failed first."""
    first = First()
    code = int(pytest.main([*OPTIONS, *arguments], [first]))
    if code in {0, NOTHING_COLLECTED}:
        return None
    return first.failed or f"pytest ended with {code}"


def forked(arguments: list[str], seconds: int) -> str | None:
    """Return what failed first in a fork, or that it did not end in time."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        os.setpgid(0, 0)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        signal.alarm(0)
        try:
            told = json.dumps([run(arguments)])
        except BaseException:  # noqa: BLE001  whatever it is, the other process tells it
            told = json.dumps({"broken": traceback.format_exc()})
        os.write(write_end, told.encode())
        os._exit(0)
    os.close(write_end)
    return _heard(child, read_end, seconds)


def _heard(child: int, read_end: int, seconds: int) -> str | None:
    def give_up(*_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    with os.fdopen(read_end, "rb") as pipe:
        told = pipe.read()
    signal.alarm(0)
    os.waitpid(child, 0)
    if not told:
        return f"no end after {seconds} s"
    match json.loads(told):
        case [str() | None as failed]:
            return failed
        case broken:
            raise RuntimeError(f"pytest itself failed: {broken}")


def main(seconds: str) -> None:
    """Answer line after line."""
    for name in OTHERS:
        importlib.import_module(name)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(forked(json.loads(line), int(seconds))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
