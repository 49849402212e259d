"""What a real server does over real sockets, and what it costs when nobody asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import psutil

from pilothouse.canonical import Json
from pilothouse.errors import OperationFailed
from pilothouse.testing.fleet_bench.load import BOOT, Tally, enqueue, enrol, factory_name, opened
from pilothouse.testing.fleet_bench.peers_beside import PAYLOAD_BYTES
from pilothouse.testing.fleet_bench.place import Place
from pilothouse.testing.fleet_bench.probe import quantile
from pilothouse.testing.fleet_bench.run import Order
from pilothouse.testing.fleet_bench.wire_client import WireClient
from pilothouse.testing.served import Served, served

Progress = Callable[[str], None]
FACTORIES = 64
SEATS = 16
JOBS_PER_SECOND = 12_000
IDLE_SECONDS = 20.0
SETTLE_SECONDS = 3.0
REPORT = {
    "outcome": "succeeded",
    "detail": "",
    "exit_code": 0,
    "metrics": {},
    "artifacts": [],
    "seconds": 0.0,
}


@contextmanager
def filled_server(place: Place, order: Order, *, jobs: int) -> Iterator[Served]:
    """Give a server with so many jobs that wait for its factories."""
    with place.fresh() as address:
        if jobs:
            with opened(place, address, order.clock) as engine:
                enrol(engine, FACTORIES, seats=SEATS)
                enqueue(engine, jobs, payload=PAYLOAD_BYTES, clock=order.clock)
        if place.store == "sqlite":
            with served(Path(address)) as server:
                yield server
        else:
            home = place.folder / "home"
            with served(home, database=address) as server:
                yield server


def http_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return the claims and completions a second of 64 factories, each with a connection of its own."""
    progress(f"{FACTORIES} factories over HTTP")
    with filled_server(place, order, jobs=round(JOBS_PER_SECOND * order.seconds)) as server:
        busy = psutil.Process(server.pid)
        before = busy.cpu_times()
        tally = asyncio.run(_factories(server.url, seconds=order.seconds))
        after = busy.cpu_times()
    used = after.user + after.system - before.user - before.system
    return {
        "factories": FACTORIES,
        "jobs_in_a_claim": SEATS,
        "claim_complete_per_s": tally.done / tally.seconds,
        "aim_per_s": 2_000,
        "claim_p50_ms": quantile(tally.claims, 0.5),
        "claim_p99_ms": quantile(tally.claims, 0.99),
        "done": tally.done,
        "server_share_of_a_core": used / tally.seconds,
    }


async def _factories(url: str, *, seconds: float) -> Tally:
    tally = Tally(began=perf_counter())
    until = tally.began + seconds
    await asyncio.gather(*(_factory(url, number, tally, until=until) for number in range(FACTORIES)))
    tally.ended = perf_counter()
    return tally


async def _factory(url: str, number: int, tally: Tally, *, until: float) -> None:
    who = {"factory": factory_name(number), "boot": BOOT}
    async with WireClient(url) as client:
        while (now := perf_counter()) < until:
            claimed = await client.post(
                "/fleet/claim", {**who, "wait_seconds": 0.0, "seats": SEATS, "jobs": SEATS, "held": []}
            )
            tally.claims.append((perf_counter() - now) * 1e3)
            _expect(claimed.status, claimed.body)
            offers = claimed.body["offers"]
            if not offers:
                return
            reports = [{"job": each["job"], "epoch": each["epoch"], "report": REPORT} for each in offers]
            ended = await client.post("/fleet/complete", {**who, "reports": reports})
            _expect(ended.status, ended.body)
            tally.done += sum(result["accepted"] for result in ended.body["results"])


def _expect(status: int, body: object) -> None:
    if status != 200:
        raise OperationFailed(f"the server answered {status}: {body}", fix="read what it says")


def idle_cell(place: Place, order: Order, progress: Progress) -> dict[str, Json]:
    """Return the share of a core that a server takes while nobody asks, and while 64 factories wait for work."""
    pause = threading.Event()
    progress(f"{IDLE_SECONDS:g} s without anybody")
    with filled_server(place, order, jobs=1) as server:
        asyncio.run(_drain(server.url))
        pause.wait(SETTLE_SECONDS)
        alone = _share(server.pid, pause)
        progress(f"{IDLE_SECONDS:g} s with {FACTORIES} factories that wait")
        waiting = asyncio.run(_share_while_waiting(server))
    return {"share_of_a_core": alone, "with_waiting_factories": waiting, "factories": FACTORIES, "aim": 0.01}


async def _drain(url: str) -> None:
    await _factory(url, 0, Tally(), until=perf_counter() + SETTLE_SECONDS)


async def _share_while_waiting(server: Served) -> float:
    waiting = [asyncio.create_task(_wait(server.url, number)) for number in range(FACTORIES)]
    await asyncio.sleep(SETTLE_SECONDS)
    share = await asyncio.to_thread(_share, server.pid, threading.Event())
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    return share


async def _wait(url: str, number: int) -> None:
    who = {"factory": factory_name(number), "boot": BOOT}
    async with WireClient(url) as client:
        await client.post("/fleet/claim", {**who, "wait_seconds": 60.0, "seats": 1, "jobs": 1, "held": []})


def _share(pid: int, pause: threading.Event) -> float:
    """Return the share of one core that a process takes over the next seconds."""
    process = psutil.Process(pid)
    before, began = process.cpu_times(), perf_counter()
    pause.wait(IDLE_SECONDS)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (perf_counter() - began)
