"""The addresses that a channel may call: encrypted, or on this very machine."""

from __future__ import annotations

import ipaddress
import ssl
from functools import cache

import httpx2

from pilothouse.errors import BadValue


def checked(url: str) -> str:
    """Return the address without a slash at its end; unencrypted ones are for this machine: a secret goes along."""
    try:
        read = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise BadValue(f"{shown(url)!r} is no URL: {error}", fix="write it as https://HOST/PATH") from error
    if not read.host or read.userinfo or read.fragment or read.scheme not in {"http", "https"}:
        raise BadValue(f"{shown(url)!r} is no address of a service", fix="write it as https://HOST/PATH")
    if read.scheme == "http" and not is_loopback(url):
        raise BadValue(f"{shown(url)!r} would send a secret unencrypted", fix="write https://")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine itself."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trust(url: str) -> ssl.SSLContext:
    """Return the certificates by which the far side is known; reading them takes longer than a request, so once."""
    return _authorities() if httpx2.URL(url).scheme == "https" else _nobody()


@cache
def _authorities() -> ssl.SSLContext:
    return httpx2.create_ssl_context()


@cache
def _nobody() -> ssl.SSLContext:
    """Return what trusts nobody: an unencrypted address of this machine shows no certificate."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def shown(url: str) -> str:
    """Return as much of a URL as may be shown: its path may be a secret."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.partition('/')[0]}" if mark else "…"
