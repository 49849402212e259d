"""Who we are to GitHub: tokens are shown and never told, and an App's are replaced before they end."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pilothouse.canonical import Json
from pilothouse.errors import BadValue, UsageError
from pilothouse.publish.github.auth import JWT_SECONDS, AppAuth, AppKey, TokenAuth
from pilothouse.publish.github.client import GithubClient, checked_repository
from pilothouse.publish.github.faults import Strange, Unauthorised
from pilothouse.testing.clock import BEGIN, FrozenClock
from pilothouse.testing.forge.github import FakeGithub


@pytest.fixture(name="key", scope="module")
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    """Return the key as GitHub gives it."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def test_an_app_signs_for_its_installation_and_renews_in_time(key: rsa.RSAPrivateKey) -> None:
    """One token for an hour, and another one five minutes before its end."""
    asked: list[str] = []

    def ask(method: str, path: str, header: str) -> Json:
        asked.append(f"{method} {path}")
        claims = jwt.decode(header.removeprefix("Bearer "), key.public_key(), ["RS256"], options={"verify_exp": False})
        assert claims["iss"] == "77"
        assert claims["exp"] - claims["iat"] <= 600
        if path == "/app":
            return {"slug": "pilot"}
        ends = BEGIN + timedelta(hours=len(asked))
        return {"token": f"ghs_{len(asked)}", "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}

    auth = AppAuth(AppKey(app="77", installation="5", key=pem(key)))

    minutes = (0, 30, 54, 56)
    headers = [auth.header(ask, now=BEGIN + timedelta(minutes=each)) for each in minutes]

    assert headers == ["Bearer ghs_1", "Bearer ghs_1", "Bearer ghs_1", "Bearer ghs_2"]
    assert asked == ["POST /app/installations/5/access_tokens"] * 2
    assert auth.login(ask, now=BEGIN) == "pilot[bot]"
    assert JWT_SECONDS + 60 <= 600


def test_a_token_that_is_refused_is_replaced(key: rsa.RSAPrivateKey, forge: FakeGithub, clock: FrozenClock) -> None:
    """Long before its end: an installation may be set anew at any time."""
    left = ["taken-back", "t0k"]

    def ask(method: str, path: str, header: str) -> Json:
        del method, path, header
        return {"token": left.pop(0), "expires_at": "2036-01-01T00:00:00Z"}

    auth = AppAuth(AppKey(app="77", installation="5", key=pem(key)))
    auth.header(ask, now=clock.now())
    client = GithubClient(forge.url, auth, clock)

    with pytest.raises(Unauthorised):
        client.read("/repos/octo/demo")
    auth.header(ask, now=clock.now())

    assert client.read("/repos/octo/demo")
    client.close()


def test_a_key_that_is_none_is_refused_without_being_shown() -> None:
    """A file with something else in it may hold another secret."""
    auth = AppAuth(AppKey(app="77", installation="5", key="s3cret words"))

    with pytest.raises(UsageError) as caught:
        auth.header(lambda *_: None, now=BEGIN)
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(AppKey(app="77", installation="5", key="s3cret words"))
    assert "s3cret" not in repr(TokenAuth(token="s3cret"))  # noqa: S106  it is shown to nobody


@pytest.mark.parametrize("token", ["s3cret\nother", "s3cret\x00", "s3cr\u00e9t"])
def test_what_can_be_no_token_is_refused_without_being_shown(token: str) -> None:
    """The library that asks would quote the whole header."""
    with pytest.raises(UsageError) as caught:
        TokenAuth(token=token)
    assert "s3cr" not in f"{caught.value}{caught.value.fix}"


def test_an_installation_is_given_no_such_token_either(key: rsa.RSAPrivateKey) -> None:
    """An answer may hold anything."""
    auth = AppAuth(AppKey(app="77", installation="5", key=pem(key)))

    with pytest.raises(Strange) as caught:
        auth.header(lambda *_: {"token": "s3cret\nother"}, now=BEGIN)
    assert "s3cret" not in str(caught.value)


def test_the_login_is_asked_for_once(forge: FakeGithub, clock: FrozenClock) -> None:
    """And a wrong token says so."""
    client = GithubClient(forge.url, TokenAuth(token="t0k"), clock)  # noqa: S106  the fake's
    assert [client.login(), client.login()] == ["pilot", "pilot"]
    assert len(forge.log) == 1
    client.close()
    stranger = GithubClient(forge.url, TokenAuth(token="wrong"), clock)  # noqa: S106  it is wrong
    with pytest.raises(Unauthorised, match="401"):
        stranger.login()
    stranger.close()


@pytest.mark.parametrize("url", ["http://api.github.test", "https://user:pw@api.github.test", "api.github.test", "x:"])
def test_a_token_never_leaves_unencrypted(clock: FrozenClock, url: str) -> None:
    """But to this very machine."""
    with pytest.raises(BadValue):
        GithubClient(url, TokenAuth(token="t0k"), clock)  # noqa: S106  the fake's


@pytest.mark.parametrize(
    "name", ["", "demo", "octo/", "/demo", "octo/demo/x", "octo/..", "octo/de mo", "octo/demo?x=1"]
)
def test_a_repository_is_an_owner_and_a_name(name: str) -> None:
    """Anything else would become another path."""
    with pytest.raises(BadValue):
        checked_repository(name)
    assert checked_repository("octo/demo.x_1") == "octo/demo.x_1"
