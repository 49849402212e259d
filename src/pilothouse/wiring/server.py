"""The server at work: the home's engine, the app over it, and the socket."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from starlette.types import ASGIApp

from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell
from pilothouse.engine.ownership import own_engine
from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import LeaseLost, Refused
from pilothouse.ports.store import Transaction
from pilothouse.settings import Settings
from pilothouse.web.app import Face, build_app
from pilothouse.wiring.lead import lead
from pilothouse.wiring.listening import Address, bound, check_someone_may_enter, listen
from pilothouse.wiring.local_factory import local_factory
from pilothouse.wiring.publishing import publishing
from pilothouse.wiring.server_file import living_server
from pilothouse.wiring.serving import Serving, owners_token, parts_of_home, serve_until
from pilothouse.wiring.workspace import Workspace, open_workspace

T = TypeVar("T")

__all__ = ["ServerOrder", "living_server", "local_app", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOrder:
    """How a server is started: where, and with how many seats of a factory of this machine."""

    address: Address
    local_seats: int = 0


@contextmanager
def local_app(settings: Settings, *, create: bool) -> Iterator[tuple[ASGIApp, str]]:
    """Yield the app over the home's own database, for one command in this process, and its owner's token.

    With `create` the command may write, for which it has to be the only one. What only reads keeps nobody from writing.
    """
    workspace = open_workspace(settings, create=create)
    with ExitStack() as stack:
        engine: Engine = Onlooker(workspace)
        if create:
            now_or_never = threading.Event()
            now_or_never.set()
            owner = stack.enter_context(own_engine(workspace.home, boot=secrets.token_hex(8)))
            stack.enter_context(lead(workspace, owner, lambda: None, stop=now_or_never))
            engine = stack.enter_context(Engine(workspace.store, workspace.clock))
        text, own = owners_token(workspace)
        yield build_app(parts_of_home(workspace, engine, open_loopback=True, extra=[own]), Face()), text


class Onlooker(Engine):
    """An engine that only reads: its memory is loaded when somebody looks into it, and it changes nothing."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace.store, workspace.clock)
        self._loaded = False

    async def look_async(self, look: Callable[[Scheduler], T]) -> T:
        """Return what is read from the memory as it was loaded at the first look."""
        if not self._loaded:
            self._scheduler.load()
            self._loaded = True
        return look(self._scheduler)

    async def apply_async(self, act: Callable[[Transaction], T]) -> T:
        """Refuse: whoever writes would not know of it."""
        raise Refused(f"{act!r} was given to an engine that only reads", fix="report it as a fault of Pilothouse")


def serve(
    settings: Settings, order: ServerOrder, *, ready: Callable[[str], None], waiting: Callable[[str], None]
) -> int | None:
    """Serve until a signal comes, and return its number; `ready` is told the URL once the server answers.

    Of several servers on one database one serves, and the others stand by; `waiting` is told who leads.
    """
    address = order.address
    authenticate = address.asks_for_tokens()
    workspace = open_workspace(settings, create=True)
    deposed, ended = threading.Event(), threading.Event()

    def depose() -> None:
        deposed.set()
        ended.set()

    with (
        own_engine(workspace.home, boot=secrets.token_hex(8)) as owner,
        bound(address) as listening,
        lead(workspace, owner, depose, waiting=waiting),
    ):
        check_someone_may_enter(workspace, address)
        with Engine(workspace.store, workspace.clock) as engine, ExitStack() as stack:
            keeper = None
            if order.local_seats:
                local = local_factory(workspace, engine, seats=order.local_seats, given_up=ended.set)
                keeper = stack.enter_context(local)
            listen(listening, address)
            serving = Serving(workspace=workspace, engine=engine, bell=Bell())
            with publishing(workspace, engine, serving.bell):
                caught = serve_until(serving, listening, authenticate=authenticate, ready=ready, ended=ended)
    if keeper is not None and keeper.failure is not None:
        raise keeper.failure
    if deposed.is_set():
        raise LeaseLost("another server leads this database now", fix="start this one again; it stands by")
    return caught
