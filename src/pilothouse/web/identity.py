"""Who asks: the bearer's token, looked up and weighed by the one rule in `access.authorise`.

A token is shown with every request, so it is kept in memory for a while. What this process changes is seen at once;
what another server on the same database changes is seen within `FRESH_SECONDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from pilothouse.access.audit import NOBODY_ELSE, Actor, actor_of
from pilothouse.access.authorise import Allowed, authorise
from pilothouse.access.roles import Permission
from pilothouse.access.token import Token, is_text_of, token_id
from pilothouse.errors import NotAuthenticated, Refused
from pilothouse.ids import ProductId
from pilothouse.ports.clock import Clock
from pilothouse.web.rates import Rates

FRESH_SECONDS = 2.0
KEPT_MAX = 10_000
COUNTED = "pilothouse.counted"
"""In a request's scope: its token's bucket has been asked already."""
NO_TOKEN = "send a token that is good as `Authorization: Bearer TOKEN`"  # noqa: S105  a sentence, no secret


class Tokens:
    """The stored tokens that were shown lately, each read anew when it may have changed. One event loop at a time."""

    def __init__(self, load: Callable[[str], Token | None], clock: Clock, *, extra: Sequence[Token] = ()) -> None:
        self._load = load
        self._clock = clock
        self._extra = {token.id: token for token in extra}
        self._kept: dict[str, tuple[Token, float]] = {}
        self._reading: dict[str, asyncio.Task[Token | None]] = {}

    def forget(self) -> None:
        """Let every next look read the store, also where a read is under way: this process has changed a token."""
        self._kept = {}
        self._reading = {}

    async def find(self, name: str) -> Token | None:
        """Return the token of this id."""
        if name in self._extra:
            return self._extra[name]
        token, read_at = self._kept.get(name, (None, 0.0))
        if token is not None and self._clock.monotonic() - read_at < FRESH_SECONDS:
            return token
        reading = self._reading.get(name)
        if reading is None:
            reading = self._reading[name] = asyncio.create_task(self._read(name, self._kept))
        # Whoever goes away while others wait for the same token takes nothing from them.
        return await asyncio.shield(reading)

    async def _read(self, name: str, kept: dict[str, tuple[Token, float]]) -> Token | None:
        """Return the token as it is stored, and keep it, unless tokens have changed since `kept` was begun."""
        began, own = self._clock.monotonic(), asyncio.current_task()
        try:
            token = await asyncio.to_thread(self._load, name)
        finally:
            if self._reading.get(name) is own:
                del self._reading[name]
        if token is not None and kept is self._kept:
            if len(kept) >= KEPT_MAX:
                kept.clear()
            kept[name] = (token, began)
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever asks, let in for one product, or for all where that is None; `token` is None on an open server."""

    token: Token | None
    product: ProductId | None

    @property
    def name(self) -> str:
        """Who acts, as histories tell it."""
        return self.token.name if self.token is not None else NOBODY_ELSE

    @property
    def actor(self) -> Actor:
        """Who acts, as the audit log tells it."""
        return actor_of(self.token)

    @property
    def one(self) -> ProductId:
        """The one product that the request is about."""
        assert self.product is not None, "the gate was asked for one product"
        return self.product

    def sees(self, product: ProductId) -> bool:
        """Whether what belongs to the product may be shown at all."""
        return self.token is None or self.token.product is None or self.token.product == product


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Lets requests in. `default_product` is meant where neither the token nor the request names one.

    What is `closed` this server does for nobody, and what is `named` for nobody without a name, however open it is.
    """

    tokens: Tokens
    clock: Clock
    rates: Rates
    open_loopback: bool
    default_product: Callable[[], ProductId]
    closed: frozenset[Permission] = frozenset()
    named: frozenset[Permission] = frozenset()

    async def admit(self, request: Request, permission: Permission) -> Caller:
        """Return the caller, for the product that the request names, the token's, or the default one."""
        token = await self._bearer(request)
        named = request.query_params.get("product")
        if named:
            product = ProductId(named)
        elif token is not None and token.product is not None:
            product = token.product
        else:
            product = await asyncio.to_thread(self.default_product)
        return self._decide(token, permission, product)

    async def admit_all(self, request: Request, permission: Permission) -> Caller:
        """Return the caller for what its token is for: one product, or all of them."""
        token = await self._bearer(request)
        return self._decide(token, permission, token.product if token is not None else None)

    async def admit_for(self, request: Request, permission: Permission, product: ProductId | None) -> Caller:
        """Return the caller for exactly this product; None is for all of them."""
        return self._decide(await self._bearer(request), permission, product)

    async def admit_either(self, request: Request, *permissions: Permission) -> Caller:
        """Return the caller if one of the permissions is enough, for what its token is for."""
        token = await self._bearer(request)
        permission = next((each for each in permissions if token and each in token.permissions), permissions[0])
        return self._decide(token, permission, token.product if token is not None else None)

    def _decide(self, token: Token | None, permission: Permission, product: ProductId | None) -> Caller:
        if permission in self.closed:
            raise Refused(
                "this server belongs to a campaign that runs here, and gives no work to other factories",
                fix="start one for them with `pilothouse server`, in another home",
            )
        is_open = self.open_loopback and permission not in self.named
        decision = authorise(token, permission, product, now=self.clock.now(), open_loopback=is_open)
        if isinstance(decision, Allowed):
            return Caller(token=decision.token, product=product)
        family = Refused if decision.known else NotAuthenticated
        raise family(decision.why, fix=decision.fix)

    async def _bearer(self, request: Request) -> Token | None:
        """Return the stored token that the request shows, None where it shows none; a wrong one is refused."""
        shown = request.headers.get("authorization")
        if shown is None:
            return None
        scheme, _, text = shown.partition(" ")
        name = token_id(text.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            self._wrong(request)
            raise NotAuthenticated("what Authorization carries is no token of ours", fix=NO_TOKEN)
        token = await self.tokens.find(name)
        if token is None or not is_text_of(token, text.strip()):
            self._wrong(request)
            raise NotAuthenticated("nobody has this token", fix=NO_TOKEN)
        if COUNTED not in request.scope:
            # A route may ask the gate more than once about one request.
            request.scope[COUNTED] = True
            self.rates.admit(token)
        return token

    def _wrong(self, request: Request) -> None:
        self.rates.wrong(request.client.host if request.client is not None else "")


def check_factory(caller: Caller, factory: str) -> None:
    """Refuse a key that speaks for another factory than its own."""
    token = caller.token
    if token is not None and token.factory != factory:
        raise Refused(
            f"the token {token.id} is the key of factory {token.factory}, not of {factory}",
            fix=f"work as {token.factory}, or enrol {factory}",
        )
