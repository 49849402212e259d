"""Other queues, each drained by a program of its own in an interpreter of their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from pilothouse.canonical import Json
from pilothouse.testing.fleet_bench.place import Place
from pilothouse.testing.fleet_bench.probe import quantile
from pilothouse.testing.fleet_bench.rows import Figures, System

PAYLOAD_BYTES = 200
PROGRAMS = Path(__file__).with_name("peers")
PATIENCE_SECONDS = 240.0
"""What a peer may need beyond its measured seconds: to install itself, to enqueue, to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A queue that others install. `jobs_per_second` is what to enqueue for each second that is to be measured."""

    name: str
    store: str
    program: str
    clients: int
    jobs_per_second: int
    contract: str
    options: Mapping[str, Json]


PEERS = (
    Peer(
        name="pgqueuer",
        store="postgres",
        program="drain_pgqueuer.py",
        clients=100,
        jobs_per_second=20_000,
        contract="heartbeat per job, no epoch; the job's row is deleted at its end, a log row for each change; "
        "ends are written in batches after the work, so a crash repeats up to a batch",
        options={"driver": "asyncpg"},
    ),
    Peer(
        name="procrastinate",
        store="postgres",
        program="drain_procrastinate.py",
        clients=1,
        jobs_per_second=1_500,
        contract="heartbeat per worker, no epoch; the job's row stays, an event row for each change",
        options={},
    ),
    Peer(
        name="dbos",
        store="postgres",
        program="drain_dbos.py",
        clients=1_000,
        jobs_per_second=1_200,
        contract="belongs to an executor by name, no lease, no epoch; the workflow's row stays, with its output",
        options={"concurrency": 1_000},
    ),
    Peer(
        name="dbos",
        store="sqlite",
        program="drain_dbos.py",
        clients=100,
        jobs_per_second=800,
        contract="belongs to an executor by name, no lease, no epoch; the workflow's row stays, with its output",
        options={"concurrency": 100},
    ),
    Peer(
        name="huey",
        store="sqlite",
        program="drain_huey.py",
        clients=1,
        jobs_per_second=20_000,
        contract="the job's row is deleted when it is taken: no lease, no epoch, no history; a crash loses the job",
        options={},
    ),
)


def peer_systems(place: Place, *, interpreter: Path, seconds: float) -> list[System]:
    """Return the peers of this store, ready to be measured."""
    return [_system(peer, place, interpreter, seconds) for peer in PEERS if peer.store == place.store]


def _system(peer: Peer, place: Place, interpreter: Path, seconds: float) -> System:
    def measure() -> Figures:
        return drain(peer, place.fresh(), interpreter=interpreter, seconds=seconds)

    return System(name=peer.name, store=peer.store, contract=peer.contract, clients=peer.clients, measure=measure)


def drain(peer: Peer, fresh: AbstractContextManager[str], *, interpreter: Path, seconds: float) -> Figures:
    """Return what the peer's program measured, or the reason why it did not."""
    if not interpreter.exists():
        return Figures(reason=f"there is no {interpreter}; run `make peers`, or name it with --peers-python")
    with fresh as address:
        where = {"dsn": address} if peer.store == "postgres" else {"folder": address}
        options = {
            **where,
            **peer.options,
            "jobs": max(1, round(peer.jobs_per_second * seconds)),
            "seconds": seconds,
            "payload": PAYLOAD_BYTES,
        }
        try:
            ended = subprocess.run(  # noqa: S603  the command is composed here
                [str(interpreter), str(PROGRAMS / peer.program), json.dumps(options)],
                capture_output=True,
                text=True,
                timeout=seconds + PATIENCE_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Figures(reason=str(error))
    return _read(ended)


def _read(ended: subprocess.CompletedProcess[str]) -> Figures:
    told = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode or not told:
        said = ended.stderr.strip().splitlines()
        return Figures(reason=said[-1] if said else f"it ended with {ended.returncode} and said nothing")
    found = json.loads(told[-1])
    claims = found["claim_ms"]
    return Figures(
        claim_complete_per_s=found["done"] / found["seconds"],
        claim_p50_ms=quantile(claims, 0.5) if claims else None,
        claim_p99_ms=quantile(claims, 0.99) if claims else None,
        enqueue_per_s=found["enqueue_per_s"],
        processor_us_per_job=found["processor_s"] / found["done"] * 1e6 if found["done"] else None,
        done=found["done"],
        seconds=found["seconds"],
        version=found["version"],
        setting=found["setting"],
    )
