"""The server at work: the home's engine, the app over it, and the socket."""

from __future__ import annotations

import ipaddress
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import TypeVar

import uvicorn
from starlette.types import ASGIApp

from pilothouse.access.roles import Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell
from pilothouse.engine.ownership import own_engine
from pilothouse.engine.scheduler import Scheduler
from pilothouse.errors import Conflict, LeaseLost, OperationFailed, Refused
from pilothouse.ports.store import Transaction
from pilothouse.settings import Settings
from pilothouse.web.app import Face, build_app
from pilothouse.web.edge import loopback_hosts
from pilothouse.web.figures import Figures
from pilothouse.web.identity import Gate, Tokens
from pilothouse.web.parts import Parts
from pilothouse.web.rates import Rates
from pilothouse.wiring.lead import lead
from pilothouse.wiring.local_factory import local_factory
from pilothouse.wiring.publishing import hook_secret_of, publishing
from pilothouse.wiring.server_file import leave_note, living_server, take_note_away
from pilothouse.wiring.workspace import Workspace, open_workspace

T = TypeVar("T")
DEFAULT_PORT = 8750
BACKLOG = 2048
GRACE_SECONDS = 3
"""How long answers that are under way may take when the server ends."""
OWNER = "owner"
"""The name under which the home's owner acts on a server that asks for tokens."""

__all__ = ["DEFAULT_PORT", "ServerOrder", "living_server", "local_app", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOrder:
    """How a server is started. `authenticate` of None means wherever it can be reached from outside.

    With `local_seats`, a factory of this machine works for it.
    """

    host: str
    port: int
    authenticate: bool | None = None
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
        text, own = _owners_token(workspace)
        yield build_app(_parts(workspace, engine, open_loopback=True, extra=[own]), Face()), text


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
    reachable = not is_loopback(order.host)
    if reachable and order.authenticate is False:
        raise Refused(
            f"{order.host} can be reached from outside, and whoever reaches it could run commands on your factories",
            fix="leave --no-auth out, or bind to 127.0.0.1",
        )
    authenticate = reachable if order.authenticate is None else order.authenticate
    workspace = open_workspace(settings, create=True)
    deposed, ended = threading.Event(), threading.Event()

    def depose() -> None:
        deposed.set()
        ended.set()

    with (
        own_engine(workspace.home, boot=secrets.token_hex(8)) as owner,
        _bound(order) as listening,
        lead(workspace, owner, depose, waiting=waiting),
    ):
        if reachable:
            _check_someone_may_enter(workspace)
        with Engine(workspace.store, workspace.clock) as engine, ExitStack() as stack:
            keeper = None
            if order.local_seats:
                local = local_factory(workspace, engine, seats=order.local_seats, given_up=ended.set)
                keeper = stack.enter_context(local)
            try:
                listening.listen(BACKLOG)
            except OSError as error:
                raise _taken(order, error) from error
            bell = Bell()
            with publishing(workspace, engine, bell):
                caught = _run(workspace, engine, listening, bell, authenticate=authenticate, ready=ready, ended=ended)
    if keeper is not None and keeper.failure is not None:
        raise keeper.failure
    if deposed.is_set():
        raise LeaseLost("another server leads this database now", fix="start this one again; it stands by")
    return caught


def _run(
    workspace: Workspace,
    engine: Engine,
    listening: socket.socket,
    bell: Bell,
    *,
    authenticate: bool,
    ready: Callable[[str], None],
    ended: threading.Event,
) -> int | None:
    host, port = listening.getsockname()[:2]
    text, own = _owners_token(workspace)
    parts = _parts(workspace, engine, open_loopback=not authenticate, extra=[own])
    parts = replace(parts, hook_secret=hook_secret_of(workspace.publishing), ring=bell.ring)
    app = build_app(parts, Face(hosts=loopback_hosts(port) if is_loopback(host) else None))
    server = _Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        leaving=parts.waiting.leave,
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    # Whoever finds the note may send a signal at once.
    with server.capture_signals():
        leave_note(workspace.home, url=url, token=text)
        leaver = threading.Thread(target=_leave_when, args=(ended, server), name="leave-when-ended", daemon=True)
        leaver.start()
        try:
            ready(url)
            server.run(sockets=[listening])
        finally:
            take_note_away(workspace.home)
            server.over.set()
            ended.set()
            leaver.join(GRACE_SECONDS)
    return server.caught


def _leave_when(ended: threading.Event, server: _Server) -> None:
    ended.wait()
    if not server.over.is_set():
        server.leave()


class _Server(uvicorn.Server):
    """Uvicorn that notes the signal that ended it, and leaves the rest to whoever started it."""

    def __init__(self, config: uvicorn.Config, *, leaving: Callable[[], None]) -> None:
        super().__init__(config)
        self.caught: int | None = None
        self.over = threading.Event()
        self._leaving = leaving

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hold the signals that end a server for as long as it serves."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to leave; whoever waits for a job is answered at once."""
        self.caught = self.caught or sig
        super().handle_exit(sig, frame)
        self._leaving()

    def leave(self) -> None:
        """Begin to leave although nobody has asked."""
        self.should_exit = True
        self._leaving()


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parts(workspace: Workspace, engine: Engine, *, open_loopback: bool, extra: Sequence[Token]) -> Parts:
    def stored(name: str) -> Token | None:
        with engine.read() as tx:
            return tx.access.by_id(name)

    gate = Gate(
        tokens=Tokens(stored, workspace.clock, extra=extra),
        clock=workspace.clock,
        rates=Rates(workspace.clock, per_second=workspace.requests_per_second),
        open_loopback=open_loopback,
        default_product=lambda: workspace.product,
    )
    return Parts(
        engine=engine,
        blobs=workspace.blobs,
        clock=workspace.clock,
        gate=gate,
        figures=Figures(),
        entropy=secrets.token_bytes,
        home=workspace.home,
        scratch=workspace.home / "incoming",
    )


def _owners_token(workspace: Workspace) -> tuple[str, Token]:
    """Return a token that lives as long as this process: whoever can read the home may do all with it anyway."""
    grant = Grant(kind=TokenKind.USER, name=OWNER, role=Role.ADMIN, product=None)
    return mint_token(grant, entropy=secrets.token_bytes(ENTROPY_BYTES), now=workspace.clock.now(), expires_at=None)


def _check_someone_may_enter(workspace: Workspace) -> None:
    now = workspace.clock.now()
    with workspace.store.read() as tx:
        good = [token for token in tx.access.listed(None) if token.fault(now=now) is None]
    if not any(token.role is Role.ADMIN for token in good):
        raise Refused(
            "nobody could be told from anybody else: this home has no admin's token, and the address is no loopback",
            fix="make one first: `pilothouse token create NAME --role admin`",
        )


@contextmanager
def _bound(order: ServerOrder) -> Iterator[socket.socket]:
    """Yield a bound socket; nobody is let in before it listens, which only a server that leads does."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            order.host, order.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise OperationFailed(f"{order.host!r} is no address: {error}", fix="write --host 127.0.0.1") from error
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
        except OSError as error:
            raise _taken(order, error) from error
        yield listening


def _taken(order: ServerOrder, error: OSError) -> Conflict:
    return Conflict(
        f"port {order.port} of {order.host} cannot be had: {error.strerror}",
        fix="end whatever listens there, or take another with --port; 0 takes any that is free",
    )
