"""Change what the engine keeps in memory together with what is stored of it.

Taking something away begins in memory, so that nothing is given out in between; giving something begins in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from pilothouse.engine.engine import Engine
from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import StorageFailed
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.ids import FactoryName, SessionNumber
from pilothouse.operations.factories import find_factory
from pilothouse.ports.store import Transaction

T = TypeVar("T")


async def retire(engine: Engine, name: FactoryName, act: Callable[[Transaction], tuple[Factory | None, T]]) -> T:
    """Return what the act told beside the factory that it took everything from, None if that is forgotten.

    No word of the factory is heard meanwhile. An act that fails, or is not answered in time, leaves it as it is stored.
    """

    def silence(scheduler: Scheduler) -> tuple[Factory | None, list[SessionNumber]]:
        known = scheduler.roster.factories.get(name)
        if known is not None:
            scheduler.enrol(replace(known, state=FactoryState.REVOKED))
        return known, [number for number, session in scheduler.roster.sessions.items() if session.factory == name]

    before, sessions = await engine.look_async(silence)

    def forget(scheduler: Scheduler) -> None:
        for number in sessions:
            scheduler.roster.close(number)

    try:
        after, result = await engine.apply_async(act)
    except BaseException:
        if before is not None:
            # Behind an act that is only late, so that what is stored then counts, and not what was known before. A
            # database that fails has the engine's memory loaded anew anyway.
            with suppress(StorageFailed):
                await engine.apply_async(lambda tx: _repeat(tx, name, now=engine.now()))
        raise
    await engine.look_async(forget)
    if after is not None:
        await engine.look_async(lambda scheduler: scheduler.enrol(after))
    return result


def _repeat(tx: Transaction, name: FactoryName, *, now: datetime) -> None:
    """Store a factory as it is stored: after the commit memory has it so too."""
    stored = find_factory(tx, name)
    if stored is not None:
        tx.factories.put(stored, now=now)
