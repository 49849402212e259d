"""The app behind a socket: for a process that does nothing else, or beside a campaign's loop."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType

import uvicorn

from pilothouse.access.roles import Permission, Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.engine.engine import Engine
from pilothouse.engine.forge_watch import Bell
from pilothouse.ports.store import Transaction
from pilothouse.web.app import Face, build_app
from pilothouse.web.edge import loopback_hosts
from pilothouse.web.figures import Figures
from pilothouse.web.identity import Gate, Tokens
from pilothouse.web.parts import Parts
from pilothouse.web.rates import Rates
from pilothouse.wiring.listening import Address, bound, check_someone_may_enter, is_loopback, listen
from pilothouse.wiring.publishing import hook_secret_of
from pilothouse.wiring.server_file import leave_note, take_note_away
from pilothouse.wiring.workspace import Workspace

GRACE_SECONDS = 3
"""How long answers that are under way may take when the server ends."""
OWNER = "owner"
"""The name under which the home's owner acts."""
WORK = frozenset({Permission.WORK, Permission.ENROL})
"""What a campaign's own server gives to nobody: its runs go to the factory of this machine, as was approved."""
ACTS = frozenset(Permission) - {Permission.READ, Permission.FETCH}
"""What it does for nobody without a name: that factory takes whatever is submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server is made of: the engine, whom it rings for webhooks, what it does for nobody or only by name."""

    workspace: Workspace
    engine: Engine
    bell: Bell
    closed: frozenset[Permission] = frozenset()
    named: frozenset[Permission] = frozenset()


def beside_campaign(serving: Serving) -> Serving:
    """Return what is served beside a campaign's loop: the gate, and what can be read."""
    return replace(serving, closed=WORK, named=ACTS)


def owners_token(workspace: Workspace) -> tuple[str, Token]:
    """Return a token that lives as long as this process: whoever can read the home may do all with it anyway."""
    grant = Grant(kind=TokenKind.USER, name=OWNER, role=Role.ADMIN, product=None)
    return mint_token(grant, entropy=secrets.token_bytes(ENTROPY_BYTES), now=workspace.clock.now(), expires_at=None)


def parts_of_home(
    workspace: Workspace,
    engine: Engine,
    *,
    open_loopback: bool,
    extra: Sequence[Token],
) -> Parts:
    """Return what the routes work with, over the home's own database."""

    def stored(name: str) -> Token | None:
        with engine.read() as tx:
            return _by_id(tx, name)

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


def _by_id(tx: Transaction, name: str) -> Token | None:
    return tx.access.by_id(name)


def serve_until(
    serving: Serving,
    listening: socket.socket,
    *,
    authenticate: bool,
    ready: Callable[[str], None],
    ended: threading.Event,
) -> int | None:
    """Serve in this thread until a signal comes, and return its number; `ended` ends it as well."""
    server, url, text = _server(serving, listening, authenticate=authenticate)
    # Whoever finds the note may send a signal at once.
    with server.capture_signals():
        leave_note(serving.workspace.home, url=url, token=text)
        leaver = threading.Thread(target=_leave_when, args=(ended, server), name="leave-when-ended", daemon=True)
        leaver.start()
        try:
            ready(url)
            server.run(sockets=[listening])
        finally:
            take_note_away(serving.workspace.home)
            server.over.set()
            ended.set()
            leaver.join(GRACE_SECONDS)
    return server.caught


@contextmanager
def shown(serving: Serving, address: Address) -> Iterator[str]:
    """Serve beside the block, and yield the URL; the block's own process keeps its signals."""
    authenticate = address.asks_for_tokens()
    check_someone_may_enter(serving.workspace, address)
    with bound(address) as listening:
        listen(listening, address)
        server, url, text = _server(serving, listening, authenticate=authenticate)
        thread = threading.Thread(target=server.run, args=([listening],), name="serving", daemon=True)
        leave_note(serving.workspace.home, url=url, token=text)
        thread.start()
        try:
            yield url
        finally:
            take_note_away(serving.workspace.home)
            server.leave()
            thread.join(GRACE_SECONDS + 1)


def _server(serving: Serving, listening: socket.socket, *, authenticate: bool) -> tuple[_Server, str, str]:
    """Return the server over the socket, its URL, and the text of the owner's token."""
    host, port = listening.getsockname()[:2]
    text, own = owners_token(serving.workspace)
    parts = parts_of_home(serving.workspace, serving.engine, open_loopback=not authenticate, extra=[own])
    parts = replace(parts, gate=replace(parts.gate, closed=serving.closed, named=serving.named))
    parts = replace(parts, hook_secret=hook_secret_of(serving.workspace.publishing), ring=serving.bell.ring)
    config = uvicorn.Config(
        build_app(parts, Face(hosts=loopback_hosts(port) if is_loopback(host) else None)),
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
    )
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return _Server(config, leaving=parts.waiting.leave), url, text


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
        """Hold the signals that end a server for as long as it serves; beside a loop they are the loop's."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
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
