"""The socket of a server: where it is bound, and who is asked for a token there."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pilothouse.access.roles import Role
from pilothouse.errors import Conflict, OperationFailed, Refused
from pilothouse.wiring.workspace import Workspace

DEFAULT_PORT = 8750
BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is bound; `authenticate` of None asks for tokens wherever it can be reached from outside."""

    host: str
    port: int
    authenticate: bool | None = None

    @property
    def reachable(self) -> bool:
        """Whether other machines can reach it."""
        return not is_loopback(self.host)

    def asks_for_tokens(self) -> bool:
        """Return whether everybody is asked for a token; raise `Refused` where nobody may be let in without one."""
        if self.reachable and self.authenticate is False:
            raise Refused(
                f"{self.host} can be reached from outside, and whoever reaches it could run commands on your factories",
                fix="leave --no-auth out, or bind to 127.0.0.1",
            )
        return self.reachable if self.authenticate is None else self.authenticate


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_someone_may_enter(workspace: Workspace, address: Address) -> None:
    """Refuse an address that others reach while this home has no token by which anybody could be told apart."""
    if not address.reachable:
        return
    now = workspace.clock.now()
    with workspace.store.read() as tx:
        good = [token for token in tx.access.listed(None) if token.fault(now=now) is None]
    if not any(token.role is Role.ADMIN for token in good):
        raise Refused(
            "nobody could be told from anybody else: this home has no admin's token, and the address is no loopback",
            fix="make one first: `pilothouse token create NAME --role admin`",
        )


@contextmanager
def bound(address: Address) -> Iterator[socket.socket]:
    """Yield a bound socket; nobody is let in before it listens, which only a server that leads does."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise OperationFailed(f"{address.host!r} is no address: {error}", fix="write --host 127.0.0.1") from error
    with socket.socket(family, kind, protocol) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(place)
        except OSError as error:
            raise _taken(address, error) from error
        yield listening


def listen(listening: socket.socket, address: Address) -> None:
    """Let askers in; raise `Conflict` where another process listens already."""
    try:
        listening.listen(BACKLOG)
    except OSError as error:
        raise _taken(address, error) from error


def _taken(address: Address, error: OSError) -> Conflict:
    return Conflict(
        f"port {address.port} of {address.host} cannot be had: {error.strerror}",
        fix="end whatever listens there, or take another port with --port or --listen; 0 takes any that is free",
    )
