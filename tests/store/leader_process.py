"""A server that leads and writes: `python leader_process.py DSN HOLDER SECONDS`.

It prints `led EPOCH`, then `kept NUMBER` after each commit, and `lost` once it is told that another server leads.
"""

from __future__ import annotations

import sys

from pilothouse.errors import LeaseLost, StorageFailed
from pilothouse.store.postgres.store import PostgresStore
from pilothouse.testing import values
from pilothouse.testing.jobs_conformance import insert


def main(dsn: str, holder: str, seconds: float) -> None:
    """Lead until the lead is lost, without ever renewing it."""
    store = PostgresStore(dsn)
    store._writer.run("SET idle_in_transaction_session_timeout = '100ms'")
    say(f"led {store.lead(holder, seconds=seconds)}")
    for number in range(1, 1_000_000):
        try:
            with store.write() as tx:
                insert(tx, values.make_new_job(number, key=f"{holder}/{number}"))
        except LeaseLost:
            say("lost")
            return
        except StorageFailed as error:
            # It was stopped inside the transaction, so the server has given up on it.
            say(f"failed {error.message}")
            continue
        say(f"kept {number}")


def say(text: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
