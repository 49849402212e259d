"""Products share factories, and learn nothing of each other's jobs by that, nor stop them unasked."""

from __future__ import annotations

from tests.web.world import OTHER, World

URGENT = {"priority": "critical"}


def settle(world: World, product: str, *, preemption: bool) -> None:
    """Let a product's jobs be preempted, or not."""
    world.do("PUT", f"/fleet/settings/{product}", json={"preemption": preemption, "min_running_seconds": 0})


def test_a_job_makes_room_for_another_product_only_if_its_own_allows_it(world: World) -> None:
    """And the other product is told how many would make room, but not which."""
    key = world.factory(product=None, seats=1)
    victim = world.submit(product=OTHER)
    (offer,) = world.claim(key)
    assert offer["job"] == victim["id"]
    urgent = world.submit(**URGENT)
    viewer = world.token("viewer")

    settle(world, OTHER, preemption=False)
    told = world.do("POST", "/fleet/preemptions", token=viewer, json={"job": urgent["id"]})
    assert told["factory"] is None

    settle(world, OTHER, preemption=True)
    told = world.do("POST", "/fleet/preemptions", token=viewer, json={"job": urgent["id"]})
    assert (told["factory"], told["victims"], told["detail"]) == ("f1", [], "1 jobs on f1 would make room for it")
    told = world.do("POST", "/fleet/preemptions", json={"job": urgent["id"]})
    assert [each["job"] for each in told["victims"]] == [victim["id"]]


def test_the_jobs_that_come_before_one_are_named_only_to_their_own_product(world: World) -> None:
    """Their number is told to all who wait behind them."""
    key = world.factory(product=None, seats=1)
    assert world.claim(key) == []
    first = world.submit(product=OTHER, priority="high")
    waiting = world.submit(priority="low")
    behind = world.submit(product=OTHER, priority="low")

    mine = world.ask("GET", f"/fleet/jobs/{waiting['id']}/explain", token=world.token("viewer"))
    theirs = world.ask("GET", f"/fleet/jobs/{behind['id']}/explain", token=world.token("viewer", product=OTHER))

    assert first["id"] not in mine.text
    assert "another-products" in mine.text
    assert first["id"] in theirs.text
