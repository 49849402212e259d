"""A factory without work: it claims, says what it was told, and reports success, until it is killed.

    python light_factory.py URL NAME BOOT SEATS FILE [TOKEN]

Every line of the file is one JSON object, written and flushed before the factory acts on it, so that whatever the
factory was told or has asked for stands there when it is killed. Times are of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pilothouse.errors import Unreachable
from pilothouse.testing.fleet_bench.wire_client import Answer, WireClient

CLAIM_SECONDS = 2.0
BEAT_SECONDS = 15.0
PAUSE_SECONDS = 0.05
USD = 0.01
CONFLICT = 409
OK = 200


class LightFactory:
    """One boot of one factory, over one connection."""

    def __init__(self, client: WireClient, *, name: str, boot: str, seats: int, file: str) -> None:
        self._client = client
        self._who = {"factory": name, "boot": boot}
        self._seats = seats
        self._log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write lines, and return when they are on the disk."""
        whole = "".join(json.dumps({**self._who, **line}) + "\n" for line in lines)
        os.write(self._log, whole.encode())
        os.fsync(self._log)

    async def ask(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Return the answer of the server, however often it is away meanwhile."""
        while True:
            try:
                answer = await self._client.post(path, {**self._who, **body})
            except Unreachable:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if answer.status < 500:
                return answer
            self.write([{"what": "problem", "path": path, "status": answer.status, "body": answer.body}])
            await asyncio.sleep(PAUSE_SECONDS)

    async def work(self) -> None:
        """Claim and end jobs until the boot is given up by the server, or by a kill."""
        beat_at = time.monotonic()
        while True:
            began = time.monotonic()
            if began - beat_at > BEAT_SECONDS:
                beat_at = began
                await self.ask("/fleet/factories/heartbeat", {"held": []})
            claimed = await self.ask(
                "/fleet/claim", {"wait_seconds": CLAIM_SECONDS, "seats": self._seats, "jobs": self._seats, "held": []}
            )
            ended = time.monotonic()
            if claimed.status != OK:
                self.write([{"what": "refused", "path": "claim", "status": claimed.status, "body": claimed.body}])
                return
            offers = [{"job": offer["job"], "epoch": offer["epoch"]} for offer in claimed.body["offers"]]
            if offers:
                self.write([{"what": "claimed", **offer, "from": began, "to": ended} for offer in offers])
                await self.report(offers)

    async def report(self, offers: Sequence[Mapping[str, Any]]) -> None:
        """Report success of all of them, and write down which were accepted."""
        began = time.monotonic()
        self.write([{"what": "reporting", **offer, "from": began} for offer in offers])
        report = {
            "outcome": "succeeded",
            "detail": "",
            "exit_code": 0,
            "metrics": {},
            "artifacts": [],
            "seconds": 1.0,
            "cost": {"usd": USD, "gpu_hours": 0.0, "tokens": 0.0},
        }
        answer = await self.ask("/fleet/complete", {"reports": [{**offer, "report": report} for offer in offers]})
        ended = time.monotonic()
        if answer.status != OK:
            self.write([{"what": "refused", "path": "complete", "status": answer.status, "body": answer.body}])
            return
        self.write(
            [
                {
                    "what": "accepted" if result["accepted"] else "fenced",
                    "job": result["job"],
                    "epoch": result["epoch"],
                    "from": began,
                    "to": ended,
                }
                for result in answer.body["results"]
            ]
        )


async def main(url: str, name: str, boot: str, seats: str, file: str, token: str | None = None) -> None:
    """Work as one boot after another: one that the server has given up is followed by the next."""
    async with WireClient(url, token=token) as client:
        for again in range(10**6):
            await LightFactory(client, name=name, boot=f"{boot}-{again}", seats=int(seats), file=file).work()
            await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
