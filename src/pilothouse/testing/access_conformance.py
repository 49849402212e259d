"""What a store does with tokens, whichever database it is."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from pilothouse.access.roles import Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, mint_token
from pilothouse.errors import Conflict, NotFound
from pilothouse.fleet.job import Cost
from pilothouse.ids import FactoryName, ProductId, SessionNumber
from pilothouse.ports.store import Store
from pilothouse.testing.clock import BEGIN
from pilothouse.testing.values import FACTORY, PRODUCT

OTHER = ProductId("other")


EVERY = ProductId("*")


NOBODY = SessionNumber(4711)


SOON = BEGIN + timedelta(seconds=30)


LATER = BEGIN + timedelta(seconds=90)


COST = Cost(usd=2.5, gpu_hours=0.125, tokens=1000.0)


UNKNOWN = Cost()


def make_token(
    number: int,
    *,
    kind: TokenKind = TokenKind.USER,
    role: Role | None = Role.OPERATOR,
    product: ProductId | None = PRODUCT,
    factory: FactoryName | None = None,
    expires_at: datetime | None = LATER,
) -> Token:
    """Return the token that follows from the number."""
    grant = Grant(kind=kind, name=f"holder-{number}", role=role, product=product, factory=factory)
    entropy = number.to_bytes(ENTROPY_BYTES, "little")
    return mint_token(grant, entropy=entropy, now=BEGIN, expires_at=expires_at)[1]


def make_enrolment(number: int = 1) -> Token:
    """Return a one-time token."""
    return make_token(number, kind=TokenKind.ENROLMENT, role=None)


class AccessConformance:
    """Tokens."""

    def test_tokens_come_back_and_are_listed_oldest_first(self, store: Store) -> None:
        """One for all products is listed with no single product's."""
        tokens = [
            make_token(9),
            make_token(3, kind=TokenKind.WORKER, role=Role.WORKER, factory=FACTORY),
            make_token(5, role=Role.ADMIN, product=None, expires_at=None),
            make_token(1, product=OTHER),
            make_enrolment(7),
        ]
        with store.write() as tx:
            for token in tokens:
                tx.access.add(token)
        with store.read() as tx:
            assert [tx.access.by_id(token.id) for token in tokens] == tokens
            assert tx.access.by_id("0") is None
            assert list(tx.access.listed(None)) == tokens
            assert list(tx.access.listed(PRODUCT)) == [tokens[0], tokens[1], tokens[4]]

    def test_two_tokens_share_neither_id_nor_digest(self, store: Store) -> None:
        """Whoever holds one text is one holder."""
        with store.write() as tx:
            tx.access.add(make_token(1))
            for twin in (
                replace(make_token(2), digest=make_token(1).digest),
                replace(make_token(2), id=make_token(1).id),
            ):
                with pytest.raises(Conflict), tx.savepoint():
                    tx.access.add(twin)

    @pytest.mark.parametrize(
        "token",
        [
            replace(make_token(1), role=Role.WORKER),
            replace(make_token(1), role=None),
            replace(make_token(1), factory=FACTORY),
            replace(make_token(1), used_at=SOON),
            replace(make_token(1), digest="short"),
            replace(make_enrolment(), role=Role.ADMIN),
            replace(make_token(1, kind=TokenKind.WORKER, role=Role.WORKER, factory=FACTORY), factory=None),
            replace(make_token(1, kind=TokenKind.WORKER, role=Role.WORKER, factory=FACTORY), role=Role.ADMIN),
        ],
    )
    def test_a_token_of_no_sense_is_refused(self, store: Store, token: Token) -> None:
        """A kind has its roles, a worker's key its factory, and only an enrolment is used up."""
        with store.write() as tx:
            with pytest.raises(Conflict), tx.savepoint():
                tx.access.add(token)
            assert list(tx.access.listed(None)) == []

    def test_a_revocation_is_brought_forward_and_never_put_off(self, store: Store) -> None:
        """A key that was replaced may end a little later, and at once when somebody says so."""
        token = make_token(1)
        ends = []
        with store.write() as tx:
            tx.access.add(token)
            for when in (LATER, SOON, LATER):
                tx.access.revoke(token.id, now=when)
                stored = tx.access.by_id(token.id)
                assert stored is not None
                ends.append(stored.revoked_at)
            with pytest.raises(NotFound), tx.savepoint():
                tx.access.revoke("nobody", now=SOON)

        assert ends == [LATER, SOON, SOON]

    def test_an_enrolment_is_used_once(self, store: Store) -> None:
        """And by nobody once it has ended."""
        used, revoked, ending, expired = (make_enrolment(number) for number in range(4))
        with store.write() as tx:
            for token in (used, revoked, ending, expired):
                tx.access.add(token)
            tx.access.revoke(revoked.id, now=SOON)
            tx.access.revoke(ending.id, now=LATER)
            assert tx.access.consume(used.id, now=SOON)
            assert not tx.access.consume(used.id, now=SOON)
            assert not tx.access.consume(revoked.id, now=SOON)
            assert tx.access.consume(ending.id, now=SOON)
            assert not tx.access.consume(expired.id, now=LATER)
            assert not tx.access.consume("nobody", now=SOON)
            stored = [tx.access.by_id(token.id) for token in (used, revoked, ending, expired)]

        assert [token and token.used_at for token in stored] == [SOON, None, SOON, None]

    def test_only_an_enrolment_is_used_up(self, store: Store) -> None:
        """Any other token is shown as often as its holder likes."""
        token = make_token(1)
        with store.write() as tx:
            tx.access.add(token)
            assert not tx.access.consume(token.id, now=SOON)
            assert tx.access.by_id(token.id) == token

    def test_one_of_many_callers_has_the_enrolment(self, store: Store) -> None:
        """However close together they come."""
        token = make_enrolment()
        with store.write() as tx:
            tx.access.add(token)
        together = threading.Barrier(4, timeout=30)
        answers: list[bool] = []

        def ask() -> None:
            together.wait()
            with store.write() as tx:
                answers.append(tx.access.consume(token.id, now=SOON))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)

        assert sorted(answers) == [False, False, False, True]
