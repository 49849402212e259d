"""How often may be asked: a bucket for each person's token, and one of wrong tokens for each address.

Factories are not held back: what they ask is bounded by their seats, and the claim path pays nothing here. A good token
is let in whatever wrong ones its address has shown, so nobody behind the same proxy can shut others out.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from pilothouse.access.token import Token, TokenKind
from pilothouse.errors import TooManyRequests
from pilothouse.ports.clock import Clock

WRONG_PER_SECOND = 1.0
WRONG_BURST = 50.0
BUCKETS_MAX = 10_000
"""Addresses that are remembered; the one that was silent for longest is forgotten first."""
_V6_NETWORK_BITS = 64


@dataclass(slots=True)
class Bucket:
    """What is left of a burst, as of a time."""

    left: float
    at: float


class Buckets:
    """One bucket for each key, all alike; a request takes one out, and time fills it again."""

    def __init__(self, *, per_second: float, burst: float) -> None:
        assert per_second > 0, f"a bucket is filled again, got {per_second}"
        assert burst >= 1, f"a bucket holds a request, got {burst}"
        self._per_second = per_second
        self._burst = burst
        self._kept: OrderedDict[Hashable, Bucket] = OrderedDict()

    def take(self, key: Hashable, *, now: float) -> float:
        """Take one request out; return 0, or the seconds after which there is one again."""
        bucket = self._kept.setdefault(key, Bucket(self._burst, now))
        self._kept.move_to_end(key)
        if len(self._kept) > BUCKETS_MAX:
            self._kept.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + max(0.0, now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.left < 1.0:
            return (1.0 - bucket.left) / self._per_second
        bucket.left -= 1.0
        return 0.0


class Rates:
    """Holds back who asks too often. `per_second` of 0 lets every good token ask as often as it likes."""

    def __init__(self, clock: Clock, *, per_second: float) -> None:
        self._clock = clock
        self._per_second = per_second
        self._tokens = Buckets(per_second=per_second, burst=max(1.0, 2 * per_second)) if per_second > 0 else None
        self._wrong = Buckets(per_second=WRONG_PER_SECOND, burst=WRONG_BURST)

    def admit(self, token: Token) -> None:
        """Count a request of a token that is known; too many are refused."""
        if self._tokens is None or token.kind is TokenKind.WORKER:
            return
        wait = self._tokens.take(token.id, now=self._clock.monotonic())
        if wait:
            raise TooManyRequests(
                f"the token {token.id} asks more than {self._per_second:g} times a second",
                fix="ask less often, or for more at once; PILOTHOUSE_REQUESTS_PER_SECOND of the server is the limit",
                retry_seconds=math.ceil(wait),
            )

    def wrong(self, address: str) -> None:
        """Count a wrong token from an address; too many are no longer answered as such."""
        wait = self._wrong.take(network_of(address), now=self._clock.monotonic())
        if wait:
            raise TooManyRequests(
                f"too many wrong tokens have come from {address}",
                fix="mend the token, and wait a moment",
                retry_seconds=math.ceil(wait),
            )


def network_of(address: str) -> str:
    """Return the address, or of IPv6 the network that one machine has; what is no address stands for itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.ip_network((found, _V6_NETWORK_BITS), strict=False))
