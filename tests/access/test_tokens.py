"""Tokens and roles: what is kept, what is permitted, and what is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.access.authorise import Allowed, Denied, authorise
from pilothouse.access.roles import PERMISSIONS, Permission, Role
from pilothouse.access.token import ENTROPY_BYTES, Grant, Token, TokenKind, digest_of, is_text_of, mint_token, token_id
from pilothouse.errors import BadValue, Refused
from pilothouse.ids import FactoryName, ProductId

NOW = datetime(2026, 11, 22, 4, 2, 54, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
DEMO, OTHER = ProductId("demo"), ProductId("other")

MAY = {
    Role.VIEWER: "read fetch",
    Role.PROPOSER: "read fetch submit",
    Role.APPROVER: "read fetch review decide",
    Role.OPERATOR: "read fetch submit operate",
    Role.WORKER: "fetch work",
    Role.ADMIN: "read fetch submit review decide operate fund administer",
}
"""The whole table, written out a second time: a role that gains a permission must be granted it here as well."""


def minted(
    role: Role | None = Role.VIEWER,
    *,
    kind: TokenKind | None = None,
    product: ProductId | None = DEMO,
    entropy: bytes = bytes(range(ENTROPY_BYTES)),
) -> tuple[str, Token]:
    """Return a token with its text."""
    chosen = kind or (TokenKind.WORKER if role is Role.WORKER else TokenKind.USER)
    factory = FactoryName("f1") if chosen is TokenKind.WORKER else None
    grant = Grant(kind=chosen, name="ada", role=role, product=product, factory=factory)
    return mint_token(grant, entropy=entropy, now=NOW, expires_at=LATER)


def decide(
    token: Token | None,
    permission: Permission = Permission.READ,
    product: ProductId | None = DEMO,
    *,
    now: datetime = NOW,
    open_loopback: bool = False,
) -> Allowed | Denied:
    return authorise(token, permission, product, now=now, open_loopback=open_loopback)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_a_role_permits_what_its_row_says_and_nothing_else(role: Role, permission: Permission) -> None:
    _, token = minted(role)
    answer = decide(token, permission)

    assert isinstance(answer, Allowed) == (permission.value in MAY[role].split())
    if isinstance(answer, Denied):
        assert answer.known
        assert answer.fix


def test_what_proposes_never_approves() -> None:
    assert Permission.REVIEW not in PERMISSIONS[Role.PROPOSER]
    assert Permission.DECIDE not in PERMISSIONS[Role.PROPOSER] | PERMISSIONS[Role.OPERATOR]
    assert not any({Permission.WORK, Permission.REVIEW} <= permitted for permitted in PERMISSIONS.values())


def test_an_enrolment_token_enrols_and_does_nothing_else() -> None:
    _, token = minted(None, kind=TokenKind.ENROLMENT)

    permitted = [permission for permission in Permission if isinstance(decide(token, permission), Allowed)]

    assert permitted == [Permission.ENROL]


def test_nothing_is_permitted_without_a_token() -> None:
    answers = [decide(None, permission) for permission in Permission]

    assert all(isinstance(answer, Denied) and not answer.known for answer in answers)


def test_an_open_server_asks_for_no_token_but_believes_no_bad_one() -> None:
    _, token = minted(Role.VIEWER)

    assert decide(None, Permission.OPERATE, open_loopback=True) == Allowed(token=None)
    assert isinstance(decide(token, Permission.OPERATE, open_loopback=True), Denied)
    assert isinstance(decide(token, now=LATER, open_loopback=True), Denied)


def test_an_open_server_opens_no_gate_and_makes_no_key_for_nobody() -> None:
    """Whatever runs on a machine reaches its loopback, so who decides, or makes tokens, shows a name there too."""
    asked = {permission: decide(None, permission, open_loopback=True) for permission in Permission}

    assert {permission for permission, answer in asked.items() if isinstance(answer, Denied)} == {
        Permission.DECIDE,
        Permission.ADMINISTER,
    }
    assert isinstance(decide(minted(Role.APPROVER)[1], Permission.DECIDE, open_loopback=True), Allowed)


@pytest.mark.parametrize("product", [OTHER, None])
def test_a_token_is_good_for_its_product_only(product: ProductId | None) -> None:
    _, token = minted(Role.ADMIN)
    answer = decide(token, Permission.READ, product)

    assert isinstance(answer, Denied)
    assert answer.known
    assert "demo" in answer.why


@pytest.mark.parametrize("product", [DEMO, OTHER, None])
def test_a_token_for_all_products_is_good_for_each(product: ProductId | None) -> None:
    _, token = minted(Role.ADMIN, product=None)

    assert decide(token, Permission.READ, product) == Allowed(token=token)


@pytest.mark.parametrize("word", ["revoked", "used", "expired"])
def test_a_token_that_is_no_longer_good_permits_nothing(word: str) -> None:
    _, good = minted(Role.ADMIN, product=None)
    token = {
        "revoked": replace(good, revoked_at=NOW),
        "used": replace(good, used_at=NOW),
        "expired": replace(good, expires_at=NOW),
    }[word]
    answers = [decide(token, permission) for permission in Permission]

    assert all(isinstance(answer, Denied) and not answer.known and word in answer.why for answer in answers)


def test_a_token_is_good_until_the_moment_it_expires() -> None:
    _, token = minted()

    assert isinstance(decide(token, now=LATER - timedelta(microseconds=1)), Allowed)
    assert isinstance(decide(token, now=LATER), Denied)


def test_a_key_that_was_replaced_is_good_until_its_revocation_comes() -> None:
    _, good = minted()
    token = replace(good, revoked_at=NOW + timedelta(minutes=5))

    assert isinstance(decide(token), Allowed)
    assert isinstance(decide(token, now=NOW + timedelta(minutes=5)), Denied)


@given(entropy=st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES))
def test_the_text_names_its_token_and_the_token_does_not_hold_the_text(entropy: bytes) -> None:
    text, token = minted(entropy=entropy)

    assert token_id(text) == token.id
    assert is_text_of(token, text)
    assert text.rsplit("_", 1)[1] not in repr(token)
    assert token.digest == digest_of(text)


@given(at=st.integers(0, 79), letter=st.characters(max_codepoint=0x2FF))
def test_one_letter_else_is_another_text(at: int, letter: str) -> None:
    text, token = minted()
    other = text[:at] + letter + text[at + 1 :]

    assert is_text_of(token, other) == (other == text)


def test_a_token_that_is_not_there_matches_nothing() -> None:
    text, _ = minted()

    assert not is_text_of(None, text)
    assert not is_text_of(None, "")


@pytest.mark.parametrize(
    "text", ["", "ph_user", "ph_root_" + "a" * 16 + "_" + "a" * 52, "ph_user_A_b", "x" * 9999, "ph_user_é"]
)
def test_what_is_no_token_names_none(text: str) -> None:
    assert token_id(text) is None


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 65, "a\n", "ä"])
def test_a_holder_has_a_plain_name(name: str) -> None:
    grant = Grant(kind=TokenKind.USER, name=name, role=Role.VIEWER, product=DEMO)

    with pytest.raises(BadValue, match="holder"):
        mint_token(grant, entropy=bytes(ENTROPY_BYTES), now=NOW, expires_at=None)


def test_no_token_is_made_that_has_expired_already() -> None:
    grant = Grant(kind=TokenKind.USER, name="ada", role=Role.VIEWER, product=DEMO)

    with pytest.raises(BadValue, match="expires"):
        mint_token(grant, entropy=bytes(ENTROPY_BYTES), now=NOW, expires_at=NOW)


@pytest.mark.parametrize("role", [Role.WORKER, None])
def test_a_workers_key_is_given_by_enrolling_only(role: Role | None) -> None:
    grant = Grant(kind=TokenKind.USER, name="ada", role=role, product=DEMO)

    with pytest.raises(Refused, match="role"):
        mint_token(grant, entropy=bytes(ENTROPY_BYTES), now=NOW, expires_at=None)
