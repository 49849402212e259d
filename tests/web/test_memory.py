"""What is kept in memory follows what is stored, also when something goes wrong in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pilothouse.access.roles import Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.errors import StorageFailed
from pilothouse.fleet.factory import Factory
from pilothouse.ids import FactoryName
from pilothouse.ports.store import Transaction
from pilothouse.testing.clock import FrozenClock
from pilothouse.web.identity import Tokens
from pilothouse.web.memory import retire
from tests.web.world import World


def a_token(clock: FrozenClock) -> Token:
    """Return a token of a viewer."""
    grant = Grant(kind=TokenKind.USER, name="ada", role=Role.VIEWER, product=None)
    return mint_token(grant, entropy=bytes(ENTROPY_BYTES), now=clock.now(), expires_at=None)[1]


def test_a_change_that_comes_while_tokens_are_read_is_not_missed() -> None:
    clock = FrozenClock()
    token = a_token(clock)
    reads: list[int] = []

    def load() -> Sequence[Token]:
        reads.append(len(reads))
        if reads == [0]:
            tokens.forget()
            return []
        return [token]

    async def look_twice() -> list[Token | None]:
        return [await tokens.find(token.id), await tokens.find(token.id)]

    tokens = Tokens(load, clock)

    assert asyncio.run(look_twice()) == [None, token]


def test_many_who_ask_at_once_read_the_store_once() -> None:
    clock = FrozenClock()
    token = a_token(clock)
    reads: list[int] = []

    def load() -> Sequence[Token]:
        reads.append(1)
        return [token]

    async def look() -> list[Token | None]:
        return list(await asyncio.gather(*(tokens.find(token.id) for _ in range(20))))

    tokens = Tokens(load, clock)

    assert asyncio.run(look()) == [token] * 20
    assert reads == [1]


def test_a_revocation_that_fails_leaves_the_factory_as_it_was(world: World) -> None:
    world.submit()
    key = world.factory()

    def fail(tx: Transaction) -> tuple[Factory, None]:
        del tx
        raise StorageFailed("the disk is full", fix="free it")

    with pytest.raises(StorageFailed):
        asyncio.run(retire(world.engine, FactoryName("f1"), fail))

    assert len(world.claim(key)) == 1
