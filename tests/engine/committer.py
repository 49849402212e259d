"""A process that submits, claims and completes jobs until it is killed, and says after each answer what was answered.

    python committer.py DATABASE ROUND

Every line goes out only after the engine has answered, so what the reader has seen must be in the database.
"""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from pilothouse.engine.engine import Engine
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.job import Outcome
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.ids import BootId, FactoryName
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.values import FACTORY

THREADS = 4


class RealClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present in UTC."""
        return datetime.now(UTC)  # noqa: TID251  a process of its own has to read the clock somewhere

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return monotonic()

    def entropy(self) -> bytes:
        """Never asked for here."""
        raise NotImplementedError


class Committer:
    """One round of work; `say` writes a whole line at once."""

    def __init__(self, engine: Engine, round_number: int) -> None:
        self.engine = engine
        self.round_number = round_number
        self.boot = BootId(f"boot-{round_number}")
        self._saying = threading.Lock()

    def say(self, line: str) -> None:
        """Tell the reader what was answered."""
        with self._saying:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def factory(self, thread: int) -> FactoryName:
        """Return the name under which a thread claims; a factory knows what it holds, so no two threads are one."""
        return FactoryName(f"{FACTORY}-{thread}")

    def hold(self) -> None:
        """Take a job and never end it, so that every kill leaves one behind that was held."""
        job = self.engine.submit(values.make_new_job((self.round_number + 1) * THREADS * 10**6 - 1))
        self.say(f"submitted {job.id} 0")
        for offer in self.engine.claim(factory=self.factory(THREADS), boot=self.boot, wait_seconds=0, seats=1):
            self.say(f"claimed {offer.job} {offer.epoch}")
            self.engine.start(offer.job, epoch=offer.epoch, pid=1, pid_started=1.0)
            self.say(f"started {offer.job} {offer.epoch}")

    def work(self, thread: int) -> None:
        """Submit a job, claim one, end it, and begin again."""
        for count in range(10**6):
            number = (self.round_number * THREADS + thread) * 10**6 + count
            job = self.engine.submit(values.make_new_job(number))
            self.say(f"submitted {job.id} 0")
            offers = self.engine.claim(factory=self.factory(thread), boot=self.boot, wait_seconds=0, seats=1)
            if not offers:
                continue
            taken, epoch = offers[0].job, offers[0].epoch
            self.say(f"claimed {taken} {epoch}")
            self.engine.start(taken, epoch=epoch, pid=1, pid_started=1.0)
            self.say(f"started {taken} {epoch}")
            outcome = Outcome.PREEMPTED if count % 3 == 0 else Outcome.SUCCEEDED
            report = values.make_report(outcome, artifacts=(values.make_artifact(),))
            self.engine.complete(taken, epoch=epoch, report=report)
            self.say(f"{outcome.value} {taken} {epoch}")


def main(database: str, round_number: str) -> None:
    """Work on several threads until the end, which is a SIGKILL."""
    with Engine(SqliteStore(Path(database)), RealClock()) as engine:
        committer = Committer(engine, int(round_number))
        for number in range(THREADS + 1):
            # The first word of the new boot takes back what the killed one held.
            engine.enrol(Factory(product=EVERY_PRODUCT, name=committer.factory(number)))
            engine.beat(factory=committer.factory(number), boot=committer.boot, held=())
        committer.hold()
        threads = [threading.Thread(target=committer.work, args=(number,), daemon=True) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(600)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
