"""Guards that stand behind others: each is asked here alone, so that its loss is noticed while the others hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from pilothouse.access.roles import Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.errors import Conflict, NotFound, Refused
from pilothouse.fleet.factory import Factory
from pilothouse.ids import BootId, Epoch, FactoryName, ProductId
from pilothouse.operations.factories import revoke_factory
from pilothouse.operations.operate import seen_job
from pilothouse.operations.submit import submit
from pilothouse.operations.tokens import live_keys, make_token
from pilothouse.ports.store import Transaction
from pilothouse.store.sqlite.store import SqliteStore
from pilothouse.testing import values
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import FACTORY, PRODUCT

OTHER = ProductId("other")
LATER = BEGIN + timedelta(seconds=90)


@pytest.fixture(name="tx")
def _tx() -> Iterator[Transaction]:
    store = SqliteStore(":memory:")
    with store.write() as tx:
        yield tx
    store.close()


def key_of(tx: Transaction, product: ProductId | None, *, byte: int, factory: FactoryName = FACTORY) -> Token:
    """Store a key of the factory that is good for this product, or for all of them."""
    grant = Grant(kind=TokenKind.WORKER, name=factory, role=Role.WORKER, product=product, factory=factory)
    _, token = mint_token(grant, entropy=bytes([byte]) * ENTROPY_BYTES, now=BEGIN, expires_at=None)
    tx.access.add(token)
    return token


def test_an_act_that_was_meant_for_another_epoch_is_refused(tx: Transaction) -> None:
    """Whoever looked at the job before it moved on decides about something that is no longer so."""
    job = submit(tx, values.make_new_job(1), now=BEGIN)

    assert seen_job(tx, PRODUCT, job.id, expected=job.epoch) == job
    with pytest.raises(Conflict, match="any more"):
        seen_job(tx, PRODUCT, job.id, expected=Epoch(job.epoch + 1))


def test_a_job_depends_on_no_job_of_another_product(tx: Transaction) -> None:
    """Not even when its dependency is given by the id, which is unique over all products."""
    theirs = submit(tx, values.make_new_job(1, product=OTHER), now=BEGIN)
    mine = replace(values.make_new_job(2), deps=(theirs.id,))

    with pytest.raises(NotFound, match="is no job of product"):
        submit(tx, mine, now=BEGIN)


@pytest.mark.parametrize("product", [OTHER, None])
def test_a_maker_for_one_product_makes_tokens_for_no_other(tx: Transaction, product: ProductId | None) -> None:
    """Also when nobody has asked before whether the maker may."""
    maker = Grant(kind=TokenKind.USER, name="ada", role=Role.ADMIN, product=PRODUCT)
    _, token = mint_token(maker, entropy=bytes(ENTROPY_BYTES), now=BEGIN, expires_at=None)
    wanted = Grant(kind=TokenKind.USER, name="bob", role=Role.ADMIN, product=product)

    with pytest.raises(Refused, match="makes none for"):
        make_token(tx, wanted, maker=token, entropy=b"\x01" * ENTROPY_BYTES, now=BEGIN, expires_at=None)


def test_a_factorys_keys_are_those_of_its_product(tx: Transaction) -> None:
    """A key for one product is none for all of them, although its factory has the same name."""
    for_all, for_one = key_of(tx, None, byte=1), key_of(tx, PRODUCT, byte=2)

    assert list(live_keys(tx, FACTORY, product=None, now=BEGIN)) == [for_all]
    assert list(live_keys(tx, FACTORY, product=PRODUCT, now=BEGIN)) == [for_one]


def test_a_factorys_keys_are_its_own(tx: Transaction) -> None:
    """Its neighbour, who serves the same product, keeps its key when this one's are revoked."""
    mine = key_of(tx, PRODUCT, byte=1)
    key_of(tx, PRODUCT, byte=2, factory=FactoryName("neighbour"))

    assert list(live_keys(tx, FACTORY, product=PRODUCT, now=BEGIN)) == [mine]


def test_a_revocation_ends_the_sessions_of_its_product_only(tx: Transaction) -> None:
    """A factory of another product may have the same name."""
    mine = Factory(product=PRODUCT, name=FactoryName(FACTORY))
    tx.factories.put(mine, now=BEGIN)
    tx.factories.put(replace(mine, product=OTHER), now=BEGIN)
    tx.factories.open_session(PRODUCT, FACTORY, BootId("boot-1"), now=BEGIN, expires=LATER)
    tx.factories.open_session(OTHER, FACTORY, BootId("boot-2"), now=BEGIN, expires=LATER)

    revoke_factory(tx, mine, by="ada", now=BEGIN)

    assert [session.product for session in tx.factories.open_sessions()] == [OTHER]


def test_a_revocation_ends_the_sessions_of_its_factory_only(tx: Transaction) -> None:
    """Its neighbours of the same product work on."""
    mine, other = (Factory(product=PRODUCT, name=FactoryName(name)) for name in ("mine", "other"))
    for factory in (mine, other):
        tx.factories.put(factory, now=BEGIN)
        tx.factories.open_session(PRODUCT, factory.name, BootId("boot-1"), now=BEGIN, expires=LATER)

    revoke_factory(tx, mine, by="ada", now=BEGIN)

    assert [kept.session.factory for kept in tx.factories.open_sessions()] == [other.name]
