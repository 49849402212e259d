"""Change what the engine keeps in memory together with what is stored of it.

Taking something away begins in memory, so that nothing is given out in between; giving something begins in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pilothouse.engine.engine import Engine
from pilothouse.engine.scheduler import Scheduler
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.ids import FactoryName, SessionNumber
from pilothouse.ports.store import Transaction

T = TypeVar("T")


async def retire(engine: Engine, name: FactoryName, act: Callable[[Transaction], tuple[Factory, T]]) -> T:
    """Return what the act told beside the factory that it took everything from; no word of it is heard meanwhile."""

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
            await engine.look_async(lambda scheduler: scheduler.enrol(before))
        raise
    await engine.look_async(forget)
    await engine.look_async(lambda scheduler: scheduler.enrol(after))
    return result
