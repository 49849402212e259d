"""A whole fleet of real processes on one home: the server, factories without work, and a client that submits."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pilothouse.errors import Unreachable
from pilothouse.fleet.history import Claimed, Completed, Submitted, Told
from pilothouse.ids import Epoch, FactoryName, JobId, ProductId
from pilothouse.testing.fleet_bench.wire_client import WireClient
from pilothouse.testing.fleet_facts import open_store
from pilothouse.testing.served import Served
from tests.soak.light_factory import USD

PRODUCT = ProductId("soak")
SEATS = 8
PAUSE_SECONDS = 0.1
CEILING_USD = 1e6
_never = threading.Event()


def pause(seconds: float) -> None:
    """Let time pass."""
    _never.wait(seconds)


class Factories:
    """Light factories by number; each boot is a process of its own, and all boots of one write one file."""

    def __init__(self, folder: Path, *, url: str) -> None:
        self._folder = folder
        self._url = url
        self._boots = 0
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def boot(self, number: int) -> None:
        """Start a factory, which may have run before."""
        assert number not in self._running, f"factory {number} runs"
        self._boots += 1
        program = Path(__file__).with_name("light_factory.py")
        name, boot, file = f"factory-{number}", f"boot-{self._boots}", self._folder / f"factory-{number}.jsonl"
        self._running[number] = subprocess.Popen(
            [sys.executable, str(program), self._url, name, boot, str(SEATS), str(file)],
            env={"PATH": os.defpath},
            start_new_session=True,
        )

    def kill(self, number: int) -> None:
        """Kill a factory with SIGKILL."""
        process = self._running.pop(number)
        process.kill()
        process.wait(30)

    def kill_all(self) -> None:
        """Kill every factory that runs."""
        for number in list(self._running):
            self.kill(number)

    @property
    def dead(self) -> list[int]:
        """Those that ended without being killed."""
        return [number for number, process in self._running.items() if process.poll() is not None]

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what the factories wrote; a line that a kill has cut is nobody's."""
        for file in sorted(self._folder.glob("factory-*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)

    def told(self) -> Iterator[Told]:
        """Yield what the server told them."""
        for line in self.lines():
            if line["what"] == "claimed":
                yield Claimed(job=JobId(line["job"]), epoch=Epoch(line["epoch"]), factory=FactoryName(line["factory"]))
            elif line["what"] == "accepted":
                yield Completed(job=JobId(line["job"]), epoch=Epoch(line["epoch"]), accepted=True)


class Fleet:
    """What is under fire. Every method may be called while anything else has just been killed."""

    def __init__(self, folder: Path, *, database: str | None) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.database = database
        self.server = Served(self.home, database=database)
        self.factories = Factories(folder, url=self.server.url)
        self.submitted: list[Told] = []
        self._keys = 0

    async def ask(self, method: str, path: str, body: object, *, headers: str = "") -> Any:
        """Return the body of the answer, however often the server is away meanwhile; a refusal fails the test."""
        async with WireClient(self.server.url) as client:
            while True:
                try:
                    answer = await client.send(method, path, json.dumps(body).encode(), headers=headers)
                except Unreachable:
                    pause(PAUSE_SECONDS)
                    continue
                if answer.status < 500:
                    assert answer.status < 300, f"{method} {path}: {answer}"
                    return answer.body
                pause(PAUSE_SECONDS)

    async def enrol(self, count: int) -> None:
        """Let the factories of the first numbers claim."""
        for number in range(count):
            await self.ask("POST", "/fleet/factories/enroll", {"name": f"factory-{number}", "seats": SEATS})

    async def fund(self) -> None:
        """Give the product a budget that counts and never ends."""
        await self.ask("PUT", f"/fleet/budgets/{PRODUCT}", {"usd": CEILING_USD, "enforced": True})

    async def submit(self, count: int) -> None:
        """Submit so many jobs, each under a key of its own, which makes asking again harmless."""
        for _ in range(count):
            self._keys += 1
            headers = f"Idempotency-Key: soak-{self._keys}\r\n"
            body = {"command": ["true"], "budget": {"usd": USD}, "retry": 5}
            found = await self.ask("POST", f"/fleet/jobs?product={PRODUCT}", body, headers=headers)
            self.submitted.append(Submitted(job=JobId(found["id"])))

    def stages(self) -> dict[str, int]:
        """Return how many jobs stand in each stage, as the store has it."""
        with open_store(self.home, database=self.database) as store, store.read() as tx:
            return {stage.value: count for (_, stage), count in tx.jobs.count_stages().items()}

    def until(self, condition: Callable[[], bool], *, seconds: float, what: str) -> float:
        """Wait until something is so, and return how long that took."""
        began = time.monotonic()
        while not condition():
            assert not self.factories.dead, f"factories {self.factories.dead} ended by themselves"
            assert time.monotonic() - began < seconds, f"{what}: not after {seconds:g} s; {self.server.said}"
            pause(PAUSE_SECONDS)
        return time.monotonic() - began

    def until_over(self, *, seconds: float) -> float:
        """Wait until every job has ended."""
        return self.until(
            lambda: set(self.stages()) <= {"shipped", "failed", "cancelled", "dead_letter"},
            seconds=seconds,
            what="every job to end",
        )


@contextmanager
def fleet(folder: Path, *, database: str | None, factories: int) -> Iterator[Fleet]:
    """Give a fleet that runs, and end it after the block."""
    found = Fleet(folder, database=database)
    found.server.start()
    try:
        asyncio.run(found.enrol(factories))
        for number in range(factories):
            found.factories.boot(number)
        yield found
    finally:
        found.factories.kill_all()
        found.server.stop()


def moments(pick: random.Random, count: int) -> Iterator[float]:
    """Yield random lengths of time between two blows: most are short, some let the fleet work."""
    for _ in range(count):
        yield min(3.0, pick.expovariate(2.0))
