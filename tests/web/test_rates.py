"""How often may be asked: tokens of people by the second, wrong tokens by their address, factories as they like."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.web.rates import BUCKETS_MAX, WRONG_BURST, Buckets, network_of
from tests.web.world import World, refused, running

RATE = 5.0


@pytest.fixture(name="slow")
def _slow(tmp_path: Path) -> Iterator[World]:
    """Serve five requests a second, and ten in a burst."""
    with running(tmp_path, per_second=RATE) as world:
        yield world


def test_a_token_that_asks_too_often_is_put_off_and_comes_back(slow: World) -> None:
    viewer, other = slow.token("viewer"), slow.token("viewer", name="bob")
    answers = [slow.ask("GET", "/fleet/jobs", token=viewer) for _ in range(11)]

    assert [answer.status_code for answer in answers[:10]] == [200] * 10
    assert "REQUESTS_PER_SECOND" in refused(answers[10], 429, "TooManyRequests")["fix"]
    assert answers[10].headers["retry-after"] == "1"
    assert slow.ask("GET", "/fleet/jobs", token=other).status_code == 200
    slow.wait(0.2)
    assert slow.ask("GET", "/fleet/jobs", token=viewer).status_code == 200
    refused(slow.ask("GET", "/fleet/jobs", token=viewer), 429)


def test_a_request_counts_once_however_often_the_gate_is_asked(slow: World) -> None:
    operator = slow.token("operator")
    job = slow.submit()["id"]
    answers = [slow.change(job, "ship", token=operator, epoch=0).status_code for _ in range(10)]

    assert answers == [409] * 10
    refused(slow.change(job, "ship", token=operator, epoch=0), 429)


def test_a_factory_asks_as_often_as_it_likes(slow: World) -> None:
    key = slow.factory()

    assert [slow.claim(key) for _ in range(30)] == [[]] * 30


def test_wrong_tokens_from_one_address_are_put_off_and_good_ones_are_not(world: World) -> None:
    wrong = "ph_user_aaaaaaaaaaaaaaaa_" + "a" * 52
    shown = [wrong, "something"]
    answers = [world.ask("GET", "/fleet/jobs", token=shown[place % 2]) for place in range(int(WRONG_BURST))]

    assert {answer.status_code for answer in answers} == {401}
    refused(world.ask("GET", "/fleet/jobs", token=wrong), 429, "TooManyRequests")
    assert world.ask("GET", "/fleet/jobs", token=world.owner).status_code == 200
    world.wait(1)
    refused(world.ask("GET", "/fleet/jobs", token=wrong), 401)


@given(
    per_second=st.floats(0.5, 500),
    burst=st.floats(1, 1000),
    steps=st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=60),
)
def test_no_more_pass_than_the_burst_and_what_time_has_filled(
    per_second: float, burst: float, steps: list[float]
) -> None:
    """And whoever waits as long as they are told passes."""
    buckets = Buckets(per_second=per_second, burst=burst)
    now = 0.0
    for passed, step in enumerate(steps, start=1):
        now += step
        wait = buckets.take("ada", now=now)
        if wait:
            now += wait * (1 + 1e-9) + 1e-9
            assert buckets.take("ada", now=now) == 0
        assert passed <= burst + now * per_second + 1e-6


def test_no_more_addresses_are_remembered_than_there_is_room_for() -> None:
    buckets = Buckets(per_second=1, burst=1)
    for number in range(BUCKETS_MAX + 1):
        assert buckets.take(number, now=0.0) == 0

    assert buckets.take(BUCKETS_MAX, now=0.0) > 0
    assert buckets.take(0, now=0.0) == 0


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    assert network_of("2001:db8:1:2::1") == network_of("2001:db8:1:2:ffff::9") != network_of("2001:db8:1:3::1")
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert [network_of(text) for text in ("192.0.2.7", "testclient", "")] == ["192.0.2.7", "testclient", ""]
