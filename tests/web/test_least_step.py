"""The least step over HTTP: it comes with the offer, and a start below it is on record or refused."""

from __future__ import annotations

from typing import Any

from pilothouse.factory.messages import offer_from_json
from pilothouse.fleet.least_step import LeastStep
from pilothouse.ids import FactoryName
from tests.web.world import World, refused

SAID = {"factory": "f1", "boot": "b1"}


def attempt(world: World, key: str, *, resume_step: int | None = None) -> dict[str, Any]:
    """Claim the job and tell its start; one that goes on from nothing leaves that unsaid."""
    (offer,) = world.claim(key)
    start = {**SAID, "job": offer["job"], "epoch": offer["epoch"], "pid": 42, "pid_started": 1.5}
    said = start if resume_step is None else start | {"resume_step": resume_step}
    world.do("POST", "/fleet/leases/start", token=key, json=said)
    return offer


def beat(world: World, key: str, offer: dict[str, Any], **progress: int) -> None:
    """Tell a sign of life."""
    told: dict[str, Any] = {"step": 50, "total": None, "values": {}, **progress}
    held = [{"job": offer["job"], "epoch": offer["epoch"], "progress": told}]
    world.do("POST", "/fleet/factories/heartbeat", token=key, json={**SAID, "held": held})


def whys(world: World, offer: dict[str, Any]) -> list[str]:
    """Return why the attempts of the job began as they did, where there is something to say."""
    events = world.do("GET", f"/fleet/jobs/{offer['job']}/events")["events"]
    return [event["why"] for event in events if event["stage"] == "building" and event["why"]]


def test_what_was_told_is_held_against_the_next_attempt(world: World) -> None:
    """Also when a later beat leaves the checkpoint unsaid, or tells of an older one."""
    world.submit()
    key = world.factory()
    first = attempt(world, key)
    for said in ({"checkpoint_step": 40}, {}, {"checkpoint_step": 20}):
        beat(world, key, first, **said)
    world.complete(key, first, outcome="preempted")
    second = attempt(world, key)
    beat(world, key, second, checkpoint_step=10)
    world.complete(key, second, outcome="preempted")
    third = attempt(world, key, resume_step=40)

    assert first["least"] is None
    least = LeastStep(step=40, factory=FactoryName("f1"), folder=first["folder"])
    assert offer_from_json(second).least == offer_from_json(third).least == least
    (why,) = whys(world, first)
    assert why.startswith("begins afresh: 40 steps are done again")


def test_a_step_below_nothing_is_no_step(world: World) -> None:
    """It is refused as any bad body is."""
    world.submit()
    key = world.factory()
    (offer,) = world.claim(key)
    body = {**SAID, "job": offer["job"], "epoch": 1, "pid": 42, "pid_started": 1.5, "resume_step": -1}

    refused(world.ask("POST", "/fleet/leases/start", token=key, json=body), 422)
