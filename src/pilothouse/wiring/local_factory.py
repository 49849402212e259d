"""A factory process of the server's own machine, kept at work beside it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pilothouse.engine.engine import Engine
from pilothouse.factory.child import ChildWork, FactoryChild
from pilothouse.factory.discover import discover
from pilothouse.factory.keeper import FactoryKeeper
from pilothouse.factory.orphans import sweep_orphans
from pilothouse.fleet.factory import Factory
from pilothouse.fleet.place import EVERY_PRODUCT
from pilothouse.ids import BootId, FactoryName
from pilothouse.settings import search_path
from pilothouse.wiring.approved_code import ApprovedCode
from pilothouse.wiring.conditions import code_commit
from pilothouse.wiring.workspace import Workspace

STOP_SECONDS = 45.0


@contextmanager
def local_factory(
    workspace: Workspace, engine: Engine, *, seats: int, given_up: Callable[[], None]
) -> Iterator[FactoryKeeper]:
    """Keep one factory with so many seats at work for the block; `given_up` is called when it keeps dying.

    What an earlier owner of the home left behind is ended and taken back first, so that nothing runs twice.
    """
    name = FactoryName(f"local-{socket.gethostname()}")
    table = workspace.factory
    sweep_orphans(workspace.home)
    with engine.read() as tx:
        dead = [kept.session for kept in tx.factories.open_sessions() if kept.session.factory == name]
    for session in dead:
        engine.rescue_boot(session.factory, session.boot)
    facts = discover(seats=seats, engines=table.engines, path=search_path(), extra=table.capabilities)
    engine.enrol(
        Factory(
            product=EVERY_PRODUCT,
            name=name,
            capabilities=facts.capabilities,
            engines=facts.engines,
            seats=facts.seats,
            gpus=facts.gpus,
        )
    )
    dispatch = ApprovedCode(engine, partial(code_commit, workspace.home))
    work = ChildWork(seats=seats, engines=table.engines, capabilities=table.capabilities)
    keeper = FactoryKeeper(
        lambda boot: FactoryChild(
            dispatch, home=workspace.home, work_folder=Path.cwd(), name=name, boot=boot, work=work
        ),
        rescue=lambda boot: engine.rescue_boot(name, boot),
        new_boot=lambda: BootId(secrets.token_hex(8)),
        monotonic=workspace.clock.monotonic,
        given_up=given_up,
    )
    keeper.open()
    try:
        yield keeper
    finally:
        keeper.close(grace_seconds=STOP_SECONDS)
