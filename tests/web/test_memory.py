"""What is kept in memory follows what is stored, also when something goes wrong in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from pilothouse.access.roles import Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.errors import StillPending, StorageFailed
from pilothouse.fleet.factory import Factory, FactoryState
from pilothouse.ids import FactoryName
from pilothouse.ports.store import Transaction
from pilothouse.testing.clock import FrozenClock
from pilothouse.web.identity import FRESH_SECONDS, Tokens
from pilothouse.web.memory import retire
from tests.web.world import World, refused


def a_token(clock: FrozenClock) -> Token:
    """Return a token of a viewer."""
    grant = Grant(kind=TokenKind.USER, name="ada", role=Role.VIEWER, product=None)
    return mint_token(grant, entropy=bytes(ENTROPY_BYTES), now=clock.now(), expires_at=None)[1]


def test_a_change_that_comes_while_tokens_are_read_is_not_missed() -> None:
    clock = FrozenClock()
    token = a_token(clock)
    reads: list[int] = []

    def load(name: str) -> Token | None:
        assert name == token.id
        reads.append(len(reads))
        if reads == [0]:
            tokens.forget()
            return None
        return token

    async def look_twice() -> list[Token | None]:
        return [await tokens.find(token.id), await tokens.find(token.id)]

    tokens = Tokens(load, clock)

    assert asyncio.run(look_twice()) == [None, token]


def test_a_token_is_read_again_once_it_is_no_longer_fresh_and_only_when_it_is_shown() -> None:
    clock = FrozenClock()
    token = a_token(clock)
    reads: list[str] = []

    def load(name: str) -> Token | None:
        reads.append(name)
        return token if name == token.id else None

    async def look(name: str) -> Token | None:
        return await tokens.find(name)

    tokens = Tokens(load, clock)

    assert [asyncio.run(look(token.id)) for _ in range(3)] == [token] * 3
    assert reads == [token.id]
    clock.advance(FRESH_SECONDS)
    assert asyncio.run(look(token.id)) == token
    assert [asyncio.run(look("nobody's")) for _ in range(2)] == [None, None]
    assert reads == [token.id] * 2 + ["nobody's"] * 2


def test_a_read_that_a_change_overtook_is_not_kept() -> None:
    """Whoever asks after the change waits for a read of their own."""
    clock = FrozenClock()
    token = a_token(clock)
    begun, over = threading.Event(), threading.Event()
    answers: list[Token | None] = [None, token]

    def load(name: str) -> Token | None:
        del name
        answer = answers.pop(0)
        if answer is None:
            begun.set()
            assert over.wait(10)
        return answer

    async def look() -> tuple[Token | None, Token | None]:
        first = asyncio.create_task(tokens.find(token.id))
        assert await asyncio.to_thread(begun.wait, 10)
        tokens.forget()
        second = await tokens.find(token.id)
        over.set()
        return await first, second

    tokens = Tokens(load, clock)

    assert asyncio.run(look()) == (None, token)
    assert asyncio.run(tokens.find(token.id)) == token


def test_many_who_ask_at_once_read_the_store_once() -> None:
    clock = FrozenClock()
    token = a_token(clock)
    reads: list[int] = []

    def load(name: str) -> Token | None:
        assert name == token.id
        reads.append(1)
        return token

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


def test_a_revocation_that_is_late_counts_once_it_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked has given up waiting; the act was carried out all the same, and memory has it so."""
    key, apply = world.factory(), world.engine.apply_async

    async def late(act: Callable[[Transaction], object]) -> object:
        await apply(act)
        monkeypatch.undo()
        raise StillPending("no answer yet", fix="look again")

    monkeypatch.setattr(world.engine, "apply_async", late)
    refused(world.ask("POST", "/fleet/factories/f1/token/revoke", token=world.owner, json={}), 425)

    state = world.engine.look(lambda scheduler: scheduler.roster.factories[FactoryName("f1")].state)
    assert state is FactoryState.REVOKED
    world.submit()
    assert world.ask("POST", "/fleet/claim", token=key, json={"factory": "f1", "boot": "b1"}).status_code == 401
